"""`handoffs`: the queue as an attendant reads and works it, beside the daemon."""

import asyncio
import json
from collections.abc import Callable
from io import StringIO

import pytest
from rich.console import Console

from tests.cli.rig import CliRig
from tests.store.harness import HANDOFF, Rig
from worker.cli import handoffs as verbs
from worker.settings import Settings

WAITED_S = 3 * 3600 + 125


def _requested(cli_rig: CliRig, seconds: float = WAITED_S) -> str:
    """A customer who has waited for so long; the request's id."""

    async def asked(rig: Rig) -> str:
        await rig.admit(await rig.run(), 1, HANDOFF)
        await rig.ago(seconds, "handoffs", "requested_at")
        handoff_id: str = (await rig.row("handoffs")).handoff_id
        return handoff_id

    return cli_rig.daemon(asked)


def test_handoffs_are_listed_without_what_the_model_wrote(cli_rig: CliRig) -> None:
    handoff_id = _requested(cli_rig)
    listed = cli_rig.run("handoffs", "list", "--state", "requested")
    (line,) = (line for line in listed.stdout.splitlines() if handoff_id in line)
    for shown in ("c1", "3 h 02 min", "financeiro", "requested"):
        assert shown in line
    assert "Maria" not in listed.stdout
    assert cli_rig.run("handoffs", "list", "--state", "closed").stdout == "Nada encontrado.\n"
    (item,) = json.loads(cli_rig.run("handoffs", "list", "--json").stdout)["items"]
    assert item["state"] == "requested"
    assert "motivo" not in item


def test_on_a_narrow_terminal_nothing_of_a_handoff_is_lost(
    cli_rig: CliRig, make_settings: Callable[..., Settings]
) -> None:
    handoff_id = _requested(cli_rig)
    screen = StringIO()
    console = Console(file=screen, width=80)
    asyncio.run(verbs.list_handoffs(make_settings(), console, state=None, limit=50, as_json=False))
    lines = screen.getvalue().splitlines()
    (at,) = (at for at, line in enumerate(lines) if handoff_id in line)
    assert "financeiro" in lines[at]
    for shown in ("c1", "3 h 02 min", "requested"):
        assert shown in lines[at + 1]


@pytest.mark.parametrize(("seconds", "shown"), [(0.4, "0 s"), (59, "59 s"), (125, "2 min 05 s")])
def test_a_wait_is_shown_in_its_two_largest_units(cli_rig: CliRig, seconds: float, shown: str) -> None:
    async def asked(rig: Rig) -> None:
        await rig.admit(await rig.run(), 1, HANDOFF)
        await rig.change("handoffs", {"state": "accepted", "requested_at": 1e9, "accepted_at": 1e9 + seconds})

    cli_rig.daemon(asked)
    assert f" {shown} " in cli_rig.run("handoffs", "list").stdout


def test_showing_a_handoff_gives_its_motivo_and_puts_the_reader_on_record(
    cli_rig: CliRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "ana")
    handoff_id = _requested(cli_rig)
    shown = cli_rig.run("handoffs", "show", handoff_id)
    assert "Maria quer falar" in shown.stdout
    assert "3 h 02 min" in shown.stdout
    assert (
        json.loads(cli_rig.run("handoffs", "show", handoff_id, "--json").stdout)["motivo"]
        == "Maria quer falar"
    )

    async def readers(rig: Rig) -> list[tuple[str, str]]:
        return [(row.reader, row.subject) for row in await rig.rows("access_log")]

    assert cli_rig.daemon(readers) == [("ana@cli", handoff_id)] * 2


def test_a_handoff_is_accepted_once_then_closed_and_the_bot_is_notified(cli_rig: CliRig) -> None:
    handoff_id = _requested(cli_rig)
    accepted = cli_rig.run("handoffs", "accept", handoff_id)
    assert (accepted.exit_code, accepted.stdout) == (
        0,
        f"✓ Pedido {handoff_id} assumido; o cliente esperou 3 h 02 min\n",
    )
    again = cli_rig.run("handoffs", "accept", handoff_id)
    assert (again.exit_code, again.stdout) == (1, "")
    assert "já foi assumido ou encerrado (estado_incompativel)" in again.stderr
    for _ in range(2):
        closed = cli_rig.run("handoffs", "close", handoff_id)
        assert (closed.exit_code, "encerrado" in closed.stdout) == (0, True)

    async def told(rig: Rig) -> list[str]:
        return [kind for kind, _ in await rig.events()]

    assert cli_rig.daemon(told) == ["handoff.requested", "handoff.accepted", "handoff.closed"]


@pytest.mark.parametrize("verb", ["show", "accept", "close"])
def test_a_handoff_that_is_not_there_is_said_in_one_sentence(cli_rig: CliRig, verb: str) -> None:
    _requested(cli_rig)
    refused = cli_rig.run("handoffs", verb, "ho_none")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr == (
        "✗ Não há pedido com este identificador; veja-os com: ticket-worker handoffs list (nao_encontrado)\n"
    )


def test_a_conversation_that_a_person_attended_to_is_returned_to_the_bot(cli_rig: CliRig) -> None:
    handoff_id = _requested(cli_rig)
    too_early = cli_rig.run("handoffs", "return", handoff_id)
    assert (too_early.exit_code, "que alguém assumiu" in too_early.stderr) == (1, True)
    cli_rig.run("handoffs", "accept", handoff_id)
    returned = cli_rig.run("handoffs", "return", handoff_id)
    assert (returned.exit_code, f"Pedido {handoff_id} devolvido ao bot" in returned.stdout) == (0, True)
    closing = cli_rig.run("handoffs", "close", handoff_id)
    assert (closing.exit_code, "devolvido ao bot" in closing.stderr) == (1, True)


def test_a_handoff_past_its_deadline_is_listed_as_such(cli_rig: CliRig) -> None:
    handoff_id = _requested(cli_rig)

    async def late(rig: Rig) -> None:
        await rig.ago(60.0, "handoffs", "due_at")

    cli_rig.daemon(late)
    (line,) = (line for line in cli_rig.run("handoffs", "list").stdout.splitlines() if handoff_id in line)
    assert "Espera (requested), atrasado" in line
