"""Erasure on request, on both databases: what goes at once, what goes later, and what stays."""

import asyncio
from dataclasses import replace

import pytest

from tests.engine.harness import Harness
from tests.fakes import COMPLETED, asks, call, opens_at_once
from tests.store.harness import (
    AMBIGUOUS,
    ANSWER,
    DONE,
    HANDOFF,
    NO_PROTOCOL,
    PROTOCOLO,
    REFUSED,
    REJECTION,
    TICKET,
    UNKNOWN,
    UNSENT,
    OpenRig,
    Rig,
    refusal_code,
    seeing,
)
from worker.errors import Erased
from worker.model import CallRecord, CallState, Conversation, Outcome, ReplySource, RunState
from worker.personal import Personal
from worker.ports import Attempts
from worker.views import Erasure

CONTACT, URL = Personal("5524999990000"), Personal("https://recibos.example/1.jpg")
OTHER_DOCUMENT = Personal("11144477735")


async def _erased(rig: Rig, conversation: str = "c1") -> Erasure:
    return await rig.store.erasures.erase_conversation(conversation, by="test")


# ------------------------------------------------------------------------------------------------- at once


async def test_the_report_counts_the_records_of_a_conversation_without_calls(rig: Rig) -> None:
    await rig.conversation()
    await rig.run()
    await rig.store.replies.record("c1", "run_1", ReplySource.RUN, [])
    await rig.conversation("c2")
    await rig.run("run_2", "c2")
    assert await _erased(rig) == Erasure(documents=1, runs=1, replies=1)


async def test_what_is_over_loses_its_payload_and_keeps_its_record(rig: Rig) -> None:
    await rig.conversation(contact=CONTACT, attachment_url=URL)
    run = await rig.run()
    await rig.settled(await rig.attempted(await rig.admit(run)), DONE)
    await rig.admit(run, 2, HANDOFF)
    await rig.store.runs.close(run, RunState.ENDED, "concluida", "completed")
    kept = await rig.row("calls", tool="echo", state="done", setor="FINANCEIRO")
    erasure = await _erased(rig)
    assert erasure == Erasure(
        documents=1, contacts=1, receipts=1, requests=2, answers=2, motivos=1, runs=1, calls=2, handoffs=1
    )
    for row in await rig.rows("calls"):
        assert (row.body, row.answer) == (None, None)
    assert (await rig.row("handoffs")).motivo is None
    after = await rig.row("calls", call_id=kept.call_id)
    for record in ("protocolo", "setor", "motivo", "document_hash", "received_at", "finished_at", "state"):
        assert getattr(after, record) == getattr(kept, record) is not None


async def test_an_erased_conversation_is_unknown_to_everyone(rig: Rig) -> None:
    await _erased(rig)
    records = rig.store.records
    assert await refusal_code(records.conversation("c1", reader="test")) == "conversa_desconhecida"
    assert await refusal_code(records.register_run("c1", "run_2", "thread_c1")) == "conversa_desconhecida"
    assert await refusal_code(_erased(rig)) == "conversa_desconhecida"
    assert await refusal_code(_erased(rig, "never heard of")) == "conversa_desconhecida"
    assert await rig.store.arrivals.claim_conversations(10, 1.0, 900.0) == []
    assert await rig.store.webhooks.watch("run_3", "thread_c1") is False


async def test_an_erasure_stays_on_record_with_who_asked(rig: Rig) -> None:
    await _erased(rig)
    row = await rig.row("erasures")
    assert (row.conversation_id, row.requested_by) == ("c1", "test")
    assert row.done_at is not None
    assert await rig.store.erasures.outcome(row.erasure_id) == Erasure(documents=1)


# --------------------------------------------------------------------------------------------- not yet sent


async def test_what_was_not_sent_will_not_be(rig: Rig) -> None:
    record = await rig.admit(await rig.run())
    erasure = await _erased(rig)
    assert (erasure.requests, erasure.in_flight) == (1, 0)
    with pytest.raises(Erased):
        await rig.begins(record)
    assert (await rig.row("calls")).body is None


async def test_the_model_is_told_that_the_conversation_is_unknown(rig: Rig) -> None:
    """Erased between the intent and the first attempt, in a worker that holds the request in memory."""
    harness = Harness(rig.store)

    async def too_late(record: CallRecord, attempts: Attempts) -> Outcome:
        await _erased(rig)
        return await opens_at_once(record, attempts)

    harness.tool.performance = too_late
    await harness.announce()
    harness.platform.script("run_1", asks(call()), COMPLETED)
    await harness.worker().run_until_idle()
    (told,) = harness.platform.outputs("run_1")
    assert (told["error"], told["success"]) == ("conversa_desconhecida", False)
    row = await rig.row("calls")
    assert (row.state, row.error, row.attempts) == ("failed", "conversa_desconhecida", 0)
    assert (row.body, row.answer) == (None, None)
    assert await rig.rows("attempts") == []


async def test_who_takes_an_erased_call_over_tells_the_model_too(rig: Rig) -> None:
    """The worker that had the request in memory has died."""
    record = await rig.admit(await rig.run())
    await _erased(rig)
    await rig.died(record)
    await rig.ago(1.0, "runs", "lease_until")
    harness = Harness(rig.store)
    harness.platform.script("run_1", asks(call()), COMPLETED)
    await harness.worker().run_until_idle()
    assert [told["error"] for told in harness.platform.outputs("run_1")] == ["conversa_desconhecida"]
    assert harness.tool.performed == []


async def test_another_try_of_what_may_have_been_opened_stays_in_doubt(rig: Rig) -> None:
    run = await rig.run()
    record = await rig.settled(await rig.attempted(await rig.admit(run)), UNKNOWN)
    await rig.lost(run)
    await rig.store.operators.retry(record.call_id)
    await _erased(rig)
    await Harness(rig.store).worker().run_until_idle()
    row = await rig.row("calls")
    assert (row.state, row.error, row.attempts) == ("unknown", "em_confirmacao", 1)


async def test_a_call_after_the_erasure_is_shown_no_conversation(rig: Rig) -> None:
    run = await rig.run()
    await _erased(rig)
    seen: list[Conversation | None] = []
    await rig.decided(run, call(), seeing(seen, REJECTION))
    assert seen == [None]
    assert (await rig.row("calls")).answer == REJECTION.answer
    await rig.store.runs.close(run, RunState.ENDED, "concluida", "completed")
    assert (await rig.row("calls")).answer is None


# ------------------------------------------------------------------------------------------------ in flight


async def test_what_is_in_flight_finishes_and_goes_with_its_outcome_and_its_run(rig: Rig) -> None:
    run = await rig.run()
    record = await rig.attempted(await rig.admit(run))
    erasure = await _erased(rig)
    assert (erasure.requests, erasure.in_flight) == (0, 1)
    assert (await rig.row("calls")).body == TICKET.body
    done = await rig.settled(record, DONE)
    assert (done.state, done.protocolo, done.body, done.answer) == (CallState.DONE, PROTOCOLO, None, ANSWER)
    await rig.store.runs.close(run, RunState.ENDED, "concluida", "completed")
    row = await rig.row("calls")
    assert (row.answer, row.protocolo) == (None, PROTOCOLO)
    assert row.submitted_at is not None


async def test_what_finishes_after_its_run_keeps_nothing(rig: Rig) -> None:
    run = await rig.run()
    record = await rig.attempted(await rig.admit(run))
    await _erased(rig)
    await rig.store.calls.answer_at_deadline(record.call_id, ANSWER, UNSENT)
    assert (await rig.row("calls")).answer == ANSWER
    await rig.lost(run)
    assert ((await rig.row("calls")).answer, (await rig.row("calls")).body) == (None, TICKET.body)
    await rig.settled(record, DONE, UNSENT)
    row = await rig.row("calls")
    assert (row.state, row.protocolo, row.body, row.answer) == ("done", PROTOCOLO, None, None)


async def test_an_answer_that_may_be_asked_for_again_goes_with_its_run(rig: Rig) -> None:
    run = await rig.run()
    await rig.settled(await rig.attempted(await rig.admit(run)), DONE)
    assert (await _erased(rig)).replayable == 1
    assert (await rig.row("calls")).answer == ANSWER
    await rig.lost(run)
    assert (await rig.row("calls")).answer is None


async def test_an_answer_that_is_gone_and_asked_for_is_said_again_from_the_record(rig: Rig) -> None:
    run = await rig.run()
    record = await rig.settled(await rig.attempted(await rig.admit(run)), DONE)
    await rig.lost(run)
    await _erased(rig)
    await rig.conversation()
    harness = Harness(rig.store)
    await harness.announce()
    harness.platform.script("run_1", asks(call()), COMPLETED)
    await harness.worker().run_until_idle()
    assert harness.platform.outputs("run_1") == [{"success": True, "protocolo": PROTOCOLO}]
    assert harness.tool.performed == []
    assert (await rig.store.calls.get(record.call_id)).answer is None


# -------------------------------------------------------------------------------------------- what is open


@pytest.mark.parametrize("outcome", [REFUSED, AMBIGUOUS, UNKNOWN])
async def test_what_failed_or_is_in_doubt_can_be_resolved_but_not_tried_again(
    rig: Rig, outcome: Outcome
) -> None:
    run = await rig.run()
    record = await rig.settled(await rig.attempted(await rig.admit(run)), outcome)
    await rig.lost(run)
    before = await rig.row("calls")
    await _erased(rig)
    row = await rig.row("calls")
    assert row.body is None
    for kept in ("idempotency_key", "document_hash", "state"):
        assert getattr(row, kept) == getattr(before, kept) is not None
    assert await refusal_code(rig.store.operators.retry(record.call_id)) == "payload_expirado"
    await rig.store.operators.resolve(record.call_id, PROTOCOLO)
    assert (await rig.row("calls")).protocolo == PROTOCOLO


async def test_without_its_payload_nothing_is_looked_up_any_more(open_rig: OpenRig) -> None:
    rig = await open_rig(owner=True, CRM_LOOKUP_URL="http://127.0.0.1:9/lookup")
    await rig.conversation()
    for number, outcome in enumerate((UNKNOWN, NO_PROTOCOL)):
        run = await rig.run(f"run_{number}")
        intent = replace(TICKET, equal_on=(str(number),), motivo=f"MOTIVO {number}")
        await rig.settled(await rig.attempted(await rig.admit(run, number, intent)), outcome)
        await rig.lost(run)
    assert all(row.due is not None for row in await rig.rows("calls"))
    await _erased(rig)
    assert [row.due for row in await rig.rows("calls")] == [None, None]


# ---------------------------------------------------------------------------------------- a new beginning


async def test_a_conversation_put_again_is_a_new_beginning(rig: Rig) -> None:
    await rig.conversation(contact=CONTACT, assistant="FINANCEIRO")
    await _erased(rig)
    view, new = await rig.store.records.put_conversation("c1", {"thread_id": "thread_c1"})
    assert new
    assert (view.document, view.contact, view.assistant) == (None, None, None)
    run = await rig.run("run_2")
    await rig.settled(await rig.attempted(await rig.admit(run)), DONE)
    await rig.store.runs.close(run, RunState.ENDED, "concluida", "completed")
    assert (await rig.row("calls")).answer == ANSWER  # nothing of the new life is taken for the old one's
    assert (await _erased(rig)).calls == 1


async def test_the_same_ticket_is_not_opened_again_by_a_new_beginning(rig: Rig) -> None:
    run = await rig.run()
    first = await rig.settled(await rig.attempted(await rig.admit(run)), DONE)
    await _erased(rig)
    await rig.conversation()
    again = await rig.admit(await rig.run("run_2"), 2)
    assert (again.equal_to, again.waits) == (first.call_id, True)


async def test_a_ticket_that_failed_is_tried_with_what_the_new_call_says_under_its_key(rig: Rig) -> None:
    run = await rig.run()
    first = await rig.settled(await rig.attempted(await rig.admit(run)), AMBIGUOUS)
    await rig.lost(run)
    await _erased(rig)
    await rig.conversation()
    anew = replace(TICKET, body=Personal('{"resumo": "de novo"}'))
    again = await rig.admit(await rig.run("run_2"), 2, anew)
    assert (again.idempotency_key, again.maybe_sent) == (first.idempotency_key, True)
    assert again.body == anew.body


# ---------------------------------------------------------------------------------------------- on request


async def test_a_request_waits_for_a_daemon_which_carries_it_out_once(rig: Rig, neighbour: Rig) -> None:
    erasures = neighbour.store.erasures
    request_id = await erasures.request_conversation("c1", by="maria@cli")
    assert await erasures.outcome(request_id) is None
    assert await rig.rows("conversations") != []
    assert await rig.store.erasures.process_next()
    assert await erasures.outcome(request_id) == Erasure(documents=1)
    assert not await rig.store.erasures.process_next()
    assert (await rig.row("erasures")).requested_by == "maria@cli"


async def test_two_daemons_at_once_carry_a_request_out_once(rig: Rig, neighbour: Rig) -> None:
    request_id = await rig.store.erasures.request_conversation("c1", by="test")
    await asyncio.gather(rig.store.erasures.process_next(), neighbour.store.erasures.process_next())
    assert await rig.store.erasures.outcome(request_id) == Erasure(documents=1)


async def test_only_what_is_held_can_be_asked_to_be_erased(rig: Rig) -> None:
    erasures = rig.store.erasures
    assert await refusal_code(erasures.request_conversation("c2", by="test")) == "conversa_desconhecida"
    assert await refusal_code(erasures.request_document(OTHER_DOCUMENT, by="test")) == "nao_encontrado"
    assert await rig.rows("erasures") == []


async def test_a_conversation_erased_meanwhile_leaves_nothing_to_do(rig: Rig) -> None:
    request_id = await rig.store.erasures.request_conversation("c1", by="test")
    await _erased(rig)
    assert await rig.store.erasures.process_next()
    assert await rig.store.erasures.outcome(request_id) == Erasure()


async def test_of_a_document_everything_goes_and_nothing_of_others(rig: Rig) -> None:
    """c1 and c2 are Maria's; c3 was about hers by mistake, at one call; c4 is somebody else's."""
    for name in ("c2", "c3"):
        await rig.conversation(name)
    await rig.conversation("c4", client_document=OTHER_DOCUMENT)
    for number, name in enumerate(("c1", "c2", "c3", "c4")):
        run = await rig.run(f"run_{name}", name)
        await rig.settled(await rig.attempted(await rig.admit(run, number)), REFUSED)
        await rig.lost(run)
    await rig.conversation("c3", client_document=OTHER_DOCUMENT)
    run = await rig.run("run_5", "c3")
    await rig.admit(run, 5, HANDOFF)
    request_id = await rig.store.erasures.request_document(Personal("52998224725"), by="test")
    assert await rig.store.erasures.process_next()
    erasure = await rig.store.erasures.outcome(request_id)
    assert erasure is not None
    assert (erasure.documents, erasure.calls, erasure.requests) == (2, 3, 3)
    assert [row.conversation_id for row in await rig.rows("conversations")] == ["c3", "c4"]
    left = {row.run_id for row in await rig.rows("calls") if row.body is not None}
    assert left == {"run_c4", "run_5"}
    assert (await rig.row("handoffs")).motivo is not None


async def test_the_events_that_the_bot_is_still_to_be_told_stay(open_rig: OpenRig) -> None:
    rig = await open_rig(owner=True, BOT_WEBHOOK_URL="http://127.0.0.1:9/eventos")
    await rig.conversation()
    record = await rig.attempted(await rig.admit(await rig.run()))
    await _erased(rig)
    await rig.settled(record, DONE)
    assert [kind for kind, _ in await rig.events()] == ["ticket.opened"]


async def test_an_attempt_and_an_erasure_at_once_leave_a_request_to_send_or_none(
    rig: Rig, neighbour: Rig
) -> None:
    for number in range(5):
        await rig.conversation(f"d{number}")
        record = await rig.admit(await rig.run(f"run_{number}", f"d{number}"))
        began, _ = await asyncio.gather(
            rig.begins(record), _erased(neighbour, f"d{number}"), return_exceptions=True
        )
        row = await rig.row("calls", call_id=record.call_id)
        assert (began is True) == (row.body is not None) == (row.state == "running")
        assert began is True or isinstance(began, Erased)
