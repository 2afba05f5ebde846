"""What the ledger keeps beside the outcome, on both databases: what a reader or the next call needs."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import select

from tests.fakes import call
from tests.store.harness import (
    AMBIGUOUS,
    ANSWER,
    DOCUMENT,
    DONE,
    HANDOFF,
    LATE,
    OTHER_RESUMO,
    PROTOCOLO,
    REFUSED,
    TICKET,
    UNKNOWN,
    OpenRig,
    Rig,
    postgresql,
    until_one_waits,
)
from worker.errors import RequestRefused
from worker.model import CallState, Outcome, RunRef, ThreadRule
from worker.personal import Personal

RECEIPT = Personal("https://arquivos.example/comprovante.jpg")
WITH_RECEIPT = replace(TICKET, uses_receipt=True)


# ------------------------------------------------------------------------------------------------ admission


@pytest.mark.parametrize("exact", [True, False])
async def test_an_intent_keeps_whether_its_spelling_was_exact(rig: Rig, exact: bool) -> None:
    await rig.admit(await rig.run(), decision=replace(TICKET, exact=exact))
    assert (await rig.row("calls")).exact is exact


async def test_a_calls_document_is_hashed_as_the_conversations_is(rig: Rig) -> None:
    seen = call(1)
    await rig.decided(await rig.run(), seen, lambda _: TICKET)
    hashed = (await rig.row("calls")).document_hash
    assert hashed == (await rig.row("conversations")).document_hash
    assert hashed == rig.store.database.hasher.digest("document", DOCUMENT)


async def test_equal_requests_of_two_customers_are_two_and_their_keys_do_not_link_them(rig: Rig) -> None:
    await rig.conversation("c2")
    first = await rig.admit(await rig.run("run_1", "c1"))
    second = await rig.admit(await rig.run("run_2", "c2"))
    assert (first.equal_to, second.equal_to) == (None, None)
    assert len({row.equal_key for row in await rig.rows("calls")}) == 2


async def test_a_ticket_that_does_not_use_the_receipt_leaves_it_for_the_next(rig: Rig) -> None:
    await rig.conversation(attachment_url=RECEIPT)
    await rig.admit(await rig.run(), decision=TICKET)
    assert (await rig.row("conversations")).attachment_taken_by is None


async def test_a_run_without_a_thread_is_not_that_of_a_conversation_without_one(open_rig: OpenRig) -> None:
    rig = await open_rig(owner=True, platform="responses", thread=ThreadRule.OPTIONAL)
    await rig.conversation("c1", thread_id=None)
    await rig.conversation("c2", thread_id=None)
    run = await rig.run("resp_1", "c1")
    assert run.ref == RunRef("resp_1", None)
    assert (await rig.admit(run)).state is CallState.RECEIVED


# ---------------------------------------------------------------------------------------------- equal calls


@pytest.mark.parametrize(("seconds", "equal"), [(595.0, True), (605.0, False)])
async def test_calls_are_equal_for_ten_minutes(rig: Rig, seconds: float, equal: bool) -> None:
    first = await rig.settled(await rig.attempted(await rig.admit(await rig.run("run_1"))), DONE)
    await rig.ago(seconds, "calls", "received_at")
    second = await rig.admit(await rig.run("run_2"))
    assert second.equal_to == (first.call_id if equal else None)


async def test_a_hand_off_is_equal_to_its_own_and_not_to_another_customers_later_one(rig: Rig) -> None:
    await rig.conversation("c2")
    first = await rig.admit(await rig.run("run_1", "c1"), decision=HANDOFF)
    await rig.admit(await rig.run("run_2", "c2"), decision=HANDOFF)
    assert (await rig.admit(await rig.run("run_3", "c1"), decision=HANDOFF)).equal_to == first.call_id


async def test_a_forwarded_call_whose_answer_was_lost_is_not_taken_for_another_one(rig: Rig) -> None:
    forwarded = replace(TICKET, setor=None, motivo=None)
    run = await rig.run("run_1")
    await rig.settled(await rig.attempted(await rig.admit(run, decision=forwarded)), DONE)
    await rig.lost(run)
    other = replace(forwarded, equal_on=("other",))
    assert (await rig.admit(await rig.run("run_2"), decision=other)).equal_to is None


async def test_who_waited_and_failed_is_mended_by_what_becomes_of_the_ticket_later(rig: Rig) -> None:
    first = await rig.admit(await rig.run("run_1"))
    waiting = await rig.admit(await rig.run("run_2"))
    await rig.settled(await rig.attempted(first), AMBIGUOUS)
    await rig.settled(waiting, AMBIGUOUS)
    await rig.store.operators.retry(first.call_id)
    (again,) = await rig.store.calls.claim("me", 10)
    await rig.settled(await rig.attempted(again), DONE)
    mended = await rig.store.calls.get(waiting.call_id)
    assert (mended.state, mended.protocolo) == (CallState.DONE, PROTOCOLO)


# ---------------------------------------------------------------------------------------------- the receipt


async def _taken_by(rig: Rig) -> str | None:
    taken_by: str | None = (await rig.row("conversations")).attachment_taken_by
    return taken_by


@pytest.mark.parametrize(
    ("ended_surely", "outcome", "given_back"),
    [
        (True, REFUSED, True),
        (False, REFUSED, False),
        (None, AMBIGUOUS, False),
        (None, UNKNOWN, False),
        (None, DONE, False),
        (None, Outcome(CallState.DONE, protocolo=PROTOCOLO, certain=True), False),
    ],
)
async def test_a_receipt_goes_back_only_when_surely_nothing_was_opened_by_any_attempt(
    rig: Rig, ended_surely: bool | None, outcome: Outcome, given_back: bool
) -> None:
    await rig.conversation(attachment_url=RECEIPT)
    record = await rig.admit(await rig.run(), decision=WITH_RECEIPT)
    if ended_surely is not None:
        record = await rig.attempted(record, certain=ended_surely)
    await rig.settled(record, outcome)
    assert await _taken_by(rig) == (None if given_back else record.call_id)


async def test_a_receipt_that_another_call_has_is_not_given_back(rig: Rig) -> None:
    await rig.conversation(attachment_url=RECEIPT)
    run = await rig.run()
    holder = await rig.admit(run, 1, WITH_RECEIPT)
    failing = await rig.admit(run, 2, OTHER_RESUMO)
    await rig.settled(await rig.attempted(failing, certain=True), REFUSED)
    assert await _taken_by(rig) == holder.call_id


# ------------------------------------------------------------------------------------------------- attempts


@pytest.mark.parametrize(
    ("outcome", "result", "certain"),
    [
        (DONE, "ok", False),
        (replace(DONE, from_lookup=True), "found", False),
        (REFUSED, "crm_recusou", True),
        (UNKNOWN, "em_confirmacao", False),
    ],
)
async def test_an_outcome_ends_its_own_attempt_with_its_error_and_earlier_ones_as_abandoned(
    rig: Rig, outcome: Outcome, result: str, certain: bool
) -> None:
    record = await rig.attempted(await rig.attempted(await rig.admit(await rig.run())))
    await rig.settled(record, outcome)
    first, last = await rig.rows("attempts", call_id=record.call_id)
    assert (first.result, first.certain) == ("abandoned", False)
    assert (last.result, last.certain) == (result, certain)


async def test_an_attempt_that_has_ended_keeps_its_result(rig: Rig) -> None:
    record = await rig.attempted(await rig.admit(await rig.run()), certain=True)
    await rig.settled(record, REFUSED)
    (attempt,) = await rig.rows("attempts", call_id=record.call_id)
    assert attempt.result == "connect"


async def test_a_ticket_in_doubt_after_a_retry_is_looked_up_from_the_beginning(open_rig: OpenRig) -> None:
    rig = await open_rig(owner=True, CRM_LOOKUP_URL="http://127.0.0.1:9/lookup")
    await rig.conversation()
    record = await rig.settled(await rig.attempted(await rig.admit(await rig.run())), UNKNOWN, LATE)
    for _ in range(4):
        await rig.store.calls.check_later(record)
    assert (await rig.row("calls")).checks == 4
    await rig.store.operators.retry(record.call_id)
    (again,) = await rig.store.calls.claim("me", 10)
    await rig.settled(await rig.attempted(again), UNKNOWN)
    assert (await rig.row("calls")).checks == 0


# ---------------------------------------------------------------------------------------------- row locks


@postgresql
async def test_a_waiter_that_somebody_changes_is_not_waited_for(rig: Rig, neighbour: Rig) -> None:
    first = await rig.admit(await rig.run("run_1"))
    waiting = await rig.admit(await rig.run("run_2"))
    await rig.settled(await rig.attempted(first), AMBIGUOUS)
    await rig.settled(waiting, AMBIGUOUS)
    calls = rig.store.database.tables.calls
    async with neighbour.store.database.write() as changing:
        await changing.execute(select(calls).where(calls.c.call_id == waiting.call_id).with_for_update())
        async with asyncio.timeout(10):
            await rig.store.operators.resolve(first.call_id, PROTOCOLO)
    assert (await rig.store.calls.get(first.call_id)).state is CallState.DONE
    assert (await rig.store.calls.get(waiting.call_id)).state is CallState.FAILED


@postgresql
@pytest.mark.parametrize("verb", ["retry", "resolve"])
async def test_a_person_waits_for_an_outcome_that_is_being_recorded_and_is_refused(
    rig: Rig, neighbour: Rig, verb: str
) -> None:
    record = await rig.settled(await rig.attempted(await rig.admit(await rig.run())), UNKNOWN, LATE)
    operators = neighbour.store.operators
    calls = rig.store.database.tables.calls
    this = calls.c.call_id == record.call_id
    async with rig.store.database.write() as recording:
        await recording.execute(calls.update().where(this).values(state=CallState.DONE, protocolo=PROTOCOLO))
        asking = operators.retry(record.call_id)
        if verb == "resolve":
            asking.close()
            asking = operators.resolve(record.call_id, "90000001")
        person = asyncio.create_task(asking)
        await until_one_waits(rig)
    with pytest.raises(RequestRefused) as refused:
        await person
    assert refused.value.code == "estado_incompativel"
    assert (await rig.store.calls.get(record.call_id)).protocolo == PROTOCOLO


# ------------------------------------------------------------------------------------------------- answers


async def test_a_decided_call_that_has_no_answer_is_given_that_of_its_outcome_only(rig: Rig) -> None:
    failed = await rig.settled(await rig.attempted(await rig.admit(await rig.run())), REFUSED)
    unsent = await rig.admit(await rig.run("run_2"))
    await rig.store.operators.resolve(failed.call_id, PROTOCOLO)
    other = await rig.settled(unsent, REFUSED, LATE)
    assert (other.state, other.answered) == (CallState.DONE, False)
    assert (await rig.settled(unsent, DONE, ANSWER)).answer == ANSWER


# ------------------------------------------------------------------------------------- what is put aside


@pytest.mark.parametrize("column", ["state", "kind"])
async def test_a_call_in_a_state_of_a_newer_version_is_left_to_it_and_keeps_no_other_waiting(
    rig: Rig, column: str
) -> None:
    run = await rig.run()
    foreign = await rig.attempted(await rig.admit(run, 1))
    other = await rig.attempted(await rig.admit(run, 2, OTHER_RESUMO))
    await rig.change("calls", {column: "of_2027"}, call_id=foreign.call_id)
    await rig.ago(1.0, "calls", "lease_until")
    assert await rig.claims() == [other.call_id]


async def test_a_call_that_met_a_defect_is_due_again_ever_later_whatever_it_has_sent_meanwhile(
    rig: Rig,
) -> None:
    record = await rig.admit(await rig.run())
    await rig.attempted(record)
    for seconds in (300.0, 900.0, 3600.0):
        await rig.store.calls.check_later(record)
        row = await rig.row("calls")
        assert row.due - await rig.time() == pytest.approx(seconds, abs=10.0)
        assert (row.owner, row.state) == (None, CallState.RUNNING)
