"""The ledger on both databases: intents before sending, outcomes before showing, equal calls once."""

import asyncio
import json
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
    OpenRig,
    Rig,
    postgresql,
    seeing,
    until_one_waits,
)
from worker.errors import Isolated, StoreError, Withdrawn
from worker.model import CallState, Conversation, Outcome, RunState, ToolCall
from worker.personal import Personal
from worker.store.sql.tables import now

RECEIPT = Personal("https://arquivos.example/comprovante.jpg")
WITH_RECEIPT = replace(TICKET, body=Personal('{"resumo": "Maria pagou 📎"}'), uses_receipt=True)


# ---------------------------------------------------------------------------------------------- admission


async def test_an_intent_is_recorded_with_its_body_and_key_before_anything_is_sent(rig: Rig) -> None:
    record = await rig.admit(await rig.run())
    assert record.state is CallState.RECEIVED
    assert record.body == TICKET.body
    assert (record.setor, record.motivo, record.tool) == ("FINANCEIRO", "PAGAMENTO", "echo")
    assert (record.run_id, record.conversation_id) == ("run_1", "c1")
    assert record.call_id.startswith("tc_")
    assert (record.idempotency_key or "").startswith("tw-")
    assert (record.attempts, record.maybe_sent, record.answer, record.waits) == (0, False, None, False)
    assert await rig.store.calls.get(record.call_id) == record


async def test_a_call_seen_again_is_what_was_recorded_whatever_would_be_decided_now(rig: Rig) -> None:
    run = await rig.run()
    first = await rig.admit(run)
    assert await rig.admit(run, decision=REJECTION) == first
    rejected = await rig.admit(run, 2, REJECTION)
    assert await rig.admit(run, 2) == rejected
    assert len(await rig.rows("calls")) == 2


async def test_two_calls_are_one_only_if_run_turn_and_platform_id_agree(rig: Rig) -> None:
    one, two = await rig.run("run_1"), await rig.run("run_2")
    turn = replace(call(1), turn_id="turn_2")
    records = [
        await rig.admit(one, 1, REJECTION),
        await rig.admit(one, 2, REJECTION),
        await rig.admit(two, 1, REJECTION),
        await rig.decided(one, turn, lambda _: REJECTION),
    ]
    assert len({record.call_id for record in records}) == 4


async def test_one_id_with_other_content_is_another_call(rig: Rig) -> None:
    run = await rig.run()
    first = ToolCall("call_0", "echo", Personal('{"motivo": "PAGAMENTO", "resumo": "a"}'))
    calls = [
        first,
        replace(first, arguments=Personal('{"motivo": "PIX", "resumo": "a"}')),
        replace(first, tool="other"),
    ]
    records = [await rig.decided(run, each, lambda _: REJECTION) for each in calls]
    assert len({record.call_id for record in records}) == 3
    same = replace(first, arguments=Personal('{"resumo":"a",  "motivo":"PAGAMENTO"}'))
    assert await rig.decided(run, same, lambda _: REJECTION) == records[0]


async def test_calls_of_two_platforms_with_the_same_ids_are_two(rig: Rig, open_rig: OpenRig) -> None:
    run = await rig.run()
    first = await rig.admit(run, 1, REJECTION)
    elsewhere = await open_rig("other", platform="agents")
    assert (await elsewhere.admit(run, 1, REJECTION)).call_id != first.call_id


@pytest.mark.parametrize("platform_id", ["c" * 5000, "ç" * 400, "", "a b\n"])
async def test_ids_of_any_length_are_recorded_and_recognised(rig: Rig, platform_id: str) -> None:
    run = await rig.run()
    odd = replace(call(1), platform_call_id=platform_id, turn_id=platform_id)
    record = await rig.decided(run, odd, lambda _: REJECTION)
    assert await rig.decided(run, odd, lambda _: REJECTION) == record
    other = replace(odd, platform_call_id=platform_id + "x")
    assert (await rig.decided(run, other, lambda _: REJECTION)).call_id != record.call_id


async def _recorded_by_an_older_version(rig: Rig, call_id: str, platform: str = "assistants") -> None:
    key = json.dumps([platform, "run_1", None, "call_1"])
    await rig.change("calls", {"call_key": key}, call_id=call_id)


async def test_a_call_that_an_older_version_recorded_is_the_same_until_its_answer_was_accepted(
    rig: Rig,
) -> None:
    run = await rig.run()
    first = await rig.settled(await rig.attempted(await rig.admit(run)), DONE)
    await _recorded_by_an_older_version(rig, first.call_id)
    assert (await rig.admit(run)).call_id == first.call_id
    await rig.store.runs.submitted(run, [first.call_id], "requires_action")
    assert (await rig.admit(run, decision=OTHER_RESUMO)).call_id != first.call_id


async def test_a_call_that_an_older_version_recorded_is_not_another_functions(rig: Rig) -> None:
    run = await rig.run()
    first = await rig.admit(run, decision=REJECTION)
    await _recorded_by_an_older_version(rig, first.call_id)
    other = await rig.decided(run, replace(call(1), tool="other"), lambda _: REJECTION)
    assert other.call_id != first.call_id


async def test_a_call_admitted_again_after_a_restored_backup_has_the_same_key(rig: Rig) -> None:
    run = await rig.run()
    first = await rig.admit(run)
    async with rig.store.database.write() as connection:
        await connection.execute(rig.store.database.tables.calls.delete())
    again = await rig.admit(run)
    assert again.call_id != first.call_id
    assert again.idempotency_key == first.idempotency_key


async def test_keys_differ_between_calls_and_do_not_tell_which(rig: Rig) -> None:
    run = await rig.run()
    keys = {(await rig.admit(run, n, [TICKET, OTHER_RESUMO][n])).idempotency_key for n in range(2)}
    assert len(keys) == 2
    assert not any("run_1" in (key or "") or "call_" in (key or "") for key in keys)


async def test_a_rejected_call_is_answered_and_closed_at_once(rig: Rig) -> None:
    record = await rig.admit(await rig.run(), decision=REJECTION)
    assert (record.state, record.error) == (CallState.REJECTED, "motivo_incompativel")
    assert (record.answer, record.answered_success) == (REJECTION.answer, False)
    row = await rig.row("calls")
    assert (row.setor, row.exact) == ("FINANCEIRO", False)
    assert None not in (row.answered_at, row.finished_at)


async def test_a_rejection_that_the_model_cannot_mend_is_a_failure(rig: Rig) -> None:
    record = await rig.admit(await rig.run(), decision=replace(REJECTION, state=CallState.FAILED))
    assert record.state is CallState.FAILED


async def test_a_hand_off_is_done_and_queued_once_it_is_recorded(rig: Rig) -> None:
    record = await rig.admit(await rig.run(), decision=HANDOFF)
    assert (record.state, record.answer, record.answered_success) == (CallState.DONE, ANSWER, True)
    handoff = await rig.row("handoffs")
    assert (handoff.call_id, handoff.conversation_id) == (record.call_id, "c1")
    assert (handoff.departamento, handoff.state) == ("financeiro", "requested")
    assert handoff.motivo == HANDOFF.body


async def test_a_hand_off_that_cannot_be_queued_is_not_recorded_either(rig: Rig) -> None:
    run = await rig.run()
    nowhere = replace(HANDOFF, departamento=None)
    with pytest.raises(StoreError):
        await rig.admit(run, decision=nowhere)
    assert await rig.rows("calls") == []


async def test_the_decision_is_made_on_the_conversation_as_it_is_now(rig: Rig) -> None:
    seen: list[Conversation | None] = []
    await rig.conversation(contact=Personal("5524900000000"))
    await rig.decided(await rig.run(), call(1), seeing(seen))
    expected = Conversation("c1", "thread_c1", document=Personal(DOCUMENT), contact=Personal("5524900000000"))
    (conversation,) = seen
    assert conversation is not None
    assert replace(conversation, read_at=0.0) == expected
    assert conversation.read_at == pytest.approx(await rig.time(), abs=20)


async def test_a_run_of_no_known_conversation_is_decided_without_one(rig: Rig) -> None:
    run = await rig.run()
    await rig.change("conversations", {"conversation_id": "renamed", "thread_id": None})
    seen: list[Conversation | None] = []
    await rig.decided(run, call(1), seeing(seen, REJECTION))
    assert seen == [None]


@pytest.mark.parametrize("moved_to", ["thread_new", None])
async def test_a_run_on_a_thread_that_is_another_conversations_is_isolated(
    rig: Rig, moved_to: str | None
) -> None:
    run = await rig.run()
    await rig.conversation(thread_id=moved_to)
    await rig.conversation("c2", thread_id="thread_c1")
    with pytest.raises(Isolated):
        await rig.admit(run)
    assert await rig.rows("calls") == []


async def test_a_run_whose_conversation_has_moved_on_is_isolated(rig: Rig) -> None:
    run = await rig.run()
    await rig.conversation(thread_id="thread_new")
    with pytest.raises(Isolated):
        await rig.admit(run)


async def test_a_run_whose_conversation_has_left_its_thread_is_still_answered(rig: Rig) -> None:
    run = await rig.run()
    await rig.conversation(thread_id=None)
    assert (await rig.admit(run)).state is CallState.RECEIVED


async def test_a_run_taken_over_admits_nothing_new_for_its_former_owner(rig: Rig) -> None:
    run = await rig.run()
    known = await rig.admit(run)
    await rig.ago(1.0, "runs", "lease_until")
    await rig.claimed()
    with pytest.raises(Withdrawn):
        await rig.admit(run, 2)
    assert await rig.admit(run) == known


async def test_a_run_that_is_not_known_admits_nothing(rig: Rig) -> None:
    run = await rig.run()
    await rig.change("runs", {"run_id": "renamed"})
    with pytest.raises(Withdrawn):
        await rig.admit(run)


async def test_a_call_that_is_not_there_is_a_defect_of_the_store(rig: Rig) -> None:
    with pytest.raises(StoreError):
        await rig.store.calls.get("tc_nobody")


# ---------------------------------------------------------------------------------------------- the receipt


async def _receipt_shown(rig: Rig, run_id: str) -> Personal | None:
    """The receipt a further call of this conversation would be decided on."""
    seen: list[Conversation | None] = []
    await rig.decided(await rig.run(run_id), call(1), seeing(seen, REJECTION))
    (conversation,) = seen
    assert conversation is not None
    return conversation.receipt_url


async def test_a_receipt_is_shown_only_while_it_is_fresh(rig: Rig) -> None:
    assert await _receipt_shown(rig, "run_1") is None
    await rig.conversation(attachment_url=RECEIPT)
    assert await _receipt_shown(rig, "run_2") == RECEIPT
    await rig.ago(301.0, "conversations", "attachment_at")
    assert await _receipt_shown(rig, "run_3") is None


async def test_a_receipt_is_taken_by_the_first_intent_that_uses_it(rig: Rig) -> None:
    await rig.conversation(attachment_url=RECEIPT)
    run = await rig.run()
    await rig.admit(run, 1, REJECTION)
    await rig.admit(run, 2, HANDOFF)
    assert await _receipt_shown(rig, "run_2") == RECEIPT
    await rig.admit(run, 3, WITH_RECEIPT)
    assert await _receipt_shown(rig, "run_3") is None


async def test_another_receipt_is_fresh_again(rig: Rig) -> None:
    await rig.conversation(attachment_url=RECEIPT)
    await rig.admit(await rig.run(), decision=WITH_RECEIPT)
    another = Personal("https://arquivos.example/outro.jpg")
    await rig.conversation(attachment_url=another)
    assert await _receipt_shown(rig, "run_2") == another
    await rig.admit(await rig.run("run_3"), decision=replace(WITH_RECEIPT, equal_on=("other",)))
    await rig.conversation(attachment_url=another, attachment_at=await rig.time())
    assert await _receipt_shown(rig, "run_4") == another


@pytest.mark.parametrize("at", [None, 1.0])
async def test_a_receipt_sent_twice_is_one_receipt(rig: Rig, at: float | None) -> None:
    times = {} if at is None else {"attachment_at": await rig.time() - at}
    await rig.conversation(attachment_url=RECEIPT, **times)
    await rig.admit(await rig.run(), decision=WITH_RECEIPT)
    before = await rig.row("conversations", conversation_id="c1")
    await rig.conversation(attachment_url=Personal(RECEIPT.reveal()), **times)
    await rig.conversation(attachment_url=Personal(RECEIPT.reveal()))
    after = await rig.row("conversations", conversation_id="c1")
    assert after.attachment_at == before.attachment_at
    assert await _receipt_shown(rig, "run_2") is None


async def test_a_time_alone_is_that_of_the_receipt_on_file(rig: Rig) -> None:
    await rig.conversation(attachment_url=RECEIPT)
    await rig.conversation(attachment_at=await rig.time() - 301.0)
    assert await _receipt_shown(rig, "run_1") is None
    await rig.conversation(attachment_at=await rig.time())
    assert await _receipt_shown(rig, "run_2") == RECEIPT
    await rig.admit(await rig.run("run_3"), decision=WITH_RECEIPT)
    await rig.conversation(attachment_at=await rig.time())
    assert await _receipt_shown(rig, "run_4") is None


async def test_a_receipt_is_given_back_when_surely_nothing_was_opened(rig: Rig) -> None:
    await rig.conversation(attachment_url=RECEIPT)
    record = await rig.admit(await rig.run(), decision=WITH_RECEIPT)
    await rig.settled(await rig.attempted(record, certain=True), REFUSED)
    assert await _receipt_shown(rig, "run_2") == RECEIPT


async def test_a_receipt_is_given_back_by_the_call_that_never_was_sent(rig: Rig) -> None:
    await rig.conversation(attachment_url=RECEIPT)
    record = await rig.admit(await rig.run(), decision=WITH_RECEIPT)
    await rig.store.calls.answer_at_deadline(record.call_id, LATE, UNSENT)
    assert await _receipt_shown(rig, "run_2") == RECEIPT


async def test_a_certain_outcome_of_an_attempt_nobody_ended_gives_the_receipt_back(rig: Rig) -> None:
    await rig.conversation(attachment_url=RECEIPT)
    record = await rig.attempted(await rig.admit(await rig.run(), decision=WITH_RECEIPT))
    await rig.settled(record, REFUSED)
    assert await _receipt_shown(rig, "run_2") == RECEIPT


@pytest.mark.parametrize("outcome", [AMBIGUOUS, UNKNOWN, NO_PROTOCOL, DONE])
async def test_a_receipt_that_may_have_reached_the_crm_stays_taken(rig: Rig, outcome: Outcome) -> None:
    await rig.conversation(attachment_url=RECEIPT)
    record = await rig.attempted(await rig.admit(await rig.run(), decision=WITH_RECEIPT))
    await rig.settled(record, outcome)
    assert await _receipt_shown(rig, "run_2") is None


async def test_an_ambiguous_attempt_keeps_the_receipt_whatever_the_last_one_was(rig: Rig) -> None:
    await rig.conversation(attachment_url=RECEIPT)
    record = await rig.admit(await rig.run(), decision=WITH_RECEIPT)
    record = await rig.attempted(record, certain=False)
    await rig.settled(await rig.attempted(record, certain=True), REFUSED)
    assert await _receipt_shown(rig, "run_2") is None


async def test_the_next_attempt_of_a_failed_ticket_takes_its_receipt_again(rig: Rig) -> None:
    await rig.conversation(attachment_url=RECEIPT)
    record = await rig.admit(await rig.run(), decision=WITH_RECEIPT)
    await rig.settled(await rig.attempted(record, certain=True), REFUSED)
    await rig.admit(await rig.run("run_2"), decision=WITH_RECEIPT)
    assert await _receipt_shown(rig, "run_3") is None


async def test_a_receipt_that_came_after_a_failed_ticket_is_not_used_up_by_its_next_attempt(
    rig: Rig,
) -> None:
    record = await rig.admit(await rig.run())
    await rig.settled(await rig.attempted(record, certain=True), REFUSED)
    await rig.conversation(attachment_url=RECEIPT)
    again = await rig.admit(await rig.run("run_2"), decision=WITH_RECEIPT)
    assert again.body == TICKET.body
    assert await _receipt_shown(rig, "run_3") == RECEIPT


# -------------------------------------------------------------------------------------------- equal calls


@pytest.mark.parametrize("outcome", [None, DONE, UNKNOWN, NO_PROTOCOL])
async def test_an_equal_call_waits_for_the_first_and_sends_nothing(rig: Rig, outcome: Outcome | None) -> None:
    first = await rig.attempted(await rig.admit(await rig.run()))
    if outcome:
        await rig.settled(first, outcome)
    second = await rig.admit(await rig.run("run_2"))
    assert second.equal_to == first.call_id
    assert second.waits
    assert (second.state, second.body, second.answer) == (CallState.RECEIVED, None, None)


async def test_an_equal_call_waits_for_one_that_is_only_received(rig: Rig) -> None:
    run = await rig.run()
    first = await rig.admit(run, 1)
    second = await rig.admit(run, 2)
    third = await rig.admit(run, 3)
    assert second.waits
    assert {second.equal_to, third.equal_to} == {first.call_id}


async def test_after_a_failed_call_an_equal_one_is_the_same_ticket_again(rig: Rig) -> None:
    first = await rig.attempted(await rig.admit(await rig.run()), certain=True)
    await rig.settled(first, REFUSED)
    same_said_otherwise = replace(TICKET, body=Personal('{"resumo": "MARIA  pagou"}'))
    again = await rig.admit(await rig.run("run_2"), decision=same_said_otherwise)
    assert (again.equal_to, again.idempotency_key) == (first.call_id, first.idempotency_key)
    assert again.body == TICKET.body
    assert (again.waits, again.attempts, again.maybe_sent) == (False, 0, False)


async def test_however_often_a_ticket_is_tried_again_its_first_try_is_known(rig: Rig) -> None:
    tries = []
    for number in range(3):
        record = await rig.attempted(await rig.admit(await rig.run(f"run_{number}")), certain=True)
        tries.append(await rig.settled(record, REFUSED))
    for record in tries:
        assert await rig.store.calls.first_try(record) == tries[0]


async def test_the_same_ticket_again_remembers_that_it_may_have_been_sent(rig: Rig) -> None:
    first = await rig.attempted(await rig.admit(await rig.run()), certain=False)
    await rig.settled(first, AMBIGUOUS)
    again = await rig.admit(await rig.run("run_2"))
    assert again.maybe_sent
    await rig.settled(again, REFUSED)
    assert (await rig.admit(await rig.run("run_3"))).maybe_sent


async def test_what_comes_of_the_same_ticket_again_counts_for_the_calls_after_it(rig: Rig) -> None:
    first = await rig.attempted(await rig.admit(await rig.run()), certain=True)
    await rig.settled(first, REFUSED)
    again = await rig.admit(await rig.run("run_2"))
    waiting = await rig.admit(await rig.run("run_3"))
    assert (waiting.equal_to, waiting.waits) == (again.call_id, True)
    await rig.settled(await rig.attempted(again), DONE)
    after = await rig.admit(await rig.run("run_4"))
    assert (after.equal_to, after.waits) == (again.call_id, True)


async def test_while_a_person_has_an_old_ticket_tried_again_its_equals_wait_for_it(rig: Rig) -> None:
    old = await rig.settled(await rig.attempted(await rig.admit(await rig.run()), certain=False), AMBIGUOUS)
    await rig.settled(await rig.admit(await rig.run("run_2")), AMBIGUOUS)
    await rig.ago(700.0, "calls", "received_at", call_id=old.call_id)
    await rig.store.operators.retry(old.call_id)
    third = await rig.admit(await rig.run("run_3"))
    assert (third.equal_to, third.waits) == (old.call_id, True)


async def test_of_several_failed_tries_the_latest_speaks_for_the_ticket(rig: Rig) -> None:
    first = await rig.settled(await rig.attempted(await rig.admit(await rig.run()), certain=True), REFUSED)
    await rig.ago(60.0, "calls", "received_at")
    again = await rig.settled(
        await rig.attempted(await rig.admit(await rig.run("run_2")), certain=False), REFUSED
    )
    third = await rig.admit(await rig.run("run_3"))
    assert (third.equal_to, third.idempotency_key) == (again.call_id, first.idempotency_key)
    assert third.maybe_sent


async def test_a_rejected_call_is_nobodys_equal(rig: Rig) -> None:
    run = await rig.run()
    await rig.admit(run, 1, REJECTION)
    await rig.admit(run, 2)
    await rig.change("calls", {"state": CallState.REJECTED})
    assert (await rig.admit(run, 3)).equal_to is None


async def test_after_ten_minutes_by_the_databases_clock_an_equal_call_is_a_new_ticket(rig: Rig) -> None:
    first = await rig.admit(await rig.run())
    await rig.ago(590.0, "calls", "received_at")
    waiting = await rig.admit(await rig.run("run_2"))
    assert waiting.equal_to == first.call_id
    await rig.ago(601.0, "calls", "received_at", call_id=first.call_id)
    new = await rig.admit(await rig.run("run_3"))
    assert new.equal_to is None
    assert new.idempotency_key != first.idempotency_key


async def test_calls_that_differ_are_not_equal(rig: Rig) -> None:
    await rig.conversation("c2")
    run = await rig.run()
    await rig.admit(run, 1)
    other_document = replace(TICKET, equal_on=(*TICKET.equal_on[:3], "12ABC34501DE35"))
    other_tool = replace(call(4), tool="other")
    different = [
        await rig.admit(run, 2, other_document),
        await rig.admit(run, 3, OTHER_RESUMO),
        await rig.decided(run, other_tool, lambda _: TICKET),
        await rig.admit(await rig.run("run_2", "c2"), 1),
    ]
    assert [record.equal_to for record in different] == [None] * 4


async def test_values_that_only_run_together_alike_are_not_equal(rig: Rig) -> None:
    run = await rig.run()
    await rig.admit(run, 1, replace(TICKET, equal_on=("ab", "c")))
    assert (await rig.admit(run, 2, replace(TICKET, equal_on=("a", "bc")))).equal_to is None


async def test_an_equal_hand_off_is_queued_once(rig: Rig) -> None:
    first = await rig.admit(await rig.run(), decision=HANDOFF)
    said_otherwise = replace(HANDOFF, body=Personal("Maria insiste"))
    second = await rig.admit(await rig.run("run_2"), decision=said_otherwise)
    assert (second.equal_to, second.waits) == (first.call_id, True)
    assert len(await rig.rows("handoffs")) == 1
    assert (await rig.settled(second, Outcome(CallState.DONE))).answered_success


async def test_of_equal_calls_side_by_side_exactly_one_is_first(rig: Rig, neighbour: Rig) -> None:
    for minute in range(4):
        runs = [await rig.run(f"run_{minute}_{n}") for n in range(6)]
        intent = replace(TICKET, equal_on=(f"minuto {minute}",))
        desks = (rig, neighbour)
        records = await asyncio.gather(*(desks[n % 2].admit(run, 1, intent) for n, run in enumerate(runs)))
        firsts = [record for record in records if record.equal_to is None]
        assert len(firsts) == 1
        assert {record.equal_to for record in records} == {None, firsts[0].call_id}


async def test_a_call_admitted_by_two_owners_side_by_side_is_one(rig: Rig, neighbour: Rig) -> None:
    for number in range(10):
        run = await rig.run(f"run_{number}")
        intent = replace(TICKET, equal_on=(f"{number}",))
        one, two = await asyncio.gather(rig.admit(run, 1, intent), neighbour.admit(run, 1, intent))
        assert one == two


# ------------------------------------------------------------------------------- answers that never arrived


@pytest.mark.parametrize("outcome", [DONE, UNKNOWN])
async def test_the_next_ticket_after_one_the_model_never_heard_of_is_its_equal(
    rig: Rig, outcome: Outcome
) -> None:
    run = await rig.run()
    untold = await rig.settled(await rig.attempted(await rig.admit(run)), outcome)
    await rig.lost(run)
    run = await rig.run("run_2")
    next_one = await rig.admit(run, 1, OTHER_RESUMO)
    assert (next_one.equal_to, next_one.waits) == (untold.call_id, True)
    last = replace(OTHER_RESUMO, equal_on=("FINANCEIRO", "PAGAMENTO", "terceiro resumo", DOCUMENT))
    assert (await rig.admit(run, 2, last)).equal_to is None


async def test_a_ticket_said_twice_after_one_the_model_never_heard_of_is_still_one(rig: Rig) -> None:
    run = await rig.run()
    await rig.settled(await rig.attempted(await rig.admit(run)), DONE)
    await rig.lost(run)
    run = await rig.run("run_2")
    next_one = await rig.admit(run, 1, OTHER_RESUMO)
    assert (await rig.admit(run, 2, OTHER_RESUMO)).equal_to == next_one.call_id


async def test_an_equal_that_never_arrived_either_hands_on_to_the_next(rig: Rig) -> None:
    run = await rig.run()
    untold = await rig.settled(await rig.attempted(await rig.admit(run)), DONE)
    await rig.lost(run)
    run = await rig.run("run_2")
    untold_too = await rig.settled(await rig.admit(run, 1, OTHER_RESUMO), DONE)
    assert untold_too.equal_to == untold.call_id
    await rig.lost(run)
    third = replace(OTHER_RESUMO, equal_on=("FINANCEIRO", "PAGAMENTO", "terceiro resumo", DOCUMENT))
    assert (await rig.admit(await rig.run("run_3"), 1, third)).equal_to == untold_too.call_id


async def test_after_an_untold_ticket_failed_its_equals_equal_is_the_same_ticket_again(rig: Rig) -> None:
    run = await rig.run()
    untold = await rig.settled(await rig.attempted(await rig.admit(run)), UNKNOWN)
    await rig.lost(run)
    run = await rig.run("run_2")
    await rig.settled(await rig.admit(run, 1, OTHER_RESUMO), UNKNOWN)
    await rig.store.calls.settle(untold.call_id, AMBIGUOUS, UNSENT, success=False, checked=True)
    again = await rig.admit(run, 2, OTHER_RESUMO)
    assert (again.equal_to, again.idempotency_key) == (untold.call_id, untold.idempotency_key)
    assert (again.body, again.waits) == (TICKET.body, False)


async def _lost_after_a_ticket(rig: Rig, outcome: Outcome = DONE) -> str:
    run = await rig.run()
    record = await rig.settled(await rig.attempted(await rig.admit(run)), outcome)
    await rig.lost(run)
    return record.call_id


async def test_a_ticket_the_model_was_told_of_is_not_the_next_ones_equal(rig: Rig) -> None:
    call_id = await _lost_after_a_ticket(rig)
    await rig.ago(1.0, "calls", "submitted_at", call_id=call_id)
    assert (await rig.admit(await rig.run("run_2"), 1, OTHER_RESUMO)).equal_to is None


@pytest.mark.parametrize("state", [RunState.ENDED, RunState.WATCHING])
async def test_only_a_lost_run_leaves_a_ticket_untold(rig: Rig, state: RunState) -> None:
    await _lost_after_a_ticket(rig)
    await rig.change("runs", {"state": state})
    assert (await rig.admit(await rig.run("run_2"), 1, OTHER_RESUMO)).equal_to is None


@pytest.mark.parametrize(("seconds", "is_equal"), [(590.0, True), (601.0, False)])
async def test_an_untold_ticket_is_the_next_ones_equal_until_ten_minutes_after_its_run_was_lost(
    rig: Rig, seconds: float, is_equal: bool
) -> None:
    untold = await _lost_after_a_ticket(rig)
    await rig.ago(5000.0, "calls", "received_at")
    await rig.ago(seconds, "runs", "closed_at")
    next_one = await rig.admit(await rig.run("run_2"), 1, OTHER_RESUMO)
    assert next_one.equal_to == (untold if is_equal else None)


@pytest.mark.parametrize("outcome", [REFUSED, NO_PROTOCOL])
async def test_only_a_ticket_that_is_or_may_be_open_is_left_untold(rig: Rig, outcome: Outcome) -> None:
    await _lost_after_a_ticket(rig, outcome)
    assert (await rig.admit(await rig.run("run_2"), 1, OTHER_RESUMO)).equal_to is None


async def test_an_untold_ticket_is_nobodys_equal_but_the_same_customers_and_matters(rig: Rig) -> None:
    await _lost_after_a_ticket(rig)
    await rig.conversation("c2")
    run = await rig.run("run_2")
    other_tool = replace(call(3), tool="other")
    different = [
        await rig.admit(run, 1, replace(OTHER_RESUMO, setor="COBRANÇA", equal_on=("1",))),
        await rig.admit(run, 2, replace(OTHER_RESUMO, motivo="DESBLOQUEIO", equal_on=("2",))),
        await rig.decided(run, other_tool, lambda _: OTHER_RESUMO),
        await rig.admit(run, 4, HANDOFF),
        await rig.admit(await rig.run("run_3", "c2"), 1, OTHER_RESUMO),
    ]
    assert [record.equal_to for record in different] == [None] * 5
    await rig.conversation(client_document=Personal("12ABC34501DE35"))
    assert (await rig.admit(run, 5, replace(OTHER_RESUMO, equal_on=("5",)))).equal_to is None


# ---------------------------------------------------------------------------------------------- attempts


async def test_an_attempt_is_on_record_before_it_is_made_with_the_time_it_may_take_effect(
    rig: Rig,
) -> None:
    record = await rig.attempted(await rig.admit(await rig.run()))
    assert (record.state, record.attempts, record.maybe_sent) == (CallState.RUNNING, 1, True)
    attempt = await rig.row("attempts")
    assert attempt.send_deadline - attempt.begun_at == pytest.approx(SEND_WINDOW_S, abs=1.0)
    assert (attempt.ended_at, attempt.result, attempt.certain) == (None, None, None)


async def test_of_two_owners_one_begins_an_attempt(rig: Rig, neighbour: Rig) -> None:
    record = await rig.admit(await rig.run())
    for number in range(1, 6):
        both = [d.begins(record, number) for d in (rig, neighbour)]
        assert sorted(await asyncio.gather(*both)) == [False, True]


@pytest.mark.parametrize("outcome", [DONE, REFUSED, UNKNOWN, NO_PROTOCOL])
async def test_a_closed_call_is_sent_no_more(rig: Rig, outcome: Outcome) -> None:
    record = await rig.settled(await rig.admit(await rig.run()), outcome)
    assert not await rig.begins(record)
    assert await rig.rows("attempts") == []


async def test_the_end_of_an_attempt_is_recorded_once(rig: Rig) -> None:
    record = await rig.attempted(await rig.admit(await rig.run()), certain=False)
    assert record.maybe_sent
    await rig.store.calls.end_attempt(record.call_id, 1, certain=True, detail="connect")
    attempt = await rig.row("attempts")
    assert (attempt.result, attempt.certain) == ("timeout", False)
    assert attempt.ended_at >= attempt.begun_at


async def test_after_certain_failures_alone_nothing_may_have_been_sent(rig: Rig) -> None:
    record = await rig.attempted(await rig.admit(await rig.run()), certain=True)
    record = await rig.attempted(record, certain=True)
    assert (record.attempts, record.maybe_sent) == (2, False)


# ---------------------------------------------------------------------------------------------- outcomes


async def test_the_first_outcome_wins_and_is_answered(rig: Rig) -> None:
    record = await rig.attempted(await rig.admit(await rig.run()))
    done = await rig.settled(record, DONE)
    assert (done.state, done.protocolo, done.error) == (CallState.DONE, PROTOCOLO, None)
    assert (done.answer, done.answered_success) == (ANSWER, True)
    assert await rig.settled(record, REFUSED, UNSENT) == done
    assert await rig.settled(record, DONE, LATE) == done
    row = await rig.row("calls")
    assert None not in (row.answered_at, row.finished_at)
    assert row.extra_protocolo is None


async def test_an_outcome_ends_its_attempt_and_tells_what_became_of_those_left_open(rig: Rig) -> None:
    record = await rig.attempted(await rig.admit(await rig.run()))
    record = await rig.attempted(record, certain=True)
    record = await rig.attempted(record)
    await rig.settled(record, DONE)
    attempts = sorted(await rig.rows("attempts"), key=lambda row: row.attempt)
    assert [row.result for row in attempts] == ["abandoned", "connect", "ok"]
    assert [row.certain for row in attempts] == [False, True, False]
    assert all(row.ended_at for row in attempts)


async def test_an_outcome_ends_the_attempts_of_its_own_call_only(rig: Rig) -> None:
    run = await rig.run()
    record = await rig.attempted(await rig.admit(run, 1))
    other = await rig.attempted(await rig.admit(run, 2, OTHER_RESUMO))
    await rig.settled(record, DONE)
    assert (await rig.row("attempts", call_id=other.call_id)).ended_at is None


@pytest.mark.parametrize("outcome", [REFUSED, UNKNOWN, NO_PROTOCOL])
async def test_a_protocolo_that_comes_late_completes_the_outcome_and_leaves_the_answer(
    rig: Rig, outcome: Outcome
) -> None:
    record = await rig.settled(await rig.attempted(await rig.admit(await rig.run())), outcome, UNSENT)
    late = await rig.settled(record, DONE)
    assert (late.state, late.protocolo, late.error) == (CallState.DONE, PROTOCOLO, None)
    assert (late.answer, late.answered_success) == (UNSENT, False)


async def test_a_late_outcome_without_a_protocolo_changes_nothing(rig: Rig) -> None:
    record = await rig.settled(await rig.attempted(await rig.admit(await rig.run())), UNKNOWN, LATE)
    for outcome in (REFUSED, NO_PROTOCOL, Outcome(CallState.DONE)):
        assert await rig.settled(record, outcome) == record


async def test_every_further_protocolo_is_kept_beside_the_first(rig: Rig) -> None:
    record = await rig.settled(await rig.attempted(await rig.admit(await rig.run())), DONE)
    for further in ("90000001", "90000002"):
        after = await rig.settled(record, replace(DONE, protocolo=further))
        assert after == record
    assert (await rig.row("calls")).extra_protocolo == "90000001,90000002"


async def test_a_protocolo_of_a_rejected_call_is_kept_and_leaves_it_rejected(rig: Rig) -> None:
    record = await rig.admit(await rig.run(), decision=REJECTION)
    assert await rig.settled(record, DONE) == record
    assert (await rig.row("calls")).extra_protocolo == PROTOCOLO


async def test_outcomes_recorded_side_by_side_keep_both_protocolos(rig: Rig, neighbour: Rig) -> None:
    for number in range(5):
        run = await rig.run(f"run_{number}")
        intent = replace(TICKET, equal_on=(f"{number}",))
        record = await rig.attempted(await rig.admit(run, 1, intent))
        other = replace(DONE, protocolo="90000001")
        await asyncio.gather(rig.settled(record, DONE), neighbour.settled(record, other))
        row = await rig.row("calls", call_id=record.call_id)
        assert {row.protocolo, row.extra_protocolo} == {PROTOCOLO, "90000001"}


# ---------------------------------------------------------------------------------------------- the deadline


async def test_at_the_deadline_an_unsent_call_fails_and_may_not_be_sent_afterwards(rig: Rig) -> None:
    record = await rig.admit(await rig.run())
    closed = await rig.store.calls.answer_at_deadline(record.call_id, LATE, UNSENT)
    assert (closed.state, closed.error, closed.answer) == (CallState.FAILED, "crm_indisponivel", UNSENT)
    assert not await rig.begins(record)


async def test_at_the_deadline_certain_failures_alone_are_a_failure(rig: Rig) -> None:
    record = await rig.attempted(await rig.admit(await rig.run()), certain=True)
    closed = await rig.store.calls.answer_at_deadline(record.call_id, LATE, UNSENT)
    assert (closed.state, closed.answer) == (CallState.FAILED, UNSENT)


@pytest.mark.parametrize("certain", [None, False])
async def test_at_the_deadline_what_may_have_gone_out_stays_open_and_is_in_confirmation(
    rig: Rig, certain: bool | None
) -> None:
    record = await rig.attempted(await rig.admit(await rig.run()), certain=certain)
    waiting = await rig.store.calls.answer_at_deadline(record.call_id, LATE, UNSENT)
    assert (waiting.state, waiting.answer, waiting.answered_success) == (CallState.RUNNING, LATE, False)
    done = await rig.settled(record, DONE)
    assert (done.state, done.protocolo, done.answer) == (CallState.DONE, PROTOCOLO, LATE)


async def test_at_the_deadline_a_call_that_waits_for_its_equal_is_in_confirmation(rig: Rig) -> None:
    run = await rig.run()
    await rig.admit(run, 1)
    second = await rig.admit(run, 2)
    waiting = await rig.store.calls.answer_at_deadline(second.call_id, LATE, UNSENT)
    assert (waiting.state, waiting.answer) == (CallState.RECEIVED, LATE)


async def test_at_the_deadline_an_answer_that_was_given_stays_given(rig: Rig) -> None:
    run = await rig.run()
    done = await rig.settled(await rig.attempted(await rig.admit(run, 1)), DONE)
    assert await rig.store.calls.answer_at_deadline(done.call_id, LATE, UNSENT) == done
    rejected = await rig.admit(run, 2, REJECTION)
    assert await rig.store.calls.answer_at_deadline(rejected.call_id, LATE, UNSENT) == rejected


@postgresql
async def test_an_attempt_begun_while_the_deadline_asks_counts_as_sent(rig: Rig) -> None:
    record = await rig.admit(await rig.run())
    tables = rig.store.database.tables
    async with rig.store.database.write() as beginning:
        await beginning.execute(update(tables.calls).values(state=CallState.RUNNING, attempts=1))
        attempt = {"call_id": record.call_id, "attempt": 1, "begun_at": now(), "send_deadline": now()}
        await beginning.execute(insert(tables.attempts).values(**attempt))
        asking = asyncio.create_task(rig.store.calls.answer_at_deadline(record.call_id, LATE, UNSENT))
        await until_one_waits(rig)
    answered = await asking
    assert (answered.state, answered.answer) == (CallState.RUNNING, LATE)


# ------------------------------------------------------------------------------ a call that ended unsent


async def test_who_waited_for_a_call_that_ended_unsent_takes_its_key_and_bytes_over(rig: Rig) -> None:
    first = await rig.admit(await rig.run("run_1"))
    second, third = [await rig.admit(await rig.run(f"run_{n}")) for n in (2, 3)]
    assert (second.waits, third.waits) == (True, True)
    gone = Outcome(CallState.FAILED, "execucao_encerrada")
    assert (await rig.settled(first, gone)).unsent
    heir = await rig.store.calls.inherit(second.call_id)
    assert (heir.idempotency_key, heir.body) == (first.idempotency_key, first.body)
    assert (heir.waits, heir.state) == (False, CallState.RECEIVED)
    after = await rig.store.calls.inherit(third.call_id)
    assert (after.waits, after.equal_to) == (True, second.call_id)
    assert await rig.store.calls.inherit(second.call_id) == heir


@pytest.mark.parametrize("outcome", [DONE, REFUSED, AMBIGUOUS, UNKNOWN])
async def test_who_waited_for_a_call_that_was_sent_inherits_nothing(rig: Rig, outcome: Outcome) -> None:
    first = await rig.admit(await rig.run("run_1"))
    second = await rig.admit(await rig.run("run_2"))
    assert await rig.store.calls.inherit(second.call_id) == second
    await rig.settled(await rig.attempted(first), outcome)
    assert await rig.store.calls.inherit(second.call_id) == second


async def test_a_new_try_of_a_call_that_ended_unsent_is_waited_for(rig: Rig) -> None:
    first = await rig.admit(await rig.run("run_1"))
    waiting = await rig.admit(await rig.run("run_2"))
    await rig.settled(first, Outcome(CallState.FAILED, "execucao_encerrada"))
    again = await rig.admit(await rig.run("run_3"))
    assert again.idempotency_key == first.idempotency_key
    assert (await rig.store.calls.inherit(waiting.call_id)).equal_to == again.call_id


async def test_the_receipt_goes_on_with_the_bytes_that_hold_it(rig: Rig) -> None:
    await rig.conversation(attachment_url=RECEIPT)
    body = Personal(f'{{"resumo": "Maria pagou {RECEIPT.reveal()}"}}')
    first = await rig.admit(await rig.run("run_1"), decision=replace(WITH_RECEIPT, body=body))
    waiting = await rig.admit(await rig.run("run_2"), decision=WITH_RECEIPT)
    await rig.settled(first, Outcome(CallState.FAILED, "execucao_encerrada"))
    assert (await rig.row("conversations")).attachment_taken_by is None
    await rig.store.calls.inherit(waiting.call_id)
    assert (await rig.row("conversations")).attachment_taken_by == waiting.call_id


async def test_a_receipt_that_another_ticket_has_stays_that_tickets(rig: Rig) -> None:
    await rig.conversation(attachment_url=RECEIPT)
    body = Personal(f'{{"resumo": "Maria pagou {RECEIPT.reveal()}"}}')
    first = await rig.admit(await rig.run("run_1"), decision=replace(WITH_RECEIPT, body=body))
    waiting = await rig.admit(await rig.run("run_2"), decision=WITH_RECEIPT)
    await rig.settled(first, Outcome(CallState.FAILED, "execucao_encerrada"))
    other = await rig.admit(await rig.run("run_3"), decision=replace(WITH_RECEIPT, equal_on=("outro",)))
    await rig.store.calls.inherit(waiting.call_id)
    assert (await rig.row("conversations")).attachment_taken_by == other.call_id


async def test_who_takes_over_a_ticket_that_may_have_been_sent_knows_it(rig: Rig) -> None:
    """Without a lookup or the CRM's word that it is idempotent, such a ticket is not sent again."""
    first = await rig.admit(await rig.run("run_1"))
    await rig.settled(await rig.attempted(first, certain=False), AMBIGUOUS)
    again = await rig.admit(await rig.run("run_2"))
    waiting = await rig.admit(await rig.run("run_3"))
    assert (again.maybe_sent, again.attempts, waiting.waits) == (True, 0, True)
    await rig.settled(again, Outcome(CallState.FAILED, "execucao_encerrada"))
    heir = await rig.store.calls.inherit(waiting.call_id)
    assert (heir.idempotency_key, heir.maybe_sent) == (first.idempotency_key, True)


async def test_attempts_that_were_cut_off_are_counted_until_they_end(rig: Rig) -> None:
    record = await rig.attempted(await rig.attempted(await rig.admit(await rig.run()), certain=True))
    assert (record.attempts, record.cut_off) == (2, 1)
    await rig.store.calls.end_attempt(record.call_id, 2, certain=False, detail="timeout")
    assert (await rig.store.calls.get(record.call_id)).cut_off == 0


async def test_a_call_knows_how_long_ago_it_was_received_by_the_databases_clock(rig: Rig) -> None:
    record = await rig.admit(await rig.run())
    await rig.ago(90.0, "calls", "received_at")
    assert (await rig.store.calls.get(record.call_id)).age_s == pytest.approx(90.0, abs=5.0)
