"""The runbooks are one text in the dashboard and in the manual, and each of their commands can be typed."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.cli.rig import CliRig
from tests.store.harness import HANDOFF, REFUSED, Rig
from tests.store.test_board import ended
from tests.store.test_lists import stuck_event
from tests.system.personal_values import leaks
from worker.cli.main import cli
from worker.model import CallState
from worker.web.dashboard.runbooks import RUNBOOKS, as_markdown, runbook_of

MANUAL = Path(__file__).parents[2] / "docs" / "operating.pt-BR.md"
_COMMAND = re.compile(r"`ticket-worker ([^`]+)`")
_OUTSIDE = {"check", "sync-schema", "keygen"}
"""What looks at a platform or makes a key: `test_doctor` and `test_sync_schema` run these."""


def commands() -> Iterator[tuple[str, str]]:
    """The runbook and the words of each command, in the order of the steps."""
    for book in RUNBOOKS:
        for step in book.steps:
            for found in _COMMAND.finditer(step):
                yield book.anchor, found[1]


def test_the_manual_has_the_runbooks_of_the_dashboard() -> None:
    text = MANUAL.read_text(encoding="utf-8")
    held = text.split("<!-- roteiros -->\n")[1].split("\n<!-- fim dos roteiros -->")[0]
    assert held == "\n".join(as_markdown()).rstrip()


def test_every_runbook_says_what_is_seen_what_it_means_what_to_do_and_when_it_is_over() -> None:
    assert len({book.anchor for book in RUNBOOKS}) == len(RUNBOOKS) == 16
    for book in RUNBOOKS:
        assert all((book.sign, book.meaning, book.over)), book.anchor
        assert len(book.steps) >= 3, book.anchor


def test_the_manual_puts_no_document_into_a_shells_history() -> None:
    text = MANUAL.read_text(encoding="utf-8")
    commands = [line for line in text.splitlines() if "ticket-worker " in line and "--document" in line]
    assert commands
    assert [line for line in commands if re.search(r"\d{3}\.\d{3}\.\d{3}-\d{2}", line)] == []


def test_an_anchor_of_a_runbook_is_a_place_in_the_manual() -> None:
    text = MANUAL.read_text(encoding="utf-8")
    for book in RUNBOOKS:
        assert f'<a id="{book.anchor}"></a>' in text


@pytest.mark.parametrize(
    ("state", "error", "anchor"),
    [
        (CallState.FAILED, "crm_indisponivel", "crm-fora-do-ar"),
        (CallState.FAILED, "crm_recusou", "chamada-que-falhou"),
        (CallState.FAILED, "execucao_encerrada", "chamada-que-falhou"),
        (CallState.NO_PROTOCOL, "sem_protocolo", "sem-protocolo"),
        (CallState.UNKNOWN, "em_confirmacao", "sem-confirmacao"),
        (CallState.DONE, None, ""),
    ],
)
def test_a_call_that_needs_a_person_has_the_runbook_of_its_cause(
    state: CallState, error: str | None, anchor: str
) -> None:
    assert runbook_of(state, error) == anchor


@pytest.mark.parametrize(("anchor", "words"), list(commands()), ids=lambda each: each)
def test_each_command_of_a_runbook_does_what_its_step_says(
    cli_rig: CliRig, tmp_path: Path, anchor: str, words: str
) -> None:
    """Over a day with the trouble that the runbook is about."""
    verb = words.split(maxsplit=1)[0]
    if verb in _OUTSIDE:
        assert cli_rig.run(*shlex.split(words), "--help").exit_code == 0
        return
    names = cli_rig.daemon(_bad_day) | {"FILE": str(tmp_path / "copia.db"), "N": "2510271534789012"}
    typed = [names.get(word, word) for word in shlex.split(words)]
    if verb == "handoffs" and {"close", "return"} & set(typed):
        assert cli_rig.run("handoffs", "accept", names["HANDOFF"]).exit_code == 0
    done = CliRunner().invoke(cli, typed, input="529.982.247-25\n", env=cli_rig.env, catch_exceptions=False)
    assert done.exit_code in {0, 4}, done.output  # 4: on record, and no daemon runs
    if verb != "export" and "--reveal" not in typed:
        assert leaks(done.output) == set()


async def _bad_day(rig: Rig) -> dict[str, str]:
    """Something of everything that needs a person, by the words that stand for it in the runbooks."""
    event = await stuck_event(rig, 1)
    failed = await ended(rig, await rig.run("run_9"), 2, REFUSED)
    handoff = await rig.admit(await rig.run("run_10"), 1, HANDOFF)
    await rig.lost(await rig.run("run_11"))
    (row,) = await rig.rows("handoffs", call_id=handoff.call_id)
    return {
        "CALL": failed.call_id,
        "RUN": "run_11",
        "EVENT": event,
        "HANDOFF": row.handoff_id,
        "CONVERSATION": "c1",
    }
