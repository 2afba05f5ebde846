"""Open questions that are looked up at the CRM until they are answered, on both databases."""

import asyncio
from dataclasses import replace

import pytest

from tests.store.harness import (
    AMBIGUOUS,
    ANSWER,
    DONE,
    LATE,
    NO_PROTOCOL,
    OTHER_RESUMO,
    PROTOCOLO,
    REFUSED,
    SEND_WINDOW_S,
    TICKET,
    UNKNOWN,
    UNSENT,
    OpenRig,
    Rig,
)
from worker.errors import Withdrawn
from worker.model import CallRecord, CallState, Outcome
from worker.personal import Personal

HOUR_S = 3600.0


@pytest.fixture
async def asking(open_rig: OpenRig) -> Rig:
    """A process whose CRM can be asked, with the conversation `c1`."""
    rig = await open_rig(owner=True, CRM_LOOKUP_URL="http://127.0.0.1:9/lookup")
    await rig.conversation()
    return rig


async def _in_doubt(rig: Rig, outcome: Outcome = UNKNOWN, run_id: str = "run_1") -> CallRecord:
    return await rig.settled(await rig.attempted(await rig.admit(await rig.run(run_id))), outcome, LATE)


async def _due_in(rig: Rig, call_id: str) -> float | None:
    """Seconds until a call is due, by the time of its last change."""
    row = await rig.row("calls", call_id=call_id)
    return None if row.due is None else row.due - await rig.time()


# ------------------------------------------------------------------------------------------- when to ask


@pytest.mark.parametrize("outcome", [UNKNOWN, NO_PROTOCOL])
async def test_an_open_question_is_asked_again_after_a_minute(asking: Rig, outcome: Outcome) -> None:
    record = await _in_doubt(asking, outcome)
    assert await _due_in(asking, record.call_id) == pytest.approx(60.0, abs=5.0)
    assert await asking.claims() == []
    await asking.ago(0.0, "calls", "due")
    (claimed,) = await asking.store.calls.claim("me", 10)
    assert claimed == replace(record, owner="me")


@pytest.mark.parametrize("outcome", [DONE, REFUSED, AMBIGUOUS])
async def test_what_is_decided_is_not_asked_again(asking: Rig, outcome: Outcome) -> None:
    record = await _in_doubt(asking, outcome)
    assert await _due_in(asking, record.call_id) is None


@pytest.mark.parametrize("outcome", [UNKNOWN, NO_PROTOCOL])
async def test_without_a_lookup_nothing_is_asked_again(rig: Rig, outcome: Outcome) -> None:
    record = await _in_doubt(rig, outcome)
    assert await _due_in(rig, record.call_id) is None


async def test_what_is_no_ticket_of_its_own_is_not_asked_again(asking: Rig) -> None:
    first = await asking.attempted(await asking.admit(await asking.run()))
    run = await asking.run("run_2")
    waiting = await asking.settled(await asking.admit(run, 1), UNKNOWN)
    forwarded = replace(TICKET, setor=None, motivo=None, equal_on=("other",))
    other_tools = await asking.settled(await asking.admit(run, 2, forwarded), UNKNOWN)
    assert waiting.equal_to == first.call_id
    for record in (waiting, other_tools):
        assert await _due_in(asking, record.call_id) is None


async def test_the_crm_is_asked_ever_later_and_then_hourly(asking: Rig) -> None:
    record = await _in_doubt(asking)
    waits = []
    for _ in range(5):
        await asking.ago(0.0, "calls", "due")
        assert await asking.claims() == [record.call_id]
        await asking.store.calls.check_later(record)
        waits.append(await _due_in(asking, record.call_id))
    assert waits == [pytest.approx(minutes * 60.0, abs=5.0) for minutes in (5, 15, 60, 60, 60)]
    assert (await asking.row("calls")).owner is None


async def test_after_a_day_the_crm_is_asked_no_more(asking: Rig) -> None:
    record = await _in_doubt(asking)
    await asking.ago(24 * HOUR_S - 60.0, "calls", "finished_at")
    await asking.store.calls.check_later(record)
    assert await _due_in(asking, record.call_id) is not None
    await asking.ago(24 * HOUR_S + 1.0, "calls", "finished_at")
    await asking.store.calls.check_later(record)
    row = await asking.row("calls")
    assert (row.due, row.owner, row.state) == (None, None, CallState.UNKNOWN)


async def test_a_look_that_found_nothing_does_not_put_off_what_a_person_asked_for_meanwhile(
    asking: Rig,
) -> None:
    record = await _in_doubt(asking)
    await asking.ago(0.0, "calls", "due")
    await asking.claims()
    await asking.store.operators.retry(record.call_id)
    await asking.store.calls.check_later(record)
    assert await asking.claims() == [record.call_id]


# ------------------------------------------------------------------------------------- what comes of asking


async def test_a_ticket_that_the_crm_surely_does_not_have_has_failed(asking: Rig) -> None:
    record = await _in_doubt(asking)
    failed = await asking.store.calls.settle(record.call_id, AMBIGUOUS, UNSENT, success=False, checked=True)
    assert (failed.state, failed.error, failed.answer) == (CallState.FAILED, "crm_indisponivel", LATE)
    assert await _due_in(asking, record.call_id) is None
    again = await asking.admit(await asking.run("run_2"))
    assert again.idempotency_key == record.idempotency_key


@pytest.mark.parametrize("checked", [True, False])
async def test_only_an_unknown_outcome_becomes_a_failure_and_only_by_asking(
    asking: Rig, checked: bool
) -> None:
    record = await _in_doubt(asking, NO_PROTOCOL if checked else UNKNOWN)
    after = await asking.store.calls.settle(record.call_id, AMBIGUOUS, UNSENT, success=False, checked=checked)
    assert after == record


async def test_what_a_person_wants_tried_again_is_not_closed_by_a_look_begun_before(asking: Rig) -> None:
    record = await _in_doubt(asking)
    await asking.store.operators.retry(record.call_id)
    settle = asking.store.calls.settle
    after = await settle(record.call_id, AMBIGUOUS, UNSENT, success=False, checked=True)
    assert (after.state, after.retrying) == (CallState.RECEIVED, True)
    found = await settle(record.call_id, DONE, ANSWER, success=True, checked=True)
    assert (found.state, found.protocolo, found.retrying) == (CallState.DONE, PROTOCOLO, False)


async def test_calls_that_waited_share_what_is_found_out_later(asking: Rig) -> None:
    run = await asking.run()
    first = await asking.settled(await asking.attempted(await asking.admit(run)), UNKNOWN, LATE)
    waiting = await asking.settled(await asking.admit(run, 2), UNKNOWN, LATE)
    await asking.lost(run)
    run = await asking.run("run_2")
    untold = await asking.settled(await asking.admit(run, 1, OTHER_RESUMO), UNKNOWN, LATE)
    undecided = await asking.admit(run, 2)
    assert [call.equal_to for call in (waiting, untold)] == [first.call_id, waiting.call_id]
    assert (await asking.settled(first, DONE)).state is CallState.DONE
    for record in (waiting, untold):
        after = await asking.store.calls.get(record.call_id)
        assert (after.state, after.error, after.protocolo) == (CallState.DONE, None, PROTOCOLO)
        assert (after.answer, after.answered_success) == (LATE, False)
    assert await asking.store.calls.get(undecided.call_id) == undecided


async def test_calls_that_waited_share_a_later_failure_and_tries_of_their_own_do_not(
    asking: Rig,
) -> None:
    first = await _in_doubt(asking, AMBIGUOUS)
    again = await asking.settled(
        await asking.attempted(await asking.admit(await asking.run("run_2"))), UNKNOWN
    )
    waiting = await asking.settled(await asking.admit(await asking.run("run_3")), UNKNOWN)
    await asking.store.calls.settle(again.call_id, AMBIGUOUS, UNSENT, success=False, checked=True)
    assert (await asking.store.calls.get(waiting.call_id)).state is CallState.FAILED
    await asking.store.calls.settle(first.call_id, DONE, ANSWER, success=True)
    assert (await asking.store.calls.get(again.call_id)).state is CallState.FAILED


# ------------------------------------------------------------------------- tickets that look alike to the CRM

FOUND = replace(DONE, from_lookup=True)


async def _twins(asking: Rig) -> list[CallRecord]:
    """Two tickets of one customer that differ in their resumo only, both sent."""
    run = await asking.run()
    admitted = [await asking.admit(run, n, intent) for n, intent in enumerate((TICKET, OTHER_RESUMO))]
    return [await asking.attempted(record) for record in admitted]


async def test_a_ticket_that_was_found_is_this_ones(asking: Rig) -> None:
    record = await _in_doubt(asking)
    after = await asking.store.calls.settle(record.call_id, FOUND, ANSWER, success=True, checked=True)
    assert (after.state, after.protocolo) == (CallState.DONE, PROTOCOLO)


async def test_an_attempt_whose_ticket_was_found_does_not_tell_how_long_the_crm_took(
    asking: Rig,
) -> None:
    record = await asking.attempted(await asking.admit(await asking.run()))
    await asking.settled(record, FOUND)
    assert (await asking.row("attempts")).result == "found"


async def test_a_ticket_that_may_be_another_calls_is_not_taken_while_that_one_may_be_answered(
    asking: Rig,
) -> None:
    mine, other = await _twins(asking)
    with pytest.raises(Withdrawn):
        await asking.settled(mine, FOUND)
    assert await asking.store.calls.get(mine.call_id) == mine
    await asking.ago(1.0, "attempts", "send_deadline", call_id=other.call_id)
    assert (await asking.settled(mine, FOUND)).protocolo == PROTOCOLO


async def test_a_ticket_that_another_call_was_answered_with_is_not_taken(asking: Rig) -> None:
    mine, other = await _twins(asking)
    await asking.settled(other, DONE)
    with pytest.raises(Withdrawn):
        await asking.settled(mine, FOUND)
    assert (await asking.settled(mine, replace(FOUND, protocolo="90000001"))).state is CallState.DONE


async def test_an_answer_of_the_crm_itself_is_never_refused(asking: Rig) -> None:
    mine, other = await _twins(asking)
    for record in (mine, other):
        assert (await asking.settled(record, DONE)).protocolo == PROTOCOLO


async def test_a_call_that_looks_otherwise_to_the_crm_stands_in_no_ones_way(asking: Rig) -> None:
    await asking.conversation("c2", client_document=Personal("12ABC34501DE35"))
    run = await asking.run()
    mine = await asking.attempted(await asking.admit(run, 1))
    others = [
        await asking.admit(run, 2, replace(TICKET, motivo="DESBLOQUEIO", equal_on=("2",))),
        await asking.admit(run, 3, replace(TICKET, setor="COBRANÇA", equal_on=("3",))),
        await asking.admit(await asking.run("run_2", "c2"), 1),
    ]
    for record in others:
        await asking.attempted(record)
    assert (await asking.settled(mine, FOUND)).protocolo == PROTOCOLO


async def test_of_two_calls_that_found_one_ticket_at_once_one_takes_it(
    asking: Rig, open_rig: OpenRig
) -> None:
    beside = await open_rig("other")
    for number in range(6):
        run = await asking.run(f"run_{number}")
        twins = []
        for n in range(2):
            intent = replace(TICKET, equal_on=(f"{number}", f"{n}"))
            twins.append(await asking.attempted(await asking.admit(run, n, intent), certain=False))
        found = replace(FOUND, protocolo=f"9000000{number}")
        both = [d.settled(record, found) for d, record in zip((asking, beside), twins, strict=True)]
        outcomes = await asyncio.gather(*both, return_exceptions=True)
        assert sum(isinstance(outcome, Withdrawn) for outcome in outcomes) == 1
        assert sum(isinstance(outcome, CallRecord) for outcome in outcomes) == 1


# --------------------------------------------------------------------------------------- what was sent when


async def test_what_was_sent_settles_when_the_latest_attempt_can_take_effect_no_more(rig: Rig) -> None:
    record = await rig.attempted(await rig.admit(await rig.run()), certain=False)
    await rig.ago(100.0, "attempts", "begun_at")
    await rig.ago(70.0, "attempts", "send_deadline")
    assert (await rig.store.calls.sent(record.call_id)).settles_in_s == 0.0
    record = await rig.attempted(record)
    sent = await rig.store.calls.sent(record.call_id)
    assert sent.first_at == pytest.approx(await rig.time() - 100.0, abs=5.0)
    assert sent.settles_in_s == pytest.approx(SEND_WINDOW_S, abs=5.0)


async def test_what_a_ticket_sent_counts_for_every_call_that_tries_it(rig: Rig) -> None:
    records = []
    for number, begun in enumerate((300.0, 200.0, 100.0)):
        record = await rig.attempted(await rig.admit(await rig.run(f"run_{number}")), certain=False)
        await rig.ago(begun, "attempts", "begun_at", call_id=record.call_id)
        await rig.ago(begun - SEND_WINDOW_S, "attempts", "send_deadline", call_id=record.call_id)
        records.append(await rig.settled(record, AMBIGUOUS))
    await rig.ago(-7.0, "attempts", "send_deadline", call_id=records[1].call_id)
    other = await rig.attempted(await rig.admit(await rig.run("other"), 1, OTHER_RESUMO))
    untried = await rig.admit(await rig.run("run_3"))
    for record in (*records, untried):
        sent = await rig.store.calls.sent(record.call_id)
        assert sent.first_at == pytest.approx(await rig.time() - 300.0, abs=5.0)
        assert sent.settles_in_s == pytest.approx(7.0, abs=5.0)
    assert (await rig.store.calls.sent(other.call_id)).settles_in_s > 20.0


# ------------------------------------------------------------------------------------------ whose protocolo


async def _held(rig: Rig, record: CallRecord, protocolo: str = PROTOCOLO) -> bool:
    return await rig.store.calls.held_by_another(record, protocolo)


async def test_a_protocolo_of_another_ticket_is_held(rig: Rig) -> None:
    run = await rig.run()
    done = await rig.settled(await rig.attempted(await rig.admit(run, 1)), DONE)
    other = await rig.admit(run, 2, OTHER_RESUMO)
    assert await _held(rig, other)
    assert not await _held(rig, done)
    assert not await _held(rig, other, "90000001")


async def test_every_further_protocolo_of_another_ticket_is_held(rig: Rig) -> None:
    run = await rig.run()
    done = await rig.settled(await rig.attempted(await rig.admit(run, 1)), DONE)
    for further in ("90000001", "90000002", "90000001"):
        await rig.settled(done, replace(DONE, protocolo=further))
    assert (await rig.row("calls")).extra_protocolo == "90000001,90000002"
    other = await rig.admit(run, 2, OTHER_RESUMO)
    assert [await _held(rig, other, each) for each in ("90000001", "90000002")] == [True, True]
    assert [await _held(rig, other, each) for each in ("9000000", "%")] == [False] * 2
    assert not await _held(rig, done, "90000001")


async def test_equal_calls_share_a_protocolo(rig: Rig) -> None:
    first = await _in_doubt(rig, AMBIGUOUS)
    again = await rig.settled(await rig.attempted(await rig.admit(await rig.run("run_2"))), DONE)
    waiting = await rig.settled(await rig.admit(await rig.run("run_3")), DONE)
    assert (waiting.protocolo, waiting.waits) == (PROTOCOLO, True)
    assert [await _held(rig, record) for record in (first, again)] == [False, False]


async def test_an_untold_tickets_equal_shares_its_protocolo(rig: Rig) -> None:
    run = await rig.run()
    untold = await rig.settled(await rig.attempted(await rig.admit(run)), DONE)
    await rig.lost(run)
    await rig.settled(await rig.admit(await rig.run("run_2"), 1, OTHER_RESUMO), DONE)
    assert not await _held(rig, untold)


async def test_a_ticket_that_says_the_same_long_after_is_another(rig: Rig) -> None:
    await rig.settled(await rig.attempted(await rig.admit(await rig.run())), DONE)
    await rig.ago(1200.0, "calls", "received_at")
    later = await rig.admit(await rig.run("run_2"))
    assert later.equal_to is None
    assert await _held(rig, later)


async def test_a_look_and_an_outcome_side_by_side_keep_what_was_found(asking: Rig, open_rig: OpenRig) -> None:
    beside = await open_rig("other")
    for number in range(5):
        intent = replace(TICKET, equal_on=(f"{number}",))
        record = await asking.attempted(await asking.admit(await asking.run(f"run_{number}"), 1, intent))
        record = await asking.settled(record, UNKNOWN, LATE)
        settle = (each.store.calls.settle for each in (asking, beside))
        await asyncio.gather(
            next(settle)(record.call_id, AMBIGUOUS, UNSENT, success=False, checked=True),
            next(settle)(record.call_id, DONE, ANSWER, success=True),
        )
        after = await asking.store.calls.get(record.call_id)
        assert (after.state, after.protocolo) == (CallState.DONE, PROTOCOLO)
