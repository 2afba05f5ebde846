"""The daemon from outside: how it starts, what it refuses, how it stops, and what it survives."""

import re
import signal
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.fernet import Fernet

from tests.raw_server import listening
from tests.system.daemon import (
    BASIC,
    HELD_S,
    QUICK,
    Daemon,
    House,
    house,
    refused,
    refused_in_its_own_process,
    until,
)
from worker.errors import PlatformGone
from worker.simulator.assistants.runs import Timings
from worker.simulator.faults import Fault

PAID, TOLD = "Acabei de pagar", "Ticket aberto com sucesso! Protocolo: {}"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def at_work(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[House, Daemon]]:
    """One daemon for all that it is to live through."""
    async with house(tmp_path_factory.mktemp("at-work")) as home, home.daemon(anew=True) as daemon:
        yield home, daemon
        assert await daemon.signalled(signal.SIGTERM) == 0


async def opens_a_ticket(home: House, daemon: Daemon) -> str:
    """Hand a run over and see it through: its protocolo."""
    handed = await home.hand_over(daemon, PAID)
    run = await home.run_ended(daemon, handed.run_id)
    (call,) = run["calls"]
    (told,) = home.told(handed.run_id)
    assert (run["state"], call["state"], told["success"]) == ("ended", "done", True)
    assert home.opened_for(handed) == 1
    assert told["mensagem"] == TOLD.format(call["protocolo"])
    return str(call["protocolo"])


def lines(log: str, pattern: str) -> int:
    return len(re.findall(pattern, log, re.MULTILINE))


# ------------------------------------------------------------------------------------------------ at work


async def test_a_run_ends_with_the_protocolo_in_the_submitted_output(at_work: tuple[House, Daemon]) -> None:
    home, daemon = at_work
    protocolo = await opens_a_ticket(home, daemon)
    assert protocolo in [ticket.protocolo for ticket in home.crm.tickets]


async def test_the_greps_of_the_mission_give_one_line_a_ticket(at_work: tuple[House, Daemon]) -> None:
    home, daemon = at_work
    greps = (
        "🎫 \\[AI Tool Handler\\] Ticket aberto com sucesso",
        "❌ \\[AI Tool Handler\\] Erro ao abrir ticket",
        "Chamando abrirTicketCRM",
    )
    before = [lines(daemon.log, grep) for grep in greps]
    await opens_a_ticket(home, daemon)
    home.crm.faults.add(Fault(status=503, times=2))
    await opens_a_ticket(home, daemon)
    home.crm.faults.add(Fault(status=400))
    failed = await home.hand_over(daemon, PAID)
    await home.run_ended(daemon, failed.run_id)
    after = [lines(daemon.log, grep) for grep in greps]
    assert [now - then for now, then in zip(after, before, strict=True)] == [2, 1, 3]


@pytest.mark.parametrize("preset", ["html", "message", "empty", "bare_object", "wrong_shape"])
async def test_a_crm_that_says_anything_but_a_protocolo_is_no_success(
    at_work: tuple[House, Daemon], preset: str
) -> None:
    home, daemon = at_work
    home.crm.faults.preset(preset)
    handed = await home.hand_over(daemon, PAID)
    run = await home.run_ended(daemon, handed.run_id)
    assert [call["state"] for call in run["calls"]] == ["no_protocol"]
    assert [told["error"] for told in home.told(handed.run_id)] == ["sem_protocolo"]
    assert len(home.posts_for(handed)) == 1


NONSENSE = {
    "half an object": Fault(body='{"id": "run_', content_type="application/json"),
    "another object": Fault(body='{"status": {"a": 1}, "thread_id": 7}', content_type="application/json"),
    "HTML": Fault(body="<html>Bad gateway</html>", content_type="text/html"),
    "401": Fault(status=401, body="{}", content_type="application/json"),
    "429": Fault(status=429, headers={"retry-after": "0"}),
    "500 in plain text": Fault(status=500),
    "nothing": Fault(drop=True),
}


async def test_whatever_a_platform_answers_the_daemon_keeps_running_and_recovers(
    at_work: tuple[House, Daemon],
) -> None:
    home, daemon = at_work
    for fault in NONSENSE.values():
        home.platform.faults.add(fault.model_copy(update={"on": "retrieve_run"}))
        home.platform.faults.add(fault.model_copy(update={"on": "submit_tool_outputs"}))
        await opens_a_ticket(home, daemon)
    # What cannot be read once may be about one run: only the others are outages, each a cause of its own.
    outages = len(NONSENSE.keys() - {"half an object", "another object", "HTML"})
    assert lines(daemon.log, "plataforma não atende") >= outages
    assert lines(daemon.log, "plataforma voltou a atender") >= outages


async def test_a_second_run_on_the_same_file_is_refused_and_names_the_holder(
    at_work: tuple[House, Daemon], tmp_path: Path
) -> None:
    home, daemon = at_work
    before = await home.call("GET", f"{daemon.url}/v1/calls?limit=200")
    database = f"sqlite:///{home.folder}/worker.db"
    code, said = await refused(tmp_path, home.settings | {"DATABASE_URL": database})
    assert code == 2
    assert f"pid {daemon.process.pid}" in said
    assert await home.call("GET", f"{daemon.url}/v1/calls?limit=200") == before
    await opens_a_ticket(home, daemon)


async def test_a_port_in_use_is_refused_and_the_one_who_has_it_lives_on(
    at_work: tuple[House, Daemon], tmp_path: Path
) -> None:
    home, daemon = at_work
    settings = home.settings | {"HTTP_PORT": str(daemon.port)}
    code, said = await refused_in_its_own_process(tmp_path, settings)
    assert code == 2
    assert "HTTP_PORT" in said
    assert str(daemon.port) in said
    await opens_a_ticket(home, daemon)


# ---------------------------------------------------------------------------------------- will not start


async def test_everything_wrong_with_the_settings_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("CRM_WEBHOK_URL=http://127.0.0.1:9/\nCRM_COLOUR=blue\n", encoding="utf-8")
    settings = {"PLATFORM": "asistants", "CRM_MAX_ATTEMPTS": "many", "BOT_WEBHOOK_URL": "http://127.0.0.1:9"}
    code, said = await refused(tmp_path, settings)
    assert code == 2
    for name in ("PLATFORM", "OPENAI_API_KEY", "CRM_WEBHOOK_URL", "DATA_KEYS", "CRM_MAX_ATTEMPTS"):
        assert re.search(rf"^✗ {name} ", said, re.MULTILINE), name
    assert "BOT_WEBHOOK_SECRET" in said
    assert "CRM_WEBHOK_URL" in said
    assert "many" not in said
    assert not (tmp_path / "worker.db").exists()


NOWHERE = BASIC | {"OPENAI_BASE_URL": "http://127.0.0.1:9", "CRM_WEBHOOK_URL": "http://127.0.0.1:9/"}
"""Good settings, and nobody there: a platform that does not answer is no reason not to start."""


async def test_a_file_that_is_no_database_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "worker.db").write_bytes(b"SQLite format 3\x00 and then something else" * 100)
    before = (tmp_path / "worker.db").read_bytes()
    code, said = await refused(tmp_path, NOWHERE)
    assert code == 2
    assert "worker.db não é um banco SQLite íntegro" in said
    assert (tmp_path / "worker.db").read_bytes() == before


async def test_an_unusable_log_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("not a folder")
    code, said = await refused(tmp_path, NOWHERE)
    assert code == 2
    assert "LOG_DIR" in said
    assert not (tmp_path / "worker.db").exists()


async def test_where_openai_no_longer_serves_the_protocol_one_sentence_says_so(tmp_path: Path) -> None:
    async with listening() as wire:
        wire.says({"error": {"message": "Invalid URL"}}, 404)
        at_openai = {"OPENAI_BASE_URL": "http://api.openai.com/v1", "HTTP_PROXY": wire.url, "NO_PROXY": ""}
        code, said = await refused(tmp_path, NOWHERE | at_openai)
    assert (code, said) == (2, f"✗ {PlatformGone.sentence}\n")
    assert not (tmp_path / "worker.db").exists()


# ------------------------------------------------------------------------------- stops, and what remains


async def test_the_life_of_a_daemon_that_is_stopped_in_every_way(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        waiting = await _first_signal_waits_for_what_is_in_flight(home)
        await _wrong_keys_change_nothing(home)
        held = await _second_signal_ends_it_at_once(home, waiting)
        await _without_a_server_it_goes_on_with_what_was_recorded(home, held)


async def _first_signal_waits_for_what_is_in_flight(home: House) -> str:
    """Exit 0 with the attempt in flight recorded and submitted; the run that is still open goes back."""
    home.platform.conversations.timings = Timings(queued_s=0, thinking_s=300)
    async with home.daemon() as daemon:
        open_still = await home.hand_over(daemon, PAID)
        home.platform.conversations.timings = QUICK
        home.crm.faults.add(Fault(delay_s=0.5, commit_after_s=0))
        in_flight = await home.hand_over(daemon, PAID)
        await until(lambda: home.crm.tickets)
        assert await daemon.signalled(signal.SIGTERM) == 0
        assert "ticket-worker encerrado" in daemon.log
    (told,) = home.told(in_flight.run_id)
    assert told["protocolo"] == home.crm.tickets[0].protocolo
    recorded = home.stored("select state, protocolo, submitted_at is not null from calls")
    assert recorded == [("done", told["protocolo"], 1)]
    leases = home.stored("select run_id, owner from runs where state = 'watching'")
    assert (open_still.run_id, None) in leases
    assert {owner for _, owner in leases} == {None}
    return open_still.run_id


async def _wrong_keys_change_nothing(home: House) -> None:
    before = home.stored("select * from calls") + home.stored("select * from runs")
    code, said = await refused(home.folder, home.settings | {"DATA_KEYS": Fernet.generate_key().decode()})
    assert code == 2
    assert "DATA_KEYS não abre a chave de índice deste banco" in said
    assert home.stored("select * from calls") + home.stored("select * from runs") == before


async def _second_signal_ends_it_at_once(home: House, waiting: str) -> str:
    """It takes up the run that was open, and is ended while the CRM keeps it waiting."""
    home.crm.faults.add(Fault(delay_s=HELD_S, commit_after_s=0))
    async with home.daemon() as daemon:
        home.platform.conversations.run(waiting).timings = QUICK
        await home.call("POST", f"{daemon.url}/v1/runs", _announcement(home, waiting))
        await until(lambda: len(home.crm.tickets) == 2)
        said = daemon.log.count("encerrando:")
        daemon.process.send_signal(signal.SIGTERM)
        await until(lambda: daemon.log.count("encerrando:") > said)
        assert await daemon.signalled(signal.SIGTERM) == -signal.SIGTERM
    home.crm.faults.clear()
    assert home.stored("select state from calls order by received_at") == [("done",), ("running",)]
    return waiting


def _announcement(home: House, run_id: str) -> dict[str, Any]:
    ((conversation,),) = home.stored(f"select conversation_id from runs where run_id = '{run_id}'")
    return {"conversation_id": conversation, "run_id": run_id}


async def _without_a_server_it_goes_on_with_what_was_recorded(home: House, held: str) -> None:
    """HTTP_PORT=0; and Ctrl-C twice ends as SIGTERM twice does."""
    async with home.daemon(HTTP_PORT="0") as daemon:
        await until(lambda: home.stored(f"select state from runs where run_id = '{held}'") == [("ended",)])
        assert _listening_sockets(daemon) == 0
        assert [told["success"] for told in home.told(held)] == [True]
        assert len(home.crm.tickets) == 2
        home.crm.faults.add(Fault(delay_s=HELD_S))
        begun = await home.begin("Minha internet voltou")  # the same again would be an equal call
        _announce_without_a_server(home, begun["id"], begun["thread_id"])
        await until(lambda: home.stored("select 1 from calls where state = 'running'"))
        said = daemon.log.count("encerrando:")
        daemon.process.send_signal(signal.SIGINT)
        await until(lambda: daemon.log.count("encerrando:") > said)
        assert await daemon.signalled(signal.SIGINT) == -signal.SIGINT


def _announce_without_a_server(home: House, run_id: str, thread_id: str) -> None:
    """As another process of the machine would: the conversation moves to a new thread, its run is due."""
    with sqlite3.connect(home.folder / "worker.db") as database:
        (first,) = database.execute("select conversation_id from conversations limit 1").fetchone()
        database.execute(
            "update conversations set thread_id = ? where conversation_id = ?", (thread_id, first)
        )
        columns = "run_id, platform, conversation_id, thread_id, state, registered_at, due"
        database.execute(
            f"insert into runs ({columns}) values (?, 'assistants', ?, ?, 'watching', 0, 0)",
            (run_id, first, thread_id),
        )
    database.close()


def _listening_sockets(daemon: Daemon) -> int:
    """How many TCP sockets the process listens on; Linux tells, elsewhere this is not looked at."""
    folder = Path(f"/proc/{daemon.process.pid}/fd")
    if not folder.is_dir():
        return 0
    ours = {str(entry.readlink()) for entry in folder.iterdir() if entry.is_symlink()}
    table = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(f"socket:[{row.split()[9]}]" in ours for row in table if row.split()[3] == "0A")


async def test_a_database_that_stops_recording_ends_the_daemon_and_loses_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as home, home.daemon() as daemon:
        protocolo = await opens_a_ticket(home, daemon)
        with sqlite3.connect(tmp_path / "worker.db") as database:
            database.execute(
                "create trigger full_disk before insert on calls begin select raise(abort, 'Maria'); end"
            )
        database.close()
        await home.hand_over(daemon, PAID)
        assert await daemon.ended() == 1
        assert "nada mais será feito sem registro" in " ".join(daemon.stderr.split())
        assert "Maria" not in daemon.stderr + daemon.log
        assert [ticket.protocolo for ticket in home.crm.tickets] == [protocolo]
        assert home.stored("select state, protocolo from calls") == [("done", protocolo)]
