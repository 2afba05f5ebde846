"""`handoffs`: the queue as an attendant reads and works it, beside the daemon."""

import asyncio
import json
from collections.abc import Callable
from io import StringIO

import pytest
from rich.console import Console

from tests.cli.rig import Office
from tests.store.harness import HANDOFF, Desk
from worker.cli import handoffs as verbs
from worker.settings import Settings

WAITED_S = 3 * 3600 + 125


def _requested(office: Office, seconds: float = WAITED_S) -> str:
    """A customer who has waited for so long; the request's id."""

    async def asked(desk: Desk) -> str:
        await desk.admit(await desk.run(), 1, HANDOFF)
        await desk.ago(seconds, "handoffs", "requested_at")
        handoff_id: str = (await desk.row("handoffs")).handoff_id
        return handoff_id

    return office.daemon(asked)


def test_handoffs_are_listed_without_what_the_model_wrote(office: Office) -> None:
    handoff_id = _requested(office)
    listed = office.run("handoffs", "list", "--state", "requested")
    (line,) = (line for line in listed.stdout.splitlines() if handoff_id in line)
    for shown in ("c1", "3 h 02 min", "financeiro", "requested"):
        assert shown in line
    assert "Maria" not in listed.stdout
    assert office.run("handoffs", "list", "--state", "closed").stdout == "Nada encontrado.\n"
    (item,) = json.loads(office.run("handoffs", "list", "--json").stdout)["items"]
    assert item["state"] == "requested"
    assert "motivo" not in item


def test_on_a_narrow_terminal_nothing_of_a_handoff_is_lost(
    office: Office, make_settings: Callable[..., Settings]
) -> None:
    handoff_id = _requested(office)
    screen = StringIO()
    console = Console(file=screen, width=80)
    asyncio.run(verbs.list_handoffs(make_settings(), console, state=None, limit=50, as_json=False))
    lines = screen.getvalue().splitlines()
    (at,) = (at for at, line in enumerate(lines) if handoff_id in line)
    assert "financeiro" in lines[at]
    for shown in ("c1", "3 h 02 min", "requested"):
        assert shown in lines[at + 1]


@pytest.mark.parametrize(("seconds", "shown"), [(0.4, "0 s"), (59, "59 s"), (125, "2 min 05 s")])
def test_a_wait_is_told_in_its_two_largest_units(office: Office, seconds: float, shown: str) -> None:
    async def asked(desk: Desk) -> None:
        await desk.admit(await desk.run(), 1, HANDOFF)
        await desk.change(
            "handoffs", {"state": "accepted", "requested_at": 1e9, "accepted_at": 1e9 + seconds}
        )

    office.daemon(asked)
    assert f" {shown} " in office.run("handoffs", "list").stdout


def test_showing_a_handoff_gives_its_motivo_and_puts_the_reader_on_record(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "ana")
    handoff_id = _requested(office)
    shown = office.run("handoffs", "show", handoff_id)
    assert "Maria quer falar" in shown.stdout
    assert "3 h 02 min" in shown.stdout
    assert (
        json.loads(office.run("handoffs", "show", handoff_id, "--json").stdout)["motivo"]
        == "Maria quer falar"
    )

    async def readers(desk: Desk) -> list[tuple[str, str]]:
        return [(row.reader, row.subject) for row in await desk.rows("access_log")]

    assert office.daemon(readers) == [("ana@cli", handoff_id)] * 2


def test_a_handoff_is_accepted_once_then_closed_and_the_bot_is_told(office: Office) -> None:
    handoff_id = _requested(office)
    accepted = office.run("handoffs", "accept", handoff_id)
    assert (accepted.exit_code, accepted.stdout) == (
        0,
        f"✓ Pedido {handoff_id} assumido; o cliente esperou 3 h 02 min\n",
    )
    again = office.run("handoffs", "accept", handoff_id)
    assert (again.exit_code, again.stdout) == (1, "")
    assert "já foi assumido ou encerrado (estado_incompativel)" in again.stderr
    for _ in range(2):
        closed = office.run("handoffs", "close", handoff_id)
        assert (closed.exit_code, "encerrado" in closed.stdout) == (0, True)

    async def told(desk: Desk) -> list[str]:
        return [kind for kind, _ in await desk.events()]

    assert office.daemon(told) == ["handoff.requested", "handoff.accepted", "handoff.closed"]


@pytest.mark.parametrize("verb", ["show", "accept", "close"])
def test_a_handoff_that_is_not_there_is_said_in_one_sentence(office: Office, verb: str) -> None:
    _requested(office)
    refused = office.run("handoffs", verb, "ho_none")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr == "✗ Não há nada com este identificador (nao_encontrado)\n"
