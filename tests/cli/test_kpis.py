"""`kpis`: the figures and their targets beside the daemon."""

import asyncio
import csv
import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from tests.databases import KEY
from tests.fakes import call
from tests.store.harness import DONE, HANDOFF, NO_PROTOCOL, REJECTION, TICKET, Decision, Rig
from worker.cli import kpis as verbs
from worker.cli.main import cli
from worker.settings import Settings
from worker.store.store import Store

Shell = Callable[..., Result]
_TICKETS = "abrir_ticket_crm"


async def _day(rig: Rig) -> None:
    """A ticket opened, one without protocolo, a wrong pair, a hand-off."""
    await rig.conversation()
    await rig.conversation("c2")
    run = await rig.run()

    async def asks(number: int, decision: Decision, tool: str = _TICKETS, where: object = None) -> object:
        return await rig.decided(where or run, call(number, tool), lambda _: decision)  # type: ignore[arg-type]

    await rig.settled(await rig.attempted(await asks(1, TICKET)), DONE)  # type: ignore[arg-type]
    other = await asks(2, TICKET, where=await rig.run("run_2", "c2"))
    await rig.settled(await rig.attempted(other), NO_PROTOCOL)  # type: ignore[arg-type]
    await asks(3, REJECTION)
    await asks(4, HANDOFF, "transferir_para_humano")


@pytest.fixture
def shell(
    make_settings: Callable[..., Settings],
    database_file: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Shell:
    """An operator's shell beside the database of `_day`, or of nothing (`empty`)."""
    monkeypatch.chdir(tmp_path)
    env = {"DATABASE_URL": database_file, "DATA_KEYS": KEY}

    async def daemon(*, empty: bool) -> None:
        store = await Store.open(make_settings(), "assistants", owner=True)
        try:
            await asyncio.sleep(0) if empty else await _day(Rig(store))
        finally:
            await store.close()

    def run(*words: str, empty: bool = False) -> Result:
        asyncio.run(daemon(empty=empty))
        return CliRunner().invoke(cli, ("kpis", *words), env=env, catch_exceptions=False)

    return run


def line(text: str, title: str) -> list[str]:
    (found,) = (row for row in text.splitlines() if row.strip().startswith(title))
    return found.split(title)[1].split()


def test_the_table_puts_each_figure_beside_its_target(shell: Shell) -> None:
    shown = shell()
    assert shown.exit_code == 0
    assert line(shown.stdout, "Taxa de sucesso na abertura") == [
        "50,00",
        "%",
        ">",
        "95,00",
        "%",
        "✗",
        "não",
        "atingida",
    ]
    assert line(shown.stdout, "Combinações inválidas")[:5] == ["33,33", "%", "<", "1,00", "%"]
    assert line(shown.stdout, "Tickets sem protocolo") == ["1", "≤", "0", "✗", "não", "atingida"]
    assert line(shown.stdout, "Tempo de resposta do CRM (média)")[-2:] == ["✓", "atingida"]
    for word in ("atendimento humano", "financeiro", "tickets por setor", "FINANCEIRO", "PAGAMENTO"):
        assert word in shown.stdout
    assert "\x1b" not in shown.stdout


def test_an_empty_ledger_has_dashes_and_no_verdicts(shell: Shell) -> None:
    shown = shell("--since", "hoje", empty=True).stdout
    assert line(shown, "Taxa de sucesso na abertura") == ["-", ">", "95,00", "%", "-"]
    assert line(shown, "Tempo de resposta do CRM (média)") == ["-", "<", "500", "ms", "-"]
    assert "tickets por setor" not in shown


def test_as_json_it_is_what_the_api_gives(shell: Shell) -> None:
    shown = json.loads(shell("--format", "json").stdout)
    assert (shown["tickets_opened"], shown["valid_requests"], shown["success_rate"]) == (1, 2, 0.5)
    assert shown["handoffs"] == {"financeiro": 1}
    assert shown["since"].endswith("-03:00")


def test_as_csv_every_figure_has_a_line(shell: Shell) -> None:
    rows = {row["kpi"]: row for row in csv.DictReader(StringIO(shell("--format", "csv").stdout))}
    assert rows["success_rate"] == {"kpi": "success_rate", "value": "0.5", "target": ">0.95", "met": "false"}
    assert rows["unknown"] == {"kpi": "unknown", "value": "0", "target": "", "met": ""}
    assert rows["by_motivo.PAGAMENTO"]["value"] == "1"
    assert rows["handoffs.financeiro"]["value"] == "1"
    assert rows["end_to_end_ms.p95"]["value"] == ""


def test_on_a_terminal_a_missed_target_is_red(shell: Shell, make_settings: Callable[..., Settings]) -> None:
    shell()
    screen = StringIO()
    console = Console(file=screen, force_terminal=True, color_system="standard", width=200)
    asyncio.run(verbs.show_kpis(make_settings(), console, "24h", "table"))
    assert "\x1b[31m✗ não atingida" in screen.getvalue()


@pytest.mark.parametrize("words", [("--since", "ontem"), ("--format", "xml")])
def test_what_cannot_be_shown_is_a_usage_error(shell: Shell, words: tuple[str, ...]) -> None:
    assert shell(*words, empty=True).exit_code == 2
