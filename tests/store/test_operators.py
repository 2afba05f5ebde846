"""What a person may change of a call, on both databases: another try, or the protocolo found at the CRM."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from tests.store.harness import (
    AMBIGUOUS,
    BOT,
    DOCUMENT,
    DONE,
    HANDOFF,
    LATE,
    NO_PROTOCOL,
    OTHER_RESUMO,
    PROTOCOLO,
    REFUSED,
    REJECTION,
    TICKET,
    UNKNOWN,
    UNSENT,
    OpenRig,
    Rig,
    postgresql,
    refusal_code,
    until_one_waits,
)
from worker.errors import RequestRefused
from worker.model import CallRecord, CallState, Outcome
from worker.personal import Personal

NEVER_AGAIN = {"CRM_IDEMPOTENT": False}
"""A CRM to which nothing ambiguous may be sent twice, and that cannot be asked."""

Made = Callable[[Rig], Awaitable[CallRecord]]


async def _with(rig: Rig, outcome: Outcome, run_id: str = "run_1") -> CallRecord:
    return await rig.settled(await rig.attempted(await rig.admit(await rig.run(run_id))), outcome, UNSENT)


# ---------------------------------------------------------------------------------------------- another try


@pytest.mark.parametrize("outcome", [REFUSED, AMBIGUOUS, UNKNOWN])
async def test_another_try_sends_the_same_ticket_again(rig: Rig, outcome: Outcome) -> None:
    record = await _with(rig, outcome)
    assert await rig.store.operators.retryable(record.call_id) == record
    await rig.store.operators.retry(record.call_id)
    (again,) = await rig.store.calls.claim("me", 10)
    assert (again.state, again.error, again.retrying) == (CallState.RECEIVED, None, True)
    assert (again.idempotency_key, again.body) == (record.idempotency_key, TICKET.body)
    assert (again.answer, again.maybe_sent) == (UNSENT, record.maybe_sent)
    assert (await rig.row("calls")).finished_at is None


async def test_another_try_has_attempts_of_its_own_and_goes_on_counting(rig: Rig) -> None:
    record = await rig.attempted(await rig.admit(await rig.run()), certain=True)
    record = await rig.settled(await rig.attempted(record, certain=True), REFUSED, UNSENT)
    await rig.store.operators.retry(record.call_id)
    (again,) = await rig.store.calls.claim("me", 10)
    assert (again.attempts, again.retry_from) == (2, 2)
    assert not await rig.begins(again, 2)
    done = await rig.settled(await rig.attempted(again), DONE)
    assert (done.attempts, done.retrying, done.answer) == (3, False, UNSENT)
    assert [row.attempt for row in await rig.rows("attempts")] == [1, 2, 3]


async def test_what_another_try_brings_is_told_late(open_rig: OpenRig) -> None:
    rig = await open_rig(owner=True, **BOT)
    await rig.conversation()
    record = await _with(rig, REFUSED)
    await rig.store.operators.retry(record.call_id)
    (again,) = await rig.store.calls.claim("me", 10)
    await rig.settled(await rig.attempted(again), DONE)
    assert [(kind, data["late"]) for kind, data in await rig.events()] == [
        ("ticket.failed", False),
        ("ticket.opened", True),
    ]


async def test_what_may_have_been_opened_is_tried_again_only_where_that_cannot_open_two(
    open_rig: OpenRig,
) -> None:
    rig = await open_rig(owner=True, **NEVER_AGAIN)
    await rig.conversation()
    unknown = await _with(rig, UNKNOWN)
    assert await refusal_code(rig.store.operators.retry(unknown.call_id)) == "estado_incompativel"
    assert await rig.store.calls.get(unknown.call_id) == unknown
    with_lookup = await open_rig(CRM_LOOKUP_URL="http://127.0.0.1:9/lookup", **NEVER_AGAIN)
    assert await with_lookup.store.operators.retryable(unknown.call_id) == unknown
    failed = await rig.settled(await rig.admit(await rig.run("run_2"), 1, OTHER_RESUMO), REFUSED)
    assert await rig.store.operators.retryable(failed.call_id) == failed


async def _received(rig: Rig) -> CallRecord:
    return await rig.admit(await rig.run())


async def _running(rig: Rig) -> CallRecord:
    return await rig.attempted(await rig.admit(await rig.run()))


async def _retried(rig: Rig) -> CallRecord:
    record = await _with(rig, REFUSED)
    await rig.store.operators.retry(record.call_id)
    return await rig.store.calls.get(record.call_id)


async def _opened(rig: Rig) -> CallRecord:
    return await _with(rig, DONE)


async def _without_protocolo(rig: Rig) -> CallRecord:
    return await _with(rig, NO_PROTOCOL)


async def _rejected(rig: Rig) -> CallRecord:
    return await rig.admit(await rig.run(), decision=REJECTION)


async def _failed_before_it_was_a_ticket(rig: Rig) -> CallRecord:
    return await rig.admit(await rig.run(), decision=replace(REJECTION, state=CallState.FAILED, setor=None))


async def _handed_off(rig: Rig) -> CallRecord:
    return await rig.admit(await rig.run(), decision=HANDOFF)


async def _waited(rig: Rig) -> CallRecord:
    run = await rig.run()
    first, waiting = await rig.admit(run, 1), await rig.admit(run, 2)
    await rig.settled(await rig.attempted(first), REFUSED)
    return await rig.settled(waiting, REFUSED)


@pytest.mark.parametrize(
    "made",
    [
        _received,
        _running,
        _retried,
        _opened,
        _without_protocolo,
        _rejected,
        _failed_before_it_was_a_ticket,
        _handed_off,
        _waited,
    ],
)
async def test_nothing_else_is_tried_again(rig: Rig, made: Made) -> None:
    record = await made(rig)
    before = await rig.rows("calls")
    assert await refusal_code(rig.store.operators.retryable(record.call_id)) == "estado_incompativel"
    assert await refusal_code(rig.store.operators.retry(record.call_id)) == "estado_incompativel"
    assert await rig.rows("calls") == before


@pytest.mark.parametrize("outcome", [None, DONE, UNKNOWN, NO_PROTOCOL])
async def test_a_ticket_that_another_call_carries_on_is_not_tried_again(
    rig: Rig, outcome: Outcome | None
) -> None:
    first = await _with(rig, REFUSED)
    again = await rig.admit(await rig.run("run_2"))
    if outcome:
        await rig.settled(await rig.attempted(again), outcome)
    assert await refusal_code(rig.store.operators.retry(first.call_id)) == "estado_incompativel"


async def test_a_ticket_all_of_whose_calls_failed_is_tried_again(rig: Rig) -> None:
    first = await _with(rig, REFUSED)
    again = await _with(rig, REFUSED, "run_2")
    assert again.idempotency_key == first.idempotency_key
    await rig.store.operators.retry(first.call_id)
    assert await refusal_code(rig.store.operators.retry(again.call_id)) == "estado_incompativel"


async def test_a_ticket_whose_payload_is_no_longer_kept_is_not_tried_again(rig: Rig) -> None:
    record = await _with(rig, REFUSED)
    await rig.change("calls", {"body": None})
    assert await refusal_code(rig.store.operators.retryable(record.call_id)) == "payload_expirado"
    assert await refusal_code(rig.store.operators.retry(record.call_id)) == "payload_expirado"
    assert await rig.claims() == []


@pytest.mark.parametrize("verb", ["retryable", "retry"])
async def test_a_call_that_is_not_there_is_not_tried_again(rig: Rig, verb: str) -> None:
    assert await refusal_code(getattr(rig.store.operators, verb)("tc_nobody")) == "nao_encontrado"


async def test_of_two_people_who_want_one_ticket_tried_again_one_is_refused(rig: Rig, neighbour: Rig) -> None:
    for number in range(8):
        intent = replace(TICKET, equal_on=(f"{number}",))
        calls = []
        for each in ("a", "b"):
            admitted = await rig.admit(await rig.run(f"run_{number}{each}"), 1, intent)
            calls.append(await rig.settled(await rig.attempted(admitted), REFUSED))
        retries = [d.store.operators.retry(c.call_id) for d, c in zip((rig, neighbour), calls, strict=True)]
        outcomes = await asyncio.gather(*retries, return_exceptions=True)
        assert sorted(map(repr, outcomes)) == ["None", "RequestRefused('estado_incompativel')"]


@postgresql
async def test_a_call_admitted_while_its_equal_is_tried_again_waits_for_it(rig: Rig, neighbour: Rig) -> None:
    failed = await _with(rig, REFUSED)
    run = await rig.run("run_2")
    async with rig.store.database.write() as deciding:
        await rig.store.database.serialise(deciding, "c1")
        retrying = asyncio.create_task(neighbour.store.operators.retry(failed.call_id))
        await until_one_waits(rig)
        admitting = asyncio.create_task(rig.admit(run))
        await until_one_waits(rig, how_many=2)
    await retrying
    admitted = await admitting
    assert (admitted.equal_to, admitted.waits) == (failed.call_id, True)


# ------------------------------------------------------------------------------------- a protocolo by hand


@pytest.mark.parametrize("outcome", [REFUSED, AMBIGUOUS, UNKNOWN, NO_PROTOCOL])
async def test_a_protocolo_found_by_a_person_completes_a_ticket_and_the_bot_hears_it_late(
    open_rig: OpenRig, outcome: Outcome
) -> None:
    rig = await open_rig(owner=True, CRM_LOOKUP_URL="http://127.0.0.1:9/lookup", **BOT)
    await rig.conversation()
    record = await _with(rig, outcome)
    await rig.store.operators.resolve(record.call_id, PROTOCOLO)
    after = await rig.store.calls.get(record.call_id)
    assert (after.state, after.error, after.protocolo) == (CallState.DONE, None, PROTOCOLO)
    assert (after.answer, after.answered_success) == (UNSENT, False)
    assert (await rig.row("calls")).due is None
    kind, data = (await rig.events())[-1]
    assert (kind, data["call_id"], data["protocolo"]) == ("ticket.opened", record.call_id, PROTOCOLO)
    assert (data["error"], data["late"]) == (None, True)


@pytest.mark.parametrize(
    "made",
    [
        _received,
        _running,
        _retried,
        _opened,
        _rejected,
        _failed_before_it_was_a_ticket,
        _handed_off,
        _waited,
    ],
)
async def test_nothing_else_is_completed_by_a_person(rig: Rig, made: Made) -> None:
    record = await made(rig)
    before = await rig.rows("calls")
    assert (
        await refusal_code(rig.store.operators.resolve(record.call_id, "90000001")) == "estado_incompativel"
    )
    assert await rig.rows("calls") == before


async def test_a_call_of_another_tool_has_no_protocolo_to_find(rig: Rig) -> None:
    forwarded = replace(TICKET, setor=None, motivo=None)
    record = await rig.settled(await rig.admit(await rig.run(), decision=forwarded), REFUSED)
    assert await refusal_code(rig.store.operators.resolve(record.call_id, PROTOCOLO)) == "estado_incompativel"


async def test_a_call_that_is_not_there_is_not_completed(rig: Rig) -> None:
    assert await refusal_code(rig.store.operators.resolve("tc_nobody", PROTOCOLO)) == "nao_encontrado"


async def test_a_protocolo_of_another_ticket_is_refused(rig: Rig) -> None:
    run = await rig.run()
    await rig.settled(await rig.attempted(await rig.admit(run, 1)), DONE)
    record = await rig.settled(await rig.attempted(await rig.admit(run, 2, OTHER_RESUMO)), UNKNOWN, LATE)
    assert await refusal_code(rig.store.operators.resolve(record.call_id, PROTOCOLO)) == "dados_invalidos"
    assert await rig.store.calls.get(record.call_id) == record
    await rig.store.operators.resolve(record.call_id, "90000001")
    assert (await rig.store.calls.get(record.call_id)).state is CallState.DONE


async def test_a_protocolo_of_an_equal_call_is_the_tickets_own(rig: Rig) -> None:
    failed = await _with(rig, AMBIGUOUS)
    await _with(rig, DONE, "run_2")
    await rig.store.operators.resolve(failed.call_id, PROTOCOLO)
    assert (await rig.store.calls.get(failed.call_id)).protocolo == PROTOCOLO


async def _refusal(operation: Awaitable[object]) -> tuple[str, str | None]:
    with pytest.raises(RequestRefused) as refused:
        await operation
    return refused.value.code, refused.value.call_id


async def test_a_protocolo_found_for_a_failed_call_ends_its_next_try_that_was_not_sent(rig: Rig) -> None:
    first = await _with(rig, REFUSED)
    unsent = await rig.admit(await rig.run("run_2"))
    waits = await rig.admit(await rig.run("run_3"))
    assert (unsent.idempotency_key, waits.waits) == (first.idempotency_key, True)
    await rig.store.operators.resolve(first.call_id, PROTOCOLO)
    for call_id in (first.call_id, unsent.call_id):
        after = await rig.store.calls.get(call_id)
        assert (after.state, after.protocolo) == (CallState.DONE, PROTOCOLO)
    assert not await rig.begins(unsent)
    left = await rig.store.calls.answer_at_deadline(unsent.call_id, LATE, UNSENT)
    assert (left.state, left.answered) == (CallState.DONE, False)
    answered = await rig.settled(unsent, DONE)
    assert (answered.answered, answered.answered_success) == (True, True)


async def test_a_protocolo_found_for_one_try_completes_the_failed_ones_as_well(rig: Rig) -> None:
    first = await _with(rig, REFUSED)
    second = await _with(rig, AMBIGUOUS, "run_2")
    await rig.store.operators.resolve(second.call_id, PROTOCOLO)
    assert (await rig.store.calls.get(first.call_id)).protocolo == PROTOCOLO


async def test_a_ticket_that_is_being_sent_is_not_completed_and_the_sending_call_is_named(rig: Rig) -> None:
    first = await _with(rig, REFUSED)
    sending = await rig.attempted(await rig.admit(await rig.run("run_2")))
    before = await rig.rows("calls")
    refusal = await _refusal(rig.store.operators.resolve(first.call_id, PROTOCOLO))
    assert refusal == ("estado_incompativel", sending.call_id)
    assert await rig.rows("calls") == before
    retry = await _refusal(rig.store.operators.retry(first.call_id))
    assert retry == ("estado_incompativel", sending.call_id)


async def test_a_ticket_that_has_a_protocolo_is_not_given_another(rig: Rig) -> None:
    failed = await _with(rig, AMBIGUOUS)
    done = await _with(rig, DONE, "run_2")
    refusal = await _refusal(rig.store.operators.resolve(failed.call_id, "90000001"))
    assert refusal == ("estado_incompativel", done.call_id)


@postgresql
async def test_a_try_that_begins_while_a_person_decides_waits_and_is_not_made(
    rig: Rig, neighbour: Rig
) -> None:
    first = await _with(rig, REFUSED)
    unsent = await rig.admit(await rig.run("run_2"))
    async with rig.store.database.write() as deciding:
        await rig.store.database.serialise(deciding, "c1")
        resolving = asyncio.create_task(neighbour.store.operators.resolve(first.call_id, PROTOCOLO))
        await until_one_waits(rig)
    await resolving
    assert not await rig.begins(unsent)


@pytest.mark.parametrize("number", [DOCUMENT, "529.982.247-25", "24999998888", "5524999998888"])
async def test_the_customers_document_or_contact_is_no_protocolo(rig: Rig, number: str) -> None:
    await rig.conversation(contact=Personal("+55 24 99999-8888"))
    record = await _with(rig, UNKNOWN)
    assert await refusal_code(rig.store.operators.resolve(record.call_id, number)) == "dados_invalidos"
    assert await rig.store.calls.get(record.call_id) == record


async def test_the_document_a_call_came_with_is_no_protocolo_when_the_conversation_has_another(
    rig: Rig,
) -> None:
    record = await _with(rig, UNKNOWN)
    await rig.conversation(client_document=Personal("11144477735"))
    assert await refusal_code(rig.store.operators.resolve(record.call_id, DOCUMENT)) == "dados_invalidos"


async def test_what_a_person_found_is_shared_by_the_calls_that_waited(rig: Rig) -> None:
    first = await _with(rig, UNKNOWN)
    waiting = await rig.settled(await rig.admit(await rig.run("run_2")), UNKNOWN, LATE)
    await rig.store.operators.resolve(first.call_id, PROTOCOLO)
    after = await rig.store.calls.get(waiting.call_id)
    assert (after.state, after.protocolo, after.answer) == (CallState.DONE, PROTOCOLO, LATE)


async def test_a_protocolo_found_for_two_tickets_at_once_completes_one(rig: Rig, neighbour: Rig) -> None:
    for number in range(8):
        await rig.conversation("c2")
        intent = replace(TICKET, equal_on=(f"{number}",), body=Personal("{}"))
        calls = [
            await rig.settled(await rig.admit(await rig.run(f"run_{number}{name}", name), 1, intent), UNKNOWN)
            for name in ("c1", "c2")
        ]
        found = f"9000000{number}"
        both = [
            d.store.operators.resolve(c.call_id, found) for d, c in zip((rig, neighbour), calls, strict=True)
        ]
        outcomes = await asyncio.gather(*both, return_exceptions=True)
        assert sorted(map(repr, outcomes)) == ["None", "RequestRefused('dados_invalidos')"]
