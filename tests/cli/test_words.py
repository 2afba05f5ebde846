"""What the commands print is Portuguese for people: the dashboard's words, with the codes beside them."""

from pathlib import Path

import pytest

from tests.cli.rig import SENT, CliRig
from tests.store.harness import DONE, NO_PROTOCOL, REFUSED, UNKNOWN, Rig
from tests.store.test_board import ended
from tests.store.test_lists import stuck_event
from worker.cli import personal_data
from worker.cli.calls import _retry_result
from worker.model import CallRecord, Outcome, ReplySource
from worker.replies.findings import Code
from worker.views import Erasure
from worker.web.dashboard.words import REPLY_CODES
from worker.web.responses import ErasureReport


async def lose(rig: Rig) -> None:
    await rig.lost(await rig.run("run_lost"))


def test_a_dismissed_call_or_run_says_why_by_whom_and_when(cli_rig: CliRig) -> None:
    call = cli_rig.ticket()
    cli_rig.daemon(lose)
    dismissed = cli_rig.run("calls", "dismiss", call.call_id, "--reason", "cliente_desistiu")
    assert dismissed.stdout == f"✓ Chamada {call.call_id} dispensada: o cliente desistiu (cliente_desistiu)\n"
    assert cli_rig.run("runs", "dismiss", "run_lost", "--reason", "duplicado").exit_code == 0
    for words, reason in (
        (("calls", "show", call.call_id), "o cliente desistiu (cliente_desistiu), por "),
        (("runs", "show", "run_lost"), "é duplicado (duplicado), por "),
    ):
        shown = cli_rig.run(*words).stdout
        assert (reason in shown, "DismissReason" in shown) == (True, False)


def test_a_lost_run_says_why_in_words(cli_rig: CliRig) -> None:
    cli_rig.daemon(lose)
    for words in (("runs", "list"), ("runs", "show", "run_lost")):
        assert "foi cancelada na plataforma (cancelada)" in cli_rig.run(*words).stdout


def test_the_calls_of_a_run_are_in_the_words_of_the_dashboard(cli_rig: CliRig) -> None:
    call = cli_rig.ticket()
    assert f"  {call.call_id}  Falhou (failed)  crm_recusou\n" in cli_rig.run("runs", "show", "run_1").stdout


def test_events_and_suspect_replies_are_in_words(cli_rig: CliRig) -> None:
    async def happen(rig: Rig) -> None:
        await stuck_event(rig)
        codes = [Code.NO_TICKET, Code.NO_HANDOFF]
        await rig.store.replies.record("c1", "run_1", ReplySource.RUN, codes)

    cli_rig.daemon(happen)
    assert "ticket aberto (ticket.opened)" in cli_rig.run("events", "list").stdout
    replies = " ".join(cli_rig.run("replies", "list").stdout.split())  # a long cell is folded
    assert f"{REPLY_CODES[Code.NO_TICKET]} (ticket_nao_aberto); {REPLY_CODES[Code.NO_HANDOFF]}" in replies
    assert "depois de dita ao cliente" in replies
    assert "�" not in replies


RETRY = "Só pode ser tentada de novo uma chamada que falhou e cujo ticket nenhuma outra abre"
DISMISS = "Só pode ser dispensada, e só uma vez, uma chamada que falhou"
RESOLVE = "Só pode ser concluída uma chamada que falhou"


@pytest.mark.parametrize(
    ("words", "outcome", "sentence"),
    [
        (["retry", "ID"], DONE, RETRY),
        (["retry", "ID"], NO_PROTOCOL, RETRY),
        (["retry", "ID"], UNKNOWN, "procure o ticket no CRM e use calls resolve ou calls dismiss"),
        (["dismiss", "ID"], DONE, DISMISS),
        (["dismiss", "ID", "--undo"], REFUSED, "Esta chamada não está dispensada"),
        (["resolve", "ID", "--protocolo", "2510271534780000"], DONE, RESOLVE),
    ],
    ids=["done", "no_protocol", "unknown", "dismiss", "undo", "resolve"],
)
def test_a_refusal_says_what_the_command_is_for(
    cli_rig: CliRig, words: list[str], outcome: Outcome, sentence: str
) -> None:
    async def happen(rig: Rig) -> CallRecord:
        record = await rig.attempted(await rig.admit(await rig.run(), 1, SENT))
        return await rig.settled(record, outcome)

    call = cli_rig.daemon(happen)
    typed = [call.call_id if each == "ID" else each for each in words]
    refused = cli_rig.run("calls", *typed, CRM_IDEMPOTENT="false")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert sentence in refused.stderr
    assert refused.stderr.endswith("(estado_incompativel)\n")


@pytest.mark.parametrize(
    "words",
    [
        ["calls", "show", "tc_9"],
        ["calls", "retry", "tc_9"],
        ["calls", "dismiss", "tc_9"],
        ["calls", "resolve", "tc_9", "--protocolo", "2510271534780000"],
        ["runs", "show", "run_9"],
        ["runs", "dismiss", "run_9"],
        ["handoffs", "accept", "ho_9"],
        ["events", "discard", "msg_9"],
    ],
    ids=" ".join,
)
def test_what_does_not_exist_is_refused_with_the_command_that_lists_what_does(
    cli_rig: CliRig, words: list[str]
) -> None:
    cli_rig.ticket()
    refused = cli_rig.run(*words)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert f"ticket-worker {words[0]} list (nao_encontrado)" in refused.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["calls", "retry", "--state", "failed", "--since", "1h"], "Nenhuma chamada tem este estado"),
        (["events", "retry", "--all"], "Nenhum aviso está parado"),
    ],
    ids=["calls", "events"],
)
def test_nothing_to_retry_is_not_announced_as_done(cli_rig: CliRig, words: list[str], sentence: str) -> None:
    cli_rig.ticket(DONE)
    nothing = cli_rig.run(*words)
    assert (nothing.exit_code, nothing.stdout.startswith(sentence)) == (0, True)


def test_a_second_try_that_failed_names_the_state_as_the_dashboard_does(cli_rig: CliRig) -> None:
    code, sentence = _retry_result(cli_rig.ticket())
    assert (code, sentence) == (1, "✗ A nova tentativa não abriu o ticket: Falhou (failed), crm_recusou")


def test_a_database_that_is_not_there_is_named_with_what_to_check(cli_rig: CliRig, tmp_path: Path) -> None:
    refused = cli_rig.run("calls", "list", DATABASE_URL=f"sqlite:///{tmp_path}/outro.db")
    assert refused.exit_code == 2
    assert f"O banco {tmp_path}/outro.db não existe: confira DATABASE_URL e a pasta" in refused.stderr
    assert not (tmp_path / "outro.db").exists()


def test_an_optional_argument_stands_in_one_pair_of_brackets(cli_rig: CliRig) -> None:
    assert "retry [OPÇÕES] [CALL]" in cli_rig.run("calls", "retry").stderr


async def test_everything_that_an_erasure_keeps_has_a_name(sqlite_rig: Rig) -> None:
    await ended(sqlite_rig, await sqlite_rig.run(), 1, DONE)
    await sqlite_rig.store.replies.record("c1", "run_1", ReplySource.RUN, [])
    erasure = await sqlite_rig.store.erasures.erase_conversation("c1", by="ana@cli")
    assert erasure.replies == 1
    everything = Erasure(in_flight=1, replayable=1, runs=1, calls=1, handoffs=1, events=1, replies=1)
    assert {kept.what for kept in ErasureReport.of(everything).kept} == personal_data._KEPT.keys()
