"""The ledger on both databases: intents before sending, outcomes before showing, equal calls once."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import insert, update

from tests.fakes import call
from tests.store.harness import (
    AMBIGUOUS,
    ANSWER,
    DOCUMENT,
    DONE,
    HANDOFF,
    LATE,
    NO_PROTOCOL,
    OTHER_RESUMO,
    PROTOCOLO,
    REFUSED,
    REJECTION,
    SEND_WINDOW_S,
    TICKET,
    UNKNOWN,
    UNSENT,
    Desk,
    seeing,
    until_one_waits,
)
from worker.errors import Isolated, StoreError, Withdrawn
from worker.model import CallState, Conversation, Outcome, RunState
from worker.personal import Personal
from worker.store.sql.tables import now

RECEIPT = Personal("https://arquivos.example/comprovante.jpg")
WITH_RECEIPT = replace(TICKET, body=Personal('{"resumo": "Maria pagou 📎"}'), uses_receipt=True)

postgresql = pytest.mark.parametrize("shared_database", ["postgresql"], indirect=True)
"""For what only row locks can get wrong."""


# ---------------------------------------------------------------------------------------------- admission


async def test_an_intent_is_recorded_with_its_body_and_key_before_anything_is_sent(desk: Desk) -> None:
    record = await desk.admit(await desk.run())
    assert record.state is CallState.RECEIVED
    assert record.body == TICKET.body
    assert (record.setor, record.motivo, record.tool) == ("FINANCEIRO", "PAGAMENTO", "echo")
    assert (record.run_id, record.conversation_id) == ("run_1", "c1")
    assert record.call_id.startswith("tc_")
    assert (record.idempotency_key or "").startswith("tw-")
    assert (record.attempts, record.maybe_sent, record.answer, record.waits) == (0, False, None, False)
    assert await desk.store.calls.get(record.call_id) == record


async def test_a_call_seen_again_is_what_was_recorded_whatever_would_be_decided_now(desk: Desk) -> None:
    run = await desk.run()
    first = await desk.admit(run)
    assert await desk.admit(run, decision=REJECTION) == first
    rejected = await desk.admit(run, 2, REJECTION)
    assert await desk.admit(run, 2) == rejected
    assert len(await desk.rows("calls")) == 2


async def test_two_calls_are_one_only_if_run_turn_and_platform_id_agree(desk: Desk) -> None:
    one, two = await desk.run("run_1"), await desk.run("run_2")
    turn = replace(call(1), turn_id="turn_2")
    records = [
        await desk.admit(one, 1, REJECTION),
        await desk.admit(one, 2, REJECTION),
        await desk.admit(two, 1, REJECTION),
        await desk.decided(one, turn, lambda _: REJECTION),
    ]
    assert len({record.call_id for record in records}) == 4


async def test_keys_differ_between_calls_and_do_not_tell_which(desk: Desk) -> None:
    run = await desk.run()
    keys = {(await desk.admit(run, n, [TICKET, OTHER_RESUMO][n])).idempotency_key for n in range(2)}
    assert len(keys) == 2
    assert not any("run_1" in (key or "") or "call_" in (key or "") for key in keys)


async def test_a_rejected_call_is_answered_and_closed_at_once(desk: Desk) -> None:
    record = await desk.admit(await desk.run(), decision=REJECTION)
    assert (record.state, record.error) == (CallState.REJECTED, "motivo_incompativel")
    assert (record.answer, record.answered_success) == (REJECTION.answer, False)
    row = await desk.row("calls")
    assert (row.setor, row.exact) == ("FINANCEIRO", False)
    assert None not in (row.answered_at, row.finished_at)


async def test_a_rejection_that_the_model_cannot_mend_is_a_failure(desk: Desk) -> None:
    record = await desk.admit(await desk.run(), decision=replace(REJECTION, state=CallState.FAILED))
    assert record.state is CallState.FAILED


async def test_a_hand_off_is_done_and_queued_once_it_is_recorded(desk: Desk) -> None:
    record = await desk.admit(await desk.run(), decision=HANDOFF)
    assert (record.state, record.answer, record.answered_success) == (CallState.DONE, ANSWER, True)
    handoff = await desk.row("handoffs")
    assert (handoff.call_id, handoff.conversation_id) == (record.call_id, "c1")
    assert (handoff.departamento, handoff.state) == ("financeiro", "requested")
    assert handoff.motivo == HANDOFF.body


async def test_a_hand_off_that_cannot_be_queued_is_not_recorded_either(desk: Desk) -> None:
    run = await desk.run()
    nowhere = replace(HANDOFF, departamento=None)
    with pytest.raises(StoreError):
        await desk.admit(run, decision=nowhere)
    assert await desk.rows("calls") == []


async def test_the_decision_is_made_on_the_conversation_as_it_is_now(desk: Desk) -> None:
    seen: list[Conversation | None] = []
    await desk.conversation(contact=Personal("5524900000000"))
    await desk.decided(await desk.run(), call(1), seeing(seen))
    expected = Conversation("c1", "thread_c1", document=Personal(DOCUMENT), contact=Personal("5524900000000"))
    assert seen == [expected]


async def test_a_run_of_no_known_conversation_is_decided_without_one(desk: Desk) -> None:
    run = await desk.run()
    await desk.change("conversations", {"conversation_id": "renamed", "thread_id": None})
    seen: list[Conversation | None] = []
    await desk.decided(run, call(1), seeing(seen, REJECTION))
    assert seen == [None]


@pytest.mark.parametrize("moved_to", ["thread_new", None])
async def test_a_run_on_a_thread_that_is_another_conversations_is_isolated(
    desk: Desk, moved_to: str | None
) -> None:
    run = await desk.run()
    await desk.conversation(thread_id=moved_to)
    await desk.conversation("c2", thread_id="thread_c1")
    with pytest.raises(Isolated):
        await desk.admit(run)
    assert await desk.rows("calls") == []


async def test_a_run_whose_conversation_has_moved_on_is_isolated(desk: Desk) -> None:
    run = await desk.run()
    await desk.conversation(thread_id="thread_new")
    with pytest.raises(Isolated):
        await desk.admit(run)


async def test_a_run_whose_conversation_has_left_its_thread_is_still_answered(desk: Desk) -> None:
    run = await desk.run()
    await desk.conversation(thread_id=None)
    assert (await desk.admit(run)).state is CallState.RECEIVED


async def test_a_run_taken_over_admits_nothing_new_for_its_former_owner(desk: Desk) -> None:
    run = await desk.run()
    known = await desk.admit(run)
    await desk.ago(1.0, "runs", "lease_until")
    await desk.claimed()
    with pytest.raises(Withdrawn):
        await desk.admit(run, 2)
    assert await desk.admit(run) == known


async def test_a_run_that_is_not_known_admits_nothing(desk: Desk) -> None:
    run = await desk.run()
    await desk.change("runs", {"run_id": "renamed"})
    with pytest.raises(Withdrawn):
        await desk.admit(run)


async def test_a_call_that_is_not_there_is_a_defect_of_the_store(desk: Desk) -> None:
    with pytest.raises(StoreError):
        await desk.store.calls.get("tc_nobody")


# ---------------------------------------------------------------------------------------------- the receipt


async def _receipt_shown(desk: Desk, run_id: str) -> Personal | None:
    """The receipt a further call of this conversation would be decided on."""
    seen: list[Conversation | None] = []
    await desk.decided(await desk.run(run_id), call(1), seeing(seen, REJECTION))
    (conversation,) = seen
    assert conversation is not None
    return conversation.receipt_url


async def test_a_receipt_is_shown_only_while_it_is_fresh(desk: Desk) -> None:
    assert await _receipt_shown(desk, "run_1") is None
    await desk.conversation(attachment_url=RECEIPT)
    assert await _receipt_shown(desk, "run_2") == RECEIPT
    await desk.ago(301.0, "conversations", "attachment_at")
    assert await _receipt_shown(desk, "run_3") is None


async def test_a_receipt_is_taken_by_the_first_intent_that_uses_it(desk: Desk) -> None:
    await desk.conversation(attachment_url=RECEIPT)
    run = await desk.run()
    await desk.admit(run, 1, REJECTION)
    await desk.admit(run, 2, HANDOFF)
    assert await _receipt_shown(desk, "run_2") == RECEIPT
    await desk.admit(run, 3, WITH_RECEIPT)
    assert await _receipt_shown(desk, "run_3") is None


async def test_a_receipt_sent_anew_is_fresh_again(desk: Desk) -> None:
    await desk.conversation(attachment_url=RECEIPT)
    await desk.admit(await desk.run(), decision=WITH_RECEIPT)
    await desk.conversation(attachment_url=RECEIPT)
    assert await _receipt_shown(desk, "run_2") == RECEIPT


async def test_a_receipt_is_given_back_when_surely_nothing_was_opened(desk: Desk) -> None:
    await desk.conversation(attachment_url=RECEIPT)
    record = await desk.admit(await desk.run(), decision=WITH_RECEIPT)
    await desk.settled(await desk.attempted(record, certain=True), REFUSED)
    assert await _receipt_shown(desk, "run_2") == RECEIPT


async def test_a_receipt_is_given_back_by_the_call_that_never_was_sent(desk: Desk) -> None:
    await desk.conversation(attachment_url=RECEIPT)
    record = await desk.admit(await desk.run(), decision=WITH_RECEIPT)
    await desk.store.calls.answer_at_deadline(record.call_id, LATE, UNSENT)
    assert await _receipt_shown(desk, "run_2") == RECEIPT


async def test_a_certain_outcome_of_an_attempt_nobody_ended_gives_the_receipt_back(desk: Desk) -> None:
    await desk.conversation(attachment_url=RECEIPT)
    record = await desk.attempted(await desk.admit(await desk.run(), decision=WITH_RECEIPT))
    await desk.settled(record, REFUSED)
    assert await _receipt_shown(desk, "run_2") == RECEIPT


@pytest.mark.parametrize("outcome", [AMBIGUOUS, UNKNOWN, NO_PROTOCOL, DONE])
async def test_a_receipt_that_may_have_reached_the_crm_stays_taken(desk: Desk, outcome: Outcome) -> None:
    await desk.conversation(attachment_url=RECEIPT)
    record = await desk.attempted(await desk.admit(await desk.run(), decision=WITH_RECEIPT))
    await desk.settled(record, outcome)
    assert await _receipt_shown(desk, "run_2") is None


async def test_an_ambiguous_attempt_keeps_the_receipt_whatever_the_last_one_was(desk: Desk) -> None:
    await desk.conversation(attachment_url=RECEIPT)
    record = await desk.admit(await desk.run(), decision=WITH_RECEIPT)
    record = await desk.attempted(record, certain=False)
    await desk.settled(await desk.attempted(record, certain=True), REFUSED)
    assert await _receipt_shown(desk, "run_2") is None


async def test_the_next_attempt_of_a_failed_ticket_takes_its_receipt_again(desk: Desk) -> None:
    await desk.conversation(attachment_url=RECEIPT)
    record = await desk.admit(await desk.run(), decision=WITH_RECEIPT)
    await desk.settled(await desk.attempted(record, certain=True), REFUSED)
    await desk.admit(await desk.run("run_2"), decision=WITH_RECEIPT)
    assert await _receipt_shown(desk, "run_3") is None


async def test_a_receipt_that_came_after_a_failed_ticket_is_not_used_up_by_its_next_attempt(
    desk: Desk,
) -> None:
    record = await desk.admit(await desk.run())
    await desk.settled(await desk.attempted(record, certain=True), REFUSED)
    await desk.conversation(attachment_url=RECEIPT)
    again = await desk.admit(await desk.run("run_2"), decision=WITH_RECEIPT)
    assert again.body == TICKET.body
    assert await _receipt_shown(desk, "run_3") == RECEIPT


# -------------------------------------------------------------------------------------------- equal calls


@pytest.mark.parametrize("outcome", [None, DONE, UNKNOWN, NO_PROTOCOL])
async def test_an_equal_call_waits_for_the_first_and_sends_nothing(
    desk: Desk, outcome: Outcome | None
) -> None:
    first = await desk.attempted(await desk.admit(await desk.run()))
    if outcome:
        await desk.settled(first, outcome)
    second = await desk.admit(await desk.run("run_2"))
    assert second.equal_to == first.call_id
    assert second.waits
    assert (second.state, second.body, second.answer) == (CallState.RECEIVED, None, None)


async def test_an_equal_call_waits_for_one_that_is_only_received(desk: Desk) -> None:
    run = await desk.run()
    first = await desk.admit(run, 1)
    second = await desk.admit(run, 2)
    third = await desk.admit(run, 3)
    assert second.waits
    assert {second.equal_to, third.equal_to} == {first.call_id}


async def test_after_a_failed_call_an_equal_one_is_the_same_ticket_again(desk: Desk) -> None:
    first = await desk.attempted(await desk.admit(await desk.run()), certain=True)
    await desk.settled(first, REFUSED)
    same_said_otherwise = replace(TICKET, body=Personal('{"resumo": "MARIA  pagou"}'))
    again = await desk.admit(await desk.run("run_2"), decision=same_said_otherwise)
    assert (again.equal_to, again.idempotency_key) == (first.call_id, first.idempotency_key)
    assert again.body == TICKET.body
    assert (again.waits, again.attempts, again.maybe_sent) == (False, 0, False)


async def test_however_often_a_ticket_is_tried_again_its_first_try_is_known(desk: Desk) -> None:
    tries = []
    for number in range(3):
        record = await desk.attempted(await desk.admit(await desk.run(f"run_{number}")), certain=True)
        tries.append(await desk.settled(record, REFUSED))
    for record in tries:
        assert await desk.store.calls.first_try(record) == tries[0]


async def test_the_same_ticket_again_remembers_that_it_may_have_been_sent(desk: Desk) -> None:
    first = await desk.attempted(await desk.admit(await desk.run()), certain=False)
    await desk.settled(first, AMBIGUOUS)
    again = await desk.admit(await desk.run("run_2"))
    assert again.maybe_sent
    await desk.settled(again, REFUSED)
    assert (await desk.admit(await desk.run("run_3"))).maybe_sent


async def test_what_comes_of_the_same_ticket_again_counts_for_the_calls_after_it(desk: Desk) -> None:
    first = await desk.attempted(await desk.admit(await desk.run()), certain=True)
    await desk.settled(first, REFUSED)
    again = await desk.admit(await desk.run("run_2"))
    waiting = await desk.admit(await desk.run("run_3"))
    assert (waiting.equal_to, waiting.waits) == (again.call_id, True)
    await desk.settled(await desk.attempted(again), DONE)
    after = await desk.admit(await desk.run("run_4"))
    assert (after.equal_to, after.waits) == (again.call_id, True)


async def test_while_a_person_has_an_old_ticket_tried_again_its_equals_wait_for_it(desk: Desk) -> None:
    old = await desk.settled(
        await desk.attempted(await desk.admit(await desk.run()), certain=False), AMBIGUOUS
    )
    await desk.settled(await desk.admit(await desk.run("run_2")), AMBIGUOUS)
    await desk.ago(700.0, "calls", "received_at", call_id=old.call_id)
    await desk.store.operators.retry(old.call_id)
    third = await desk.admit(await desk.run("run_3"))
    assert (third.equal_to, third.waits) == (old.call_id, True)


async def test_of_several_failed_tries_the_latest_speaks_for_the_ticket(desk: Desk) -> None:
    first = await desk.settled(
        await desk.attempted(await desk.admit(await desk.run()), certain=True), REFUSED
    )
    await desk.ago(60.0, "calls", "received_at")
    again = await desk.settled(
        await desk.attempted(await desk.admit(await desk.run("run_2")), certain=False), REFUSED
    )
    third = await desk.admit(await desk.run("run_3"))
    assert (third.equal_to, third.idempotency_key) == (again.call_id, first.idempotency_key)
    assert third.maybe_sent


async def test_a_rejected_call_is_nobodys_equal(desk: Desk) -> None:
    run = await desk.run()
    await desk.admit(run, 1, REJECTION)
    await desk.admit(run, 2)
    await desk.change("calls", {"state": CallState.REJECTED})
    assert (await desk.admit(run, 3)).equal_to is None


async def test_after_ten_minutes_by_the_databases_clock_an_equal_call_is_a_new_ticket(desk: Desk) -> None:
    first = await desk.admit(await desk.run())
    await desk.ago(590.0, "calls", "received_at")
    waiting = await desk.admit(await desk.run("run_2"))
    assert waiting.equal_to == first.call_id
    await desk.ago(601.0, "calls", "received_at", call_id=first.call_id)
    new = await desk.admit(await desk.run("run_3"))
    assert new.equal_to is None
    assert new.idempotency_key != first.idempotency_key


async def test_calls_that_differ_are_not_equal(desk: Desk) -> None:
    await desk.conversation("c2")
    run = await desk.run()
    await desk.admit(run, 1)
    other_document = replace(TICKET, equal_on=(*TICKET.equal_on[:3], "12ABC34501DE35"))
    other_tool = replace(call(4), tool="other")
    different = [
        await desk.admit(run, 2, other_document),
        await desk.admit(run, 3, OTHER_RESUMO),
        await desk.decided(run, other_tool, lambda _: TICKET),
        await desk.admit(await desk.run("run_2", "c2"), 1),
    ]
    assert [record.equal_to for record in different] == [None] * 4


async def test_values_that_only_run_together_alike_are_not_equal(desk: Desk) -> None:
    run = await desk.run()
    await desk.admit(run, 1, replace(TICKET, equal_on=("ab", "c")))
    assert (await desk.admit(run, 2, replace(TICKET, equal_on=("a", "bc")))).equal_to is None


async def test_an_equal_hand_off_is_queued_once(desk: Desk) -> None:
    first = await desk.admit(await desk.run(), decision=HANDOFF)
    said_otherwise = replace(HANDOFF, body=Personal("Maria insiste"))
    second = await desk.admit(await desk.run("run_2"), decision=said_otherwise)
    assert (second.equal_to, second.waits) == (first.call_id, True)
    assert len(await desk.rows("handoffs")) == 1
    assert (await desk.settled(second, Outcome(CallState.DONE))).answered_success


async def test_of_equal_calls_side_by_side_exactly_one_is_first(desk: Desk, neighbour: Desk) -> None:
    for minute in range(4):
        runs = [await desk.run(f"run_{minute}_{n}") for n in range(6)]
        intent = replace(TICKET, equal_on=(f"minuto {minute}",))
        desks = (desk, neighbour)
        records = await asyncio.gather(*(desks[n % 2].admit(run, 1, intent) for n, run in enumerate(runs)))
        firsts = [record for record in records if record.equal_to is None]
        assert len(firsts) == 1
        assert {record.equal_to for record in records} == {None, firsts[0].call_id}


async def test_a_call_admitted_by_two_owners_side_by_side_is_one(desk: Desk, neighbour: Desk) -> None:
    for number in range(10):
        run = await desk.run(f"run_{number}")
        intent = replace(TICKET, equal_on=(f"{number}",))
        one, two = await asyncio.gather(desk.admit(run, 1, intent), neighbour.admit(run, 1, intent))
        assert one == two


# ------------------------------------------------------------------------------- answers that never arrived


@pytest.mark.parametrize("outcome", [DONE, UNKNOWN])
async def test_the_next_ticket_after_one_the_model_never_heard_of_is_its_equal(
    desk: Desk, outcome: Outcome
) -> None:
    run = await desk.run()
    untold = await desk.settled(await desk.attempted(await desk.admit(run)), outcome)
    await desk.lost(run)
    run = await desk.run("run_2")
    next_one = await desk.admit(run, 1, OTHER_RESUMO)
    assert (next_one.equal_to, next_one.waits) == (untold.call_id, True)
    last = replace(OTHER_RESUMO, equal_on=("FINANCEIRO", "PAGAMENTO", "terceiro resumo", DOCUMENT))
    assert (await desk.admit(run, 2, last)).equal_to is None


async def test_a_ticket_said_twice_after_one_the_model_never_heard_of_is_still_one(desk: Desk) -> None:
    run = await desk.run()
    await desk.settled(await desk.attempted(await desk.admit(run)), DONE)
    await desk.lost(run)
    run = await desk.run("run_2")
    next_one = await desk.admit(run, 1, OTHER_RESUMO)
    assert (await desk.admit(run, 2, OTHER_RESUMO)).equal_to == next_one.call_id


async def test_an_equal_that_never_arrived_either_hands_on_to_the_next(desk: Desk) -> None:
    run = await desk.run()
    untold = await desk.settled(await desk.attempted(await desk.admit(run)), DONE)
    await desk.lost(run)
    run = await desk.run("run_2")
    untold_too = await desk.settled(await desk.admit(run, 1, OTHER_RESUMO), DONE)
    assert untold_too.equal_to == untold.call_id
    await desk.lost(run)
    third = replace(OTHER_RESUMO, equal_on=("FINANCEIRO", "PAGAMENTO", "terceiro resumo", DOCUMENT))
    assert (await desk.admit(await desk.run("run_3"), 1, third)).equal_to == untold_too.call_id


async def test_after_an_untold_ticket_failed_its_equals_equal_is_the_same_ticket_again(desk: Desk) -> None:
    run = await desk.run()
    untold = await desk.settled(await desk.attempted(await desk.admit(run)), UNKNOWN)
    await desk.lost(run)
    run = await desk.run("run_2")
    await desk.settled(await desk.admit(run, 1, OTHER_RESUMO), UNKNOWN)
    await desk.store.calls.settle(untold.call_id, AMBIGUOUS, UNSENT, success=False, checked=True)
    again = await desk.admit(run, 2, OTHER_RESUMO)
    assert (again.equal_to, again.idempotency_key) == (untold.call_id, untold.idempotency_key)
    assert (again.body, again.waits) == (TICKET.body, False)


async def _lost_after_a_ticket(desk: Desk, outcome: Outcome = DONE) -> str:
    run = await desk.run()
    record = await desk.settled(await desk.attempted(await desk.admit(run)), outcome)
    await desk.lost(run)
    return record.call_id


async def test_a_ticket_the_model_was_told_of_is_not_the_next_ones_equal(desk: Desk) -> None:
    call_id = await _lost_after_a_ticket(desk)
    await desk.ago(1.0, "calls", "submitted_at", call_id=call_id)
    assert (await desk.admit(await desk.run("run_2"), 1, OTHER_RESUMO)).equal_to is None


@pytest.mark.parametrize("state", [RunState.ENDED, RunState.WATCHING])
async def test_only_a_lost_run_leaves_a_ticket_untold(desk: Desk, state: RunState) -> None:
    await _lost_after_a_ticket(desk)
    await desk.change("runs", {"state": state})
    assert (await desk.admit(await desk.run("run_2"), 1, OTHER_RESUMO)).equal_to is None


@pytest.mark.parametrize(("seconds", "is_equal"), [(590.0, True), (601.0, False)])
async def test_an_untold_ticket_is_the_next_ones_equal_until_ten_minutes_after_its_run_was_lost(
    desk: Desk, seconds: float, is_equal: bool
) -> None:
    untold = await _lost_after_a_ticket(desk)
    await desk.ago(5000.0, "calls", "received_at")
    await desk.ago(seconds, "runs", "closed_at")
    next_one = await desk.admit(await desk.run("run_2"), 1, OTHER_RESUMO)
    assert next_one.equal_to == (untold if is_equal else None)


@pytest.mark.parametrize("outcome", [REFUSED, NO_PROTOCOL])
async def test_only_a_ticket_that_is_or_may_be_open_is_left_untold(desk: Desk, outcome: Outcome) -> None:
    await _lost_after_a_ticket(desk, outcome)
    assert (await desk.admit(await desk.run("run_2"), 1, OTHER_RESUMO)).equal_to is None


async def test_an_untold_ticket_is_nobodys_equal_but_the_same_customers_and_matters(desk: Desk) -> None:
    await _lost_after_a_ticket(desk)
    await desk.conversation("c2")
    run = await desk.run("run_2")
    other_tool = replace(call(3), tool="other")
    different = [
        await desk.admit(run, 1, replace(OTHER_RESUMO, setor="COBRANÇA", equal_on=("1",))),
        await desk.admit(run, 2, replace(OTHER_RESUMO, motivo="DESBLOQUEIO", equal_on=("2",))),
        await desk.decided(run, other_tool, lambda _: OTHER_RESUMO),
        await desk.admit(run, 4, HANDOFF),
        await desk.admit(await desk.run("run_3", "c2"), 1, OTHER_RESUMO),
    ]
    assert [record.equal_to for record in different] == [None] * 5
    await desk.conversation(client_document=Personal("12ABC34501DE35"))
    assert (await desk.admit(run, 5, replace(OTHER_RESUMO, equal_on=("5",)))).equal_to is None


# ---------------------------------------------------------------------------------------------- attempts


async def test_an_attempt_is_on_record_before_it_is_made_with_the_time_it_may_take_effect(desk: Desk) -> None:
    record = await desk.attempted(await desk.admit(await desk.run()))
    assert (record.state, record.attempts, record.maybe_sent) == (CallState.RUNNING, 1, True)
    attempt = await desk.row("attempts")
    assert attempt.send_deadline - attempt.begun_at == pytest.approx(SEND_WINDOW_S, abs=1.0)
    assert (attempt.ended_at, attempt.result, attempt.certain) == (None, None, None)


async def test_of_two_owners_one_begins_an_attempt(desk: Desk, neighbour: Desk) -> None:
    record = await desk.admit(await desk.run())
    for number in range(1, 6):
        both = [d.begins(record, number) for d in (desk, neighbour)]
        assert sorted(await asyncio.gather(*both)) == [False, True]


@pytest.mark.parametrize("outcome", [DONE, REFUSED, UNKNOWN, NO_PROTOCOL])
async def test_a_closed_call_is_sent_no_more(desk: Desk, outcome: Outcome) -> None:
    record = await desk.settled(await desk.admit(await desk.run()), outcome)
    assert not await desk.begins(record)
    assert await desk.rows("attempts") == []


async def test_the_end_of_an_attempt_is_recorded_once(desk: Desk) -> None:
    record = await desk.attempted(await desk.admit(await desk.run()), certain=False)
    assert record.maybe_sent
    await desk.store.calls.end_attempt(record.call_id, 1, certain=True, detail="connect")
    attempt = await desk.row("attempts")
    assert (attempt.result, attempt.certain) == ("timeout", False)
    assert attempt.ended_at >= attempt.begun_at


async def test_after_certain_failures_alone_nothing_may_have_been_sent(desk: Desk) -> None:
    record = await desk.attempted(await desk.admit(await desk.run()), certain=True)
    record = await desk.attempted(record, certain=True)
    assert (record.attempts, record.maybe_sent) == (2, False)


# ---------------------------------------------------------------------------------------------- outcomes


async def test_the_first_outcome_wins_and_is_answered(desk: Desk) -> None:
    record = await desk.attempted(await desk.admit(await desk.run()))
    done = await desk.settled(record, DONE)
    assert (done.state, done.protocolo, done.error) == (CallState.DONE, PROTOCOLO, None)
    assert (done.answer, done.answered_success) == (ANSWER, True)
    assert await desk.settled(record, REFUSED, UNSENT) == done
    assert await desk.settled(record, DONE, LATE) == done
    row = await desk.row("calls")
    assert None not in (row.answered_at, row.finished_at)
    assert row.extra_protocolo is None


async def test_an_outcome_ends_its_attempt_and_tells_what_became_of_those_left_open(desk: Desk) -> None:
    record = await desk.attempted(await desk.admit(await desk.run()))
    record = await desk.attempted(record, certain=True)
    record = await desk.attempted(record)
    await desk.settled(record, DONE)
    attempts = sorted(await desk.rows("attempts"), key=lambda row: row.attempt)
    assert [row.result for row in attempts] == ["abandoned", "connect", "ok"]
    assert [row.certain for row in attempts] == [False, True, False]
    assert all(row.ended_at for row in attempts)


async def test_an_outcome_ends_the_attempts_of_its_own_call_only(desk: Desk) -> None:
    run = await desk.run()
    record = await desk.attempted(await desk.admit(run, 1))
    other = await desk.attempted(await desk.admit(run, 2, OTHER_RESUMO))
    await desk.settled(record, DONE)
    assert (await desk.row("attempts", call_id=other.call_id)).ended_at is None


@pytest.mark.parametrize("outcome", [REFUSED, UNKNOWN, NO_PROTOCOL])
async def test_a_protocolo_that_comes_late_completes_the_outcome_and_leaves_the_answer(
    desk: Desk, outcome: Outcome
) -> None:
    record = await desk.settled(await desk.attempted(await desk.admit(await desk.run())), outcome, UNSENT)
    late = await desk.settled(record, DONE)
    assert (late.state, late.protocolo, late.error) == (CallState.DONE, PROTOCOLO, None)
    assert (late.answer, late.answered_success) == (UNSENT, False)


async def test_a_late_outcome_without_a_protocolo_changes_nothing(desk: Desk) -> None:
    record = await desk.settled(await desk.attempted(await desk.admit(await desk.run())), UNKNOWN, LATE)
    for outcome in (REFUSED, NO_PROTOCOL, Outcome(CallState.DONE)):
        assert await desk.settled(record, outcome) == record


async def test_every_further_protocolo_is_kept_beside_the_first(desk: Desk) -> None:
    record = await desk.settled(await desk.attempted(await desk.admit(await desk.run())), DONE)
    for further in ("90000001", "90000002"):
        after = await desk.settled(record, replace(DONE, protocolo=further))
        assert after == record
    assert (await desk.row("calls")).extra_protocolo == "90000001,90000002"


async def test_a_protocolo_of_a_rejected_call_is_kept_and_leaves_it_rejected(desk: Desk) -> None:
    record = await desk.admit(await desk.run(), decision=REJECTION)
    assert await desk.settled(record, DONE) == record
    assert (await desk.row("calls")).extra_protocolo == PROTOCOLO


async def test_outcomes_recorded_side_by_side_keep_both_protocolos(desk: Desk, neighbour: Desk) -> None:
    for number in range(5):
        run = await desk.run(f"run_{number}")
        intent = replace(TICKET, equal_on=(f"{number}",))
        record = await desk.attempted(await desk.admit(run, 1, intent))
        other = replace(DONE, protocolo="90000001")
        await asyncio.gather(desk.settled(record, DONE), neighbour.settled(record, other))
        row = await desk.row("calls", call_id=record.call_id)
        assert {row.protocolo, row.extra_protocolo} == {PROTOCOLO, "90000001"}


# ---------------------------------------------------------------------------------------------- the deadline


async def test_at_the_deadline_an_unsent_call_fails_and_may_not_be_sent_afterwards(desk: Desk) -> None:
    record = await desk.admit(await desk.run())
    closed = await desk.store.calls.answer_at_deadline(record.call_id, LATE, UNSENT)
    assert (closed.state, closed.error, closed.answer) == (CallState.FAILED, "crm_indisponivel", UNSENT)
    assert not await desk.begins(record)


async def test_at_the_deadline_certain_failures_alone_are_a_failure(desk: Desk) -> None:
    record = await desk.attempted(await desk.admit(await desk.run()), certain=True)
    closed = await desk.store.calls.answer_at_deadline(record.call_id, LATE, UNSENT)
    assert (closed.state, closed.answer) == (CallState.FAILED, UNSENT)


@pytest.mark.parametrize("certain", [None, False])
async def test_at_the_deadline_what_may_have_gone_out_stays_open_and_is_in_confirmation(
    desk: Desk, certain: bool | None
) -> None:
    record = await desk.attempted(await desk.admit(await desk.run()), certain=certain)
    waiting = await desk.store.calls.answer_at_deadline(record.call_id, LATE, UNSENT)
    assert (waiting.state, waiting.answer, waiting.answered_success) == (CallState.RUNNING, LATE, False)
    done = await desk.settled(record, DONE)
    assert (done.state, done.protocolo, done.answer) == (CallState.DONE, PROTOCOLO, LATE)


async def test_at_the_deadline_a_call_that_waits_for_its_equal_is_in_confirmation(desk: Desk) -> None:
    run = await desk.run()
    await desk.admit(run, 1)
    second = await desk.admit(run, 2)
    waiting = await desk.store.calls.answer_at_deadline(second.call_id, LATE, UNSENT)
    assert (waiting.state, waiting.answer) == (CallState.RECEIVED, LATE)


async def test_at_the_deadline_an_answer_that_was_given_stays_given(desk: Desk) -> None:
    run = await desk.run()
    done = await desk.settled(await desk.attempted(await desk.admit(run, 1)), DONE)
    assert await desk.store.calls.answer_at_deadline(done.call_id, LATE, UNSENT) == done
    rejected = await desk.admit(run, 2, REJECTION)
    assert await desk.store.calls.answer_at_deadline(rejected.call_id, LATE, UNSENT) == rejected


@postgresql
async def test_an_attempt_begun_while_the_deadline_asks_counts_as_sent(desk: Desk) -> None:
    record = await desk.admit(await desk.run())
    tables = desk.store.database.tables
    async with desk.store.database.write() as beginning:
        await beginning.execute(update(tables.calls).values(state=CallState.RUNNING, attempts=1))
        attempt = {"call_id": record.call_id, "attempt": 1, "begun_at": now(), "send_deadline": now()}
        await beginning.execute(insert(tables.attempts).values(**attempt))
        asking = asyncio.create_task(desk.store.calls.answer_at_deadline(record.call_id, LATE, UNSENT))
        await until_one_waits(desk)
    answered = await asking
    assert (answered.state, answered.answer) == (CallState.RUNNING, LATE)
