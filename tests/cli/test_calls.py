"""`calls`: what an operator sees of the ledger, and changes in it, beside the daemon."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from rich.console import Console

from tests.cli.rig import BOT, RESUMO, SENT, CliRig, daemon_lives
from tests.databases import KEY
from tests.engine.harness import Harness
from tests.fakes import COMPLETED, asks, call, opens_at_once
from tests.store.harness import (
    AMBIGUOUS,
    DONE,
    HANDOFF,
    NO_PROTOCOL,
    PROTOCOLO,
    REFUSED,
    TICKET,
    UNKNOWN,
    Rig,
)
from tests.store.test_board import ended
from worker.cli import calls as verbs
from worker.cli import database
from worker.cli.exit_codes import Exit
from worker.errors import ConfigError
from worker.model import CallRecord, CallState, Outcome
from worker.personal import Personal
from worker.ports import Attempts
from worker.settings import Settings
from worker.store.store import Store

MakeSettings = Callable[..., Settings]

FAR_AWAY = "https://crm.example/webhook/secreto?token=marcado"


# ------------------------------------------------------------------------------------------------- reading


def test_the_list_shows_each_call_on_a_line_without_colours_when_piped(cli_rig: CliRig) -> None:
    failed = cli_rig.ticket()
    listed = cli_rig.run("calls", "list")
    (line,) = (line for line in listed.stdout.splitlines() if failed.call_id in line)
    for shown in ("failed", "FINANCEIRO", "PAGAMENTO", "crm_recusou", "c1"):
        assert shown in line
    assert "\x1b" not in listed.stdout
    assert listed.exit_code == 0


def test_on_a_terminal_a_state_has_its_colour(cli_rig: CliRig, make_settings: MakeSettings) -> None:
    cli_rig.ticket()
    screen = StringIO()
    console = Console(file=screen, force_terminal=True, color_system="standard", width=200)
    listing = verbs.list_calls(make_settings(), console, verbs.Selection(), limit=50, as_json=False)
    asyncio.run(listing)
    assert "\x1b[31mFalhou (failed)" in screen.getvalue()


def test_the_list_narrows_down_by_state_conversation_and_time(cli_rig: CliRig) -> None:
    failed = cli_rig.ticket()
    for narrow in (["--state", "failed"], ["--conversation", "c1"], ["--since", "24h"], ["--since", "hoje"]):
        assert failed.call_id in cli_rig.run("calls", "list", *narrow).stdout, narrow
    for narrow in (["--state", "done"], ["--conversation", "c2"], ["--since", "2099-01-01"]):
        listed = cli_rig.run("calls", "list", *narrow)
        assert (listed.exit_code, listed.stdout) == (0, "Nada encontrado.\n"), narrow


def test_the_list_says_when_there_is_more(cli_rig: CliRig) -> None:
    async def two(rig: Rig) -> None:
        run = await rig.run()
        await rig.admit(run, 1, SENT)
        await rig.admit(run, 2, HANDOFF)

    cli_rig.daemon(two)
    assert "Há mais" in cli_rig.run("calls", "list", "--limit", "1").stdout
    assert "Há mais" not in cli_rig.run("calls", "list", "--limit", "2").stdout


def test_as_json_a_list_is_a_page_of_the_api(cli_rig: CliRig) -> None:
    failed = cli_rig.ticket()
    page = json.loads(cli_rig.run("calls", "list", "--json").stdout)
    assert page["next_cursor"] is None
    (item,) = page["items"]
    assert (item["call_id"], item["state"], item["error"]) == (failed.call_id, "failed", "crm_recusou")
    assert item["received_at"].endswith("-03:00")


def test_a_call_is_shown_with_its_timeline(cli_rig: CliRig) -> None:
    failed = cli_rig.ticket()
    shown = cli_rig.run("calls", "show", failed.call_id)
    assert shown.exit_code == 0
    steps = [
        "recebida",
        "tentativa 1 começou",
        "tentativa 1 terminou: connect",
        "resultado registrado",
        "resposta ao modelo definida",
    ]
    last_lines = shown.stdout.rstrip().splitlines()[-len(steps) :]
    assert [line.strip().split("  ")[-1].strip() for line in last_lines] == steps
    assert "run_1" in shown.stdout
    assert RESUMO not in shown.stdout


def test_as_json_a_call_is_that_of_the_api(cli_rig: CliRig) -> None:
    failed = cli_rig.ticket()
    shown = json.loads(cli_rig.run("calls", "show", failed.call_id, "--json").stdout)
    assert shown["call_id"] == failed.call_id
    assert shown["timeline"][1] == {**shown["timeline"][1], "event": "attempt_begun", "attempt": 1}


def test_an_id_of_the_platform_neither_styles_nor_steers_the_terminal(cli_rig: CliRig) -> None:
    async def odd(rig: Rig) -> str:
        record = await rig.admit(await rig.run(), 1, SENT)
        await rig.change("calls", {"platform_call_id": "[red]call\x1b[2J"}, call_id=record.call_id)
        return record.call_id

    shown = cli_rig.run("calls", "show", cli_rig.daemon(odd))
    assert "[red]call�[2J" in shown.stdout


# ------------------------------------------------------------------------------------------------- mending


def test_a_dry_run_shows_what_would_be_sent_masked_and_sends_nothing(cli_rig: CliRig) -> None:
    failed = cli_rig.ticket()
    dry = cli_rig.run("calls", "retry", failed.call_id, "--dry-run", CRM_WEBHOOK_URL=FAR_AWAY)
    assert dry.exit_code == 0
    assert failed.idempotency_key is not None
    shown = ("crm.example", failed.idempotency_key, "FINANCEIRO", "PAGAMENTO", "***.982.247-**")
    for value in (*shown, f"{len(RESUMO)} caracteres"):
        assert value in dry.stdout
    for hidden in ("Maria", "150", "52998224725", "secreto", "token"):
        assert hidden not in dry.stdout
    assert json.loads(cli_rig.run("calls", "show", failed.call_id, "--json").stdout)["state"] == "failed"


def test_a_dry_run_says_when_the_destination_is_not_configured(cli_rig: CliRig) -> None:
    failed = cli_rig.ticket()
    assert "não configurado" in cli_rig.run("calls", "retry", failed.call_id, "--dry-run").stdout


def test_a_dry_run_of_a_forwarded_call_shows_the_tool_and_none_of_its_arguments(cli_rig: CliRig) -> None:
    async def forwarded(rig: Rig) -> CallRecord:
        intent = replace(TICKET, body=Personal('{"nome": "Maria"}'), setor=None, motivo=None)
        record = await rig.admit(await rig.run(), 1, intent)
        return await rig.settled(await rig.attempted(record, certain=True), REFUSED)

    record = cli_rig.daemon(forwarded)
    dry = cli_rig.run("calls", "retry", record.call_id, "--dry-run", TOOL_FORWARD_URL="https://bot.example/x")
    assert dry.exit_code == 0
    assert "bot.example" in dry.stdout
    assert record.tool in dry.stdout
    assert "Maria" not in dry.stdout


@pytest.mark.parametrize(
    ("outcome", "idempotent"), [(DONE, "true"), (NO_PROTOCOL, "true"), (UNKNOWN, "false")]
)
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_what_could_open_a_second_ticket_is_not_tried_again(
    cli_rig: CliRig, outcome: Outcome, idempotent: str, dry: list[str]
) -> None:
    record = cli_rig.ticket(outcome)
    refused = cli_rig.run("calls", "retry", record.call_id, *dry, CRM_IDEMPOTENT=idempotent)
    assert refused.exit_code == 1
    assert "(estado_incompativel)" in refused.stderr


def test_what_was_erased_cannot_be_tried_again(cli_rig: CliRig) -> None:
    async def erased(rig: Rig) -> str:
        record = await rig.settled(await rig.admit(await rig.run(), 1, SENT), REFUSED)
        await rig.change("calls", {"body": None}, call_id=record.call_id)
        return record.call_id

    refused = cli_rig.run("calls", "retry", cli_rig.daemon(erased))
    assert refused.exit_code == 1
    assert "(payload_expirado)" in refused.stderr


def test_a_retry_that_no_daemon_takes_is_accepted_and_waits_for_one(
    cli_rig: CliRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_WITHIN_S", 0.0)
    failed = cli_rig.ticket()
    accepted = cli_rig.run("calls", "retry", failed.call_id)
    assert accepted.exit_code == 4
    assert "nenhum worker" in accepted.stdout

    async def claimed(rig: Rig) -> list[str]:
        return [each.call_id for each in await rig.store.calls.claim("next", 10)]

    assert cli_rig.daemon(claimed) == [failed.call_id]


def test_a_protocolo_found_at_the_crm_completes_a_call_and_tells_the_bot_late(cli_rig: CliRig) -> None:
    unknown = cli_rig.ticket(UNKNOWN)
    resolved = cli_rig.run("calls", "resolve", unknown.call_id, "--protocolo", PROTOCOLO)
    assert (resolved.exit_code, PROTOCOLO in resolved.stdout) == (0, True)

    async def told(rig: Rig) -> dict[str, Any]:
        *_, event = [json.loads(row.body) for row in await rig.rows("outbox")]
        return event

    event = cli_rig.daemon(told)
    assert (event["type"], event["data"]["protocolo"]) == ("ticket.opened", PROTOCOLO)
    assert event["data"]["late"] is True
    again = cli_rig.run("calls", "resolve", unknown.call_id, "--protocolo", PROTOCOLO)
    assert (again.exit_code, "(estado_incompativel)" in again.stderr) == (1, True)


def test_a_protocolo_of_another_ticket_completes_nothing(cli_rig: CliRig) -> None:
    async def two(rig: Rig) -> str:
        run = await rig.run()
        await rig.settled(await rig.attempted(await rig.admit(run, 1, SENT)), DONE)
        other = replace(SENT, motivo="BLOQUEIO", equal_on=("other",))
        record = await rig.settled(await rig.attempted(await rig.admit(run, 2, other)), AMBIGUOUS)
        return record.call_id

    refused = cli_rig.run("calls", "resolve", cli_rig.daemon(two), "--protocolo", PROTOCOLO)
    assert (refused.exit_code, "(dados_invalidos)" in refused.stderr) == (1, True)


@pytest.mark.parametrize("protocolo", ["12", "abc", "12345\n67890", "１２３４５６７８９０", ""])
def test_what_is_no_protocolo_is_a_wrong_use(cli_rig: CliRig, protocolo: str) -> None:
    wrong = cli_rig.run("calls", "resolve", cli_rig.ticket().call_id, "--protocolo", protocolo)
    assert (wrong.exit_code, "--protocolo" in wrong.stderr) == (2, True)


# ----------------------------------------------------------------------------------- what cannot be done


@pytest.mark.parametrize(
    "words", [["show"], ["retry"], ["retry", "--dry-run"], ["resolve", "--protocolo", PROTOCOLO]]
)
def test_a_call_that_is_not_there_is_not_found(cli_rig: CliRig, words: list[str]) -> None:
    cli_rig.ticket()
    missing = cli_rig.run("calls", *words, "tc_nenhuma")
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert "(nao_encontrado)" in missing.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["list", "--since", "ontem"],
        ["list", "--state", "aberta"],
        ["list", "--limit", "0"],
        ["list", "--limit", "201"],
    ],
)
def test_a_search_nobody_can_make_is_a_wrong_use(cli_rig: CliRig, words: list[str]) -> None:
    cli_rig.ticket()
    wrong = cli_rig.run("calls", *words)
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert words[1] in wrong.stderr


@pytest.mark.parametrize(
    "words", [["calls", "list"], ["calls", "show", "x"], ["calls", "retry", "x"], ["handoffs", "list"]]
)
def test_without_the_keys_nothing_is_opened(cli_rig: CliRig, words: list[str]) -> None:
    wrong = cli_rig.run(*words, DATA_KEYS=None)
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert "DATA_KEYS não está definida" in wrong.stderr


def test_other_keys_than_the_daemons_open_nothing(cli_rig: CliRig) -> None:
    cli_rig.ticket()
    wrong = cli_rig.run("calls", "list", DATA_KEYS=Fernet.generate_key().decode())
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert "DATA_KEYS não abre" in wrong.stderr


def test_a_database_that_no_daemon_made_is_not_made_by_a_command(cli_rig: CliRig, tmp_path: Path) -> None:
    wrong = cli_rig.run("calls", "list", DATABASE_URL=f"sqlite:///{tmp_path}/none/worker.db")
    assert wrong.exit_code == 2
    assert "ticket-worker run" in wrong.stderr
    assert not (tmp_path / "none").exists()


async def test_a_command_leaves_an_empty_or_older_database_as_it_is(
    unmade_database_url: str, make_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = make_settings(DATABASE_URL=unmade_database_url)
    if settings.DATABASE_URL.startswith("sqlite"):
        (tmp_path / "worker.db").touch()
    with pytest.raises(ConfigError, match="ticket-worker run"):
        await Store.open(settings, "assistants", owner=False)
    store = await Store.open(settings, "assistants", owner=True)
    async with store.database.write() as connection:
        await connection.exec_driver_sql("delete from alembic_version")
    with pytest.raises(ConfigError, match="ticket-worker run"):
        await Store.open(settings, "assistants", owner=False)
    async with store.database.read() as connection:
        assert (await connection.exec_driver_sql("select count(*) from alembic_version")).scalar() == 0
    await store.close()


def test_a_database_that_cannot_be_read_is_reported_in_one_sentence(cli_rig: CliRig) -> None:
    async def broken(rig: Rig) -> None:
        async with rig.store.database.write() as connection:
            await connection.exec_driver_sql("drop table calls")

    cli_rig.daemon(broken)
    failed = cli_rig.run("calls", "list")
    assert (failed.exit_code, failed.stdout) == (1, "")
    assert failed.stderr.startswith("✗ O banco")


# ------------------------------------------------------------------------------------------- with a daemon


class Patience:
    """A clock on which every wait is over at once, and lets the daemon do something first."""

    def __init__(self, meanwhile: Callable[[], Awaitable[object]]) -> None:
        self._now = 0.0
        self._meanwhile = meanwhile

    def monotonic(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        await self._meanwhile()
        self._now += seconds


async def _failed(rig: Rig) -> CallRecord:
    record = await rig.attempted(await rig.admit(await rig.run(), 1, SENT), certain=True)
    return await rig.settled(record, REFUSED)


async def _retry(
    rig: Rig, url: str, make: MakeSettings, meanwhile: Callable[[], Awaitable[object]]
) -> tuple[Exit, str]:
    record = await _failed(rig)
    told = StringIO()
    console = Console(file=told, width=200)
    settings = make(DATABASE_URL=url)
    code = await verbs.retry_call(settings, console, record.call_id, Patience(meanwhile))
    return code, told.getvalue()


async def test_a_retry_does_not_wait_where_no_daemon_lives(
    rig: Rig, database_url: str, make_settings: MakeSettings
) -> None:
    waits = 0

    async def nothing() -> None:
        nonlocal waits
        waits += 1

    await daemon_lives(rig)
    await rig.ago(25.0, "daemons", "seen_at")
    code, told = await _retry(rig, database_url, make_settings, nothing)
    assert (code, waits) == (Exit.ACCEPTED, 0)
    assert "nenhum worker está em execução" in told


async def test_a_retry_waits_thirty_seconds_for_a_daemon(
    rig: Rig, database_url: str, make_settings: MakeSettings
) -> None:
    waits = 0
    await daemon_lives(rig)

    async def nothing() -> None:
        nonlocal waits
        waits += 1

    code, told = await _retry(rig, database_url, make_settings, nothing)
    assert (code, waits) == (Exit.ACCEPTED, 120)
    assert "nenhum worker" in told


async def test_a_retry_that_a_daemon_has_taken_and_not_ended_is_done(
    rig: Rig, database_url: str, make_settings: MakeSettings
) -> None:
    await daemon_lives(rig)

    async def claim() -> None:
        await rig.store.calls.claim("daemon", 1)

    code, told = await _retry(rig, database_url, make_settings, claim)
    assert code is Exit.DONE
    assert "assumiu" in told


@pytest.mark.parametrize(("outcome", "code"), [(DONE, Exit.DONE), (REFUSED, Exit.REFUSED)])
async def test_a_retry_reports_its_outcome(
    rig: Rig, database_url: str, make_settings: MakeSettings, outcome: Outcome, code: Exit
) -> None:
    await daemon_lives(rig)

    async def run_command() -> None:
        for record in await rig.store.calls.claim(rig.name, 1):
            await rig.settled(await rig.attempted(record), outcome)

    found, told = await _retry(rig, database_url, make_settings, run_command)
    assert found is code
    assert (outcome.protocolo or outcome.error or "?") in told


async def test_a_retry_of_many_prints_how_many_came_to_what(
    rig: Rig, database_url: str, make_settings: MakeSettings
) -> None:
    await daemon_lives(rig)
    run = await rig.run()
    for number in (1, 2, 3):
        await ended(rig, run, number, REFUSED)
    outcomes = iter([DONE, REFUSED, REFUSED])

    async def send_one() -> None:
        for record in await rig.store.calls.claim(rig.name, 1):
            await rig.settled(await rig.attempted(record), next(outcomes))

    screen = StringIO()
    code = await verbs.retry_calls(
        make_settings(DATABASE_URL=database_url),
        Console(file=screen, width=200),
        verbs.Selection(CallState.FAILED, "2h"),
        Patience(send_one),
    )
    assert (code, screen.getvalue().splitlines()) == (
        Exit.REFUSED,
        [
            "✓ 3 novas tentativas pedidas",
            "✓ 1 chamada concluída",
            "✗ 2 não deram certo: crm_recusou",
        ],
    )


async def _python(*words: str, env: dict[str, str]) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "worker", *words),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd()), **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_the_daemon_carries_out_a_retry_of_another_process_and_reports_it_late(
    make_settings: MakeSettings, database_url: str
) -> None:
    async def fails(record: CallRecord, attempts: Attempts) -> Outcome:
        await attempts.begin()
        await attempts.end(certain=True, detail="http_429")
        return Outcome(CallState.FAILED, "crm_indisponivel")

    store = await Store.open(make_settings(DATABASE_URL=database_url, **BOT), "assistants", owner=True)
    harness = Harness(store)
    await harness.conversation()
    await harness.announce()
    harness.platform.script("run_1", asks(call()), COMPLETED)
    harness.tool.performance = fails
    await harness.worker().run_until_idle()
    (failed,) = (await store.records.calls())[0]
    assert failed.state is CallState.FAILED

    harness.tool.performance = opens_at_once
    daemon = harness.worker()
    working = asyncio.create_task(daemon.run())
    env = {"DATABASE_URL": database_url, "DATA_KEYS": KEY, **BOT}
    await daemon_lives(Rig(store))
    code, out, err = await _python("calls", "retry", failed.call_id, env=env)
    daemon.stop()
    await working

    assert (code, err) == (0, "")
    assert f"protocolo {PROTOCOLO}" in out
    first, second = harness.tool.performed
    assert (first.idempotency_key, first.body) == (second.idempotency_key, second.body)
    events = [json.loads(row.body) for row in await Rig(store).rows("outbox")]
    last = events[-1]
    assert (last["type"], last["data"]["protocolo"], last["data"]["late"]) == (
        "ticket.opened",
        PROTOCOLO,
        True,
    )
    await store.close()
