"""`erase`, `export` and `rekey`, as a person types them beside the daemon."""

import io
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from rich.console import Console
from typer.testing import CliRunner, Result

from tests.cli.rig import BOT, CliRig, daemon_lives
from tests.cli.test_calls import Patience
from tests.databases import KEY
from tests.store.harness import DOCUMENT, HANDOFF, TICKET, OpenRig, Rig
from worker.cli import database
from worker.cli import personal_data as verbs
from worker.cli.exit_codes import Exit
from worker.cli.main import cli
from worker.model import ReplySource, RunState
from worker.personal import Personal
from worker.replies import Code
from worker.settings import Settings

MakeSettings = Callable[..., Settings]

CONTACT = Personal("5524999990000")
MASKED = "529.982.247-25"
NEW_KEY = Fernet.generate_key().decode()

sqlite = pytest.mark.parametrize("unmade_database_url", ["sqlite"], indirect=True)


@pytest.fixture
def database_url(unmade_database_url: str) -> str:
    """Of this test's own: what others have left in a file, or its key, is not asked here."""
    return unmade_database_url


@pytest.fixture
def house(cli_rig: CliRig, monkeypatch: pytest.MonkeyPatch) -> CliRig:
    """A shell beside what a daemon has left: Maria's conversation with a hand-off and a call under way."""
    monkeypatch.setattr(database, "_WITHIN_S", 0.0)

    async def work(rig: Rig) -> None:
        await rig.conversation("c1", contact=CONTACT)
        run = await rig.run()
        await rig.admit(run, 1, HANDOFF)
        await rig.store.runs.close(run, RunState.ENDED, "concluida", "completed")
        await rig.attempted(await rig.admit(await rig.run("run_2"), 2, TICKET))

    cli_rig.daemon(work)
    return cli_rig


def typed(cli_rig: CliRig, text: str, *words: str, **env: str) -> Result:
    """A command with something on its standard input."""
    return CliRunner().invoke(cli, words, input=text, env={**cli_rig.env, **env}, catch_exceptions=False)


# --------------------------------------------------------------------------------------------------- erase


@pytest.mark.parametrize("words", [["--conversation", "c1"], ["--document"]])
def test_an_erasure_that_no_daemon_takes_is_accepted_and_waits_for_one(
    house: CliRig, words: list[str]
) -> None:
    accepted = typed(house, MASKED, "erase", *words)
    assert (accepted.exit_code, "nenhum worker" in accepted.stdout) == (4, True)

    async def wait_for_daemon(rig: Rig) -> None:
        assert await rig.store.erasures.process_next()
        assert await rig.rows("conversations") == []

    house.daemon(wait_for_daemon)


@sqlite
async def test_the_daemons_report_says_what_went_and_what_stayed_and_why(
    open_rig: OpenRig, make_settings: MakeSettings, database_url: str
) -> None:
    rig = await open_rig(owner=True)
    await rig.conversation("c1", contact=CONTACT)
    await rig.attempted(await rig.admit(await rig.run()))
    screen, settings = io.StringIO(), make_settings(DATABASE_URL=database_url)
    await daemon_lives(rig)
    console, clock = Console(file=screen, width=200), Patience(rig.store.erasures.process_next)
    assert await verbs.erase(settings, console, "c1", clock, as_json=False) is Exit.DONE
    assert screen.getvalue().splitlines() == [
        "✓ Apagado: documentos 1, contatos 1",
        "  Ficou: pedidos em andamento 1 (pedidos já em andamento: o conteúdo é apagado com o resultado)",
        "  Ficou: execuções 1 (registro legal, sem conteúdo: até RETENTION_RECORD_DAYS)",
        "  Ficou: chamadas 1 (registro legal, sem conteúdo: até RETENTION_RECORD_DAYS; guardam protocolo, "
        "setor, motivo, horários e o hash do documento)",
    ]
    await rig.conversation("c2", client_document=None)
    screen.seek(screen.truncate(0))
    assert await verbs.erase(settings, console, "c2", clock, as_json=False) is Exit.DONE
    assert screen.getvalue() == "✓ Apagado: nada havia além do registro\n"
    await rig.conversation("c3")
    screen.seek(screen.truncate(0))
    assert await verbs.erase(settings, console, "c3", clock, as_json=True) is Exit.DONE
    report = json.loads(screen.getvalue())
    assert (report["erased"]["documents"], report["kept"]) == (1, [])


@sqlite
async def test_the_report_names_each_kind_of_record_that_stays(
    open_rig: OpenRig, make_settings: MakeSettings, database_url: str
) -> None:
    rig = await open_rig(owner=True, **BOT)
    await rig.conversation("c1", contact=CONTACT)
    run = await rig.run()
    await rig.admit(run, 1, HANDOFF)
    await rig.attempted(await rig.admit(run, 2, TICKET))
    await rig.store.replies.record("c1", "run_1", ReplySource.RUN, [Code.NO_TICKET])
    screen, settings = io.StringIO(), make_settings(DATABASE_URL=database_url)
    await daemon_lives(rig)
    console, clock = Console(file=screen, width=200), Patience(rig.store.erasures.process_next)
    assert await verbs.erase(settings, console, "c1", clock, as_json=False) is Exit.DONE
    kept = re.findall(r"Ficou: (.+?) \d+ \(", screen.getvalue())
    assert sorted(kept) == [
        *("avisos ao bot", "chamadas", "execuções", "pedidos de atendimento humano"),
        *("pedidos em andamento", "respostas conferidas", "respostas de execuções em andamento"),
    ]


def test_what_is_not_held_is_refused(house: CliRig) -> None:
    unknown = house.run("erase", "--conversation", "c9")
    assert (unknown.exit_code, "(conversa_desconhecida)" in unknown.stderr) == (1, True)
    for command in ("erase", "export"):
        unknown = typed(house, "111.444.777-35\n", command, "--document")
        assert (unknown.exit_code, "(nao_encontrado)" in unknown.stderr) == (1, True)
        assert "111" not in unknown.stderr


@pytest.mark.parametrize(
    "words", [["erase"], ["erase", "--conversation", "c1", "--document"], ["export"], ["export", "c1"]]
)
def test_a_subject_is_named_once_and_a_document_never_on_the_command_line(
    house: CliRig, words: list[str]
) -> None:
    assert house.run(*words).exit_code == 2


@pytest.mark.parametrize("text", ["", "\n", "529.982.247-24\n", "Maria\n", "9" * 5000])
@pytest.mark.parametrize("command", ["erase", "export"])
def test_what_is_no_document_is_a_wrong_use_and_not_repeated(house: CliRig, command: str, text: str) -> None:
    wrong = typed(house, text, command, "--document")
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert wrong.stderr == "✗ O que foi lido da entrada padrão não é um CPF ou CNPJ válido\n"


@pytest.mark.parametrize("between", ["\n", " ", "\r\n\n", "\n" * 100])
@pytest.mark.parametrize("command", ["erase", "export"])
def test_of_two_documents_none_is_taken(house: CliRig, command: str, between: str) -> None:
    both = typed(house, f"529.982.247-25{between}111.444.777-35\n", command, "--document")
    assert (both.exit_code, both.stdout) == (2, "")
    assert (
        both.stderr == "✗ A entrada padrão tem mais de um documento: nada foi feito; envie um de cada vez\n"
    )


# -------------------------------------------------------------------------------------------------- export


def test_an_export_is_json_with_everything_readable_and_is_put_on_record(
    house: CliRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verbs.getpass, "getuser", lambda: "ana")
    exported = typed(house, MASKED, "export", "--document")
    assert exported.exit_code == 0
    held = json.loads(exported.stdout)
    (conversation,) = held["conversations"]
    assert (conversation["document"], conversation["contact"]) == (DOCUMENT, CONTACT.reveal())
    assert conversation["created_at"].endswith("-03:00")
    assert [row["motivo"] for row in held["handoffs"]] == [HANDOFF.body.reveal()]
    assert TICKET.body.reveal() in {row["body"] for row in held["calls"]}
    assert [row["reader"] for row in held["access_log"]] == ["ana@cli"]


def test_a_user_without_a_name_is_put_on_record_by_number(
    house: CliRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless() -> str:
        raise KeyError(4711)

    monkeypatch.setattr(verbs.getpass, "getuser", nameless)
    held = json.loads(typed(house, MASKED, "export", "--document").stdout)
    assert [row["reader"] for row in held["access_log"]] == [f"{os.getuid()}@cli"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_at_a_terminal_a_document_is_typed_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(verbs.getpass, "getpass", lambda prompt: MASKED)
    assert verbs._document() == Personal(DOCUMENT)


# --------------------------------------------------------------------------------------------------- rekey


def test_a_rekey_ends_with_the_old_key_not_needed(house: CliRig) -> None:
    rekeyed = house.run("rekey", DATA_KEYS=f"{NEW_KEY},{KEY}")
    assert (rekeyed.exit_code, "elas podem sair de DATA_KEYS" in rekeyed.stdout) == (0, True)
    assert typed(house, MASKED, "export", "--document", DATA_KEYS=NEW_KEY).exit_code == 0
    again = house.run("rekey", DATA_KEYS=NEW_KEY)
    assert (again.exit_code, "0 valores foram cifrados de novo" in again.stdout) == (0, True)


def test_a_rekey_says_when_something_opens_with_no_key(house: CliRig) -> None:
    async def spoil(rig: Rig) -> None:
        async with rig.store.database.write() as connection:
            await connection.exec_driver_sql("update handoffs set motivo = x'78'")

    house.daemon(spoil)
    rekeyed = house.run("rekey", DATA_KEYS=f"{NEW_KEY},{KEY}")
    assert (rekeyed.exit_code, "não abrem com nenhuma chave" in rekeyed.stdout) == (1, True)


@sqlite
async def test_a_rekey_that_cannot_keep_up_with_the_daemon_says_what_to_do(
    open_rig: OpenRig, make_settings: MakeSettings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = await open_rig(owner=True, DATA_KEYS=f"{KEY},{NEW_KEY}")
    await daemon.conversation()
    settings = make_settings(DATABASE_URL=database_url, DATA_KEYS=f"{NEW_KEY},{KEY}")
    walk = verbs.Rekey.walk

    async def and_the_daemon_writes(self: verbs.Rekey, done: verbs.RekeyCounts):  # type: ignore[no-untyped-def]
        async for rows in walk(self, done):
            yield rows
            await daemon.conversation(contact=CONTACT)

    monkeypatch.setattr(verbs.Rekey, "walk", and_the_daemon_writes)
    screen = io.StringIO()
    code = await verbs.rekey(settings, Console(file=screen, width=200))
    assert (code, "reinicie o worker com a chave nova" in screen.getvalue()) == (Exit.REFUSED, True)


@pytest.mark.parametrize(
    "words",
    [["erase", "--conversation", "c1"], ["export", "--document"], ["rekey"], ["kpis"], ["calls", "list"]],
)
def test_keys_that_are_not_this_databases_write_nothing(
    house: CliRig, words: list[str], tmp_path: Path
) -> None:
    before = {path.name: path.read_bytes() for path in tmp_path.glob("worker.db*")}
    refused = typed(house, MASKED, *words, DATA_KEYS=NEW_KEY)
    assert "DATA_KEYS não abre a chave de índice" in refused.stderr
    assert refused.exit_code == 2
    assert {path.name: path.read_bytes() for path in tmp_path.glob("worker.db*")} == before
