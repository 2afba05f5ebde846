"""Events for the bot: written with what they tell of, delivered in order, on both databases."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from tests.store.harness import (
    AMBIGUOUS,
    ANSWER,
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
)
from worker.errors import StoreError
from worker.model import CallRecord, Event, Outcome, RunRef, RunState
from worker.personal import Personal

LEASE_S = 30.0


@pytest.fixture
async def bot_rig(open_rig: OpenRig) -> Rig:
    """A process whose bot wants events, with the conversation `c1`."""
    rig = await open_rig(owner=True, **BOT)
    await rig.conversation()
    return rig


def _ticket(record: CallRecord, **values: object) -> dict[str, object]:
    return {
        "call_id": record.call_id,
        "run_id": record.run_id,
        "conversation_id": "c1",
        "setor": "FINANCEIRO",
        "motivo": "PAGAMENTO",
        **values,
    }


# --------------------------------------------------------------------------------------------- what is told


@pytest.mark.parametrize(
    ("outcome", "kind", "protocolo"),
    [
        (DONE, "ticket.opened", PROTOCOLO),
        (REFUSED, "ticket.failed", None),
        (UNKNOWN, "ticket.unknown", None),
        (NO_PROTOCOL, "ticket.no_protocol", None),
    ],
)
async def test_the_bot_is_notified_of_the_outcome_of_a_ticket(
    bot_rig: Rig, outcome: Outcome, kind: str, protocolo: str | None
) -> None:
    record = await bot_rig.settled(await bot_rig.attempted(await bot_rig.admit(await bot_rig.run())), outcome)
    data = _ticket(record, protocolo=protocolo, error=outcome.error, late=False)
    assert await bot_rig.events() == [(kind, data)]


async def test_the_bot_is_notified_of_a_hand_off_once_it_is_queued(bot_rig: Rig) -> None:
    record = await bot_rig.admit(await bot_rig.run(), decision=HANDOFF)
    handoff = await bot_rig.row("handoffs")
    data = {
        "handoff_id": handoff.handoff_id,
        "call_id": record.call_id,
        "run_id": "run_1",
        "conversation_id": "c1",
        "departamento": "financeiro",
        "opens_at": None,
    }
    assert await bot_rig.events() == [("handoff.requested", data)]


@pytest.mark.parametrize("state", [RunState.ENDED, RunState.LOST])
async def test_the_bot_is_notified_once_how_a_run_ended(bot_rig: Rig, state: RunState) -> None:
    run = await bot_rig.run()
    for _ in range(2):
        await bot_rig.store.runs.close(run, state, "motivo_qualquer", "completed")
    data = {
        "run_id": "run_1",
        "conversation_id": "c1",
        "reason": "motivo_qualquer",
        "platform_status": "completed",
        "continues_as": None,
    }
    assert await bot_rig.events() == [(f"run.{state.value}", data)]


async def test_the_bot_is_notified_where_a_conversation_continues(bot_rig: Rig) -> None:
    run, goes_on = await bot_rig.run(), RunRef("resp_2", None)
    await bot_rig.store.runs.continued(run, [], "completed", goes_on, owner="me")
    ((kind, data),) = await bot_rig.events()
    assert (kind, data["run_id"], data["reason"]) == ("run.ended", "run_1", "continua")
    assert data["continues_as"] == "resp_2"


async def test_an_event_says_when_with_an_offset_and_has_an_id_of_its_own(bot_rig: Rig) -> None:
    await bot_rig.lost(await bot_rig.run("run_1"))
    await bot_rig.lost(await bot_rig.run("run_2"))
    rows = await bot_rig.rows("outbox")
    assert len({row.event_id for row in rows}) == 2
    for row in rows:
        content = json.loads(row.body)
        assert sorted(content) == ["data", "timestamp", "type"]
        assert datetime.fromisoformat(content["timestamp"]).utcoffset() == timedelta(0)


async def test_events_carry_nothing_personal(bot_rig: Rig) -> None:
    await bot_rig.conversation(contact=Personal("5524911112222"))
    run = await bot_rig.run()
    await bot_rig.admit(run, 1, replace(HANDOFF, body=Personal("Marcada quer falar")))
    await bot_rig.settled(await bot_rig.attempted(await bot_rig.admit(run, 2)), DONE, Personal("Maria pagou"))
    await bot_rig.lost(run)
    bodies = "".join(row.body for row in await bot_rig.rows("outbox"))
    assert PROTOCOLO in bodies
    assert [mark for mark in (DOCUMENT, "5524911112222", "Marcada", "Maria", "maria") if mark in bodies] == []


# ---------------------------------------------------------------------------------------------------- late


async def test_an_outcome_after_the_model_was_answered_otherwise_is_late(bot_rig: Rig) -> None:
    record = await bot_rig.attempted(await bot_rig.admit(await bot_rig.run()))
    await bot_rig.store.calls.answer_at_deadline(record.call_id, LATE, UNSENT)
    assert await bot_rig.events() == []
    await bot_rig.settled(record, UNKNOWN)
    await bot_rig.settled(record, DONE)
    late = [(kind, data["protocolo"], data["late"]) for kind, data in await bot_rig.events()]
    assert late == [("ticket.unknown", None, True), ("ticket.opened", PROTOCOLO, True)]


async def test_a_failure_that_the_model_learns_of_at_its_deadline_is_not_late(bot_rig: Rig) -> None:
    record = await bot_rig.admit(await bot_rig.run())
    await bot_rig.store.calls.answer_at_deadline(record.call_id, LATE, UNSENT)
    data = _ticket(record, protocolo=None, error="crm_indisponivel", late=False)
    assert await bot_rig.events() == [("ticket.failed", data)]


async def test_a_ticket_opened_after_its_run_was_lost_is_late(bot_rig: Rig) -> None:
    run = await bot_rig.run()
    record = await bot_rig.attempted(await bot_rig.admit(run))
    await bot_rig.lost(run)
    await bot_rig.settled(record, DONE)
    _, (kind, data) = await bot_rig.events()
    assert (kind, data["protocolo"], data["late"]) == ("ticket.opened", PROTOCOLO, True)


# --------------------------------------------------------------------------------------------- not told of


async def test_nothing_is_written_for_a_bot_that_wants_no_events(rig: Rig) -> None:
    run = await rig.run()
    await rig.admit(run, 1, HANDOFF)
    await rig.settled(await rig.attempted(await rig.admit(run, 2)), DONE)
    await rig.lost(run)
    assert await rig.rows("outbox") == []


@pytest.mark.parametrize("outcome", [DONE, UNKNOWN, AMBIGUOUS])
async def test_an_equal_call_that_waited_tells_nothing(bot_rig: Rig, outcome: Outcome) -> None:
    run = await bot_rig.run()
    first, waiting = await bot_rig.admit(run, 1), await bot_rig.admit(run, 2)
    handed_off = [await bot_rig.admit(run, n, HANDOFF) for n in (3, 4)]
    await bot_rig.settled(await bot_rig.attempted(first), outcome)
    await bot_rig.settled(waiting, outcome)
    await bot_rig.settled(handed_off[1], Outcome(DONE.state))
    told = [data["call_id"] for _, data in await bot_rig.events()]
    assert told == [handed_off[0].call_id, first.call_id]


async def test_the_next_try_of_a_failed_ticket_reports_its_outcome(bot_rig: Rig) -> None:
    await bot_rig.settled(await bot_rig.attempted(await bot_rig.admit(await bot_rig.run())), REFUSED)
    await bot_rig.settled(await bot_rig.attempted(await bot_rig.admit(await bot_rig.run("run_2"))), DONE)
    assert [kind for kind, _ in await bot_rig.events()] == ["ticket.failed", "ticket.opened"]


async def test_what_the_model_must_correct_and_calls_of_other_tools_tell_nothing(bot_rig: Rig) -> None:
    run = await bot_rig.run()
    await bot_rig.admit(run, 1, REJECTION)
    forwarded = replace(TICKET, setor=None, motivo=None)
    await bot_rig.settled(await bot_rig.attempted(await bot_rig.admit(run, 2, forwarded)), DONE)
    assert await bot_rig.events() == []


async def test_an_outcome_that_changes_nothing_tells_nothing_more(bot_rig: Rig) -> None:
    record = await bot_rig.attempted(await bot_rig.admit(await bot_rig.run()))
    for outcome in (DONE, REFUSED, DONE, replace(DONE, protocolo="90000001")):
        await bot_rig.settled(record, outcome)
    assert [kind for kind, _ in await bot_rig.events()] == ["ticket.opened"]


async def test_an_event_that_cannot_be_written_undoes_what_it_tells_of(bot_rig: Rig) -> None:
    run = await bot_rig.run()
    record = await bot_rig.attempted(await bot_rig.admit(run))
    async with bot_rig.store.database.write() as connection:
        await connection.exec_driver_sql("drop table outbox")
    with pytest.raises(StoreError):
        await bot_rig.settled(record, DONE)
    with pytest.raises(StoreError):
        await bot_rig.admit(run, 2, HANDOFF)
    with pytest.raises(StoreError):
        await bot_rig.store.runs.close(run, RunState.LOST, "cancelada", "cancelled")
    assert await bot_rig.store.calls.get(record.call_id) == record
    assert len(await bot_rig.rows("calls")) == 1
    assert (await bot_rig.row("runs")).state == "watching"


# ---------------------------------------------------------------------------------------------- delivering


async def _written(rig: Rig, *conversations: str) -> list[str]:
    """One event after another, of these conversations; their ids."""
    for number, name in enumerate(conversations):
        await rig.conversation(name)
        await rig.lost(await rig.run(f"run_{number}", name))
    return [row.event_id for row in await rig.rows("outbox")]


async def _claimed(rig: Rig, limit: int = 100) -> list[Event]:
    return sorted(await rig.store.outbox.claim(rig.name, limit, LEASE_S), key=lambda event: event.event_id)


def _ids(events: Sequence[Event]) -> set[str]:
    return {event.event_id for event in events}


async def test_an_event_is_claimed_with_its_body_and_its_tries(bot_rig: Rig) -> None:
    (event_id,) = await _written(bot_rig, "c1")
    (event,) = await _claimed(bot_rig)
    assert event == Event(event_id, (await bot_rig.row("outbox")).body, 0, bot_rig.name)


async def test_the_oldest_event_of_each_conversation_goes_first(bot_rig: Rig) -> None:
    first, second, elsewhere, third = await _written(bot_rig, "c1", "c1", "c2", "c1")
    claimed = await _claimed(bot_rig)
    assert _ids(claimed) == {first, elsewhere}
    assert await _claimed(bot_rig) == []
    for event in claimed:
        await bot_rig.store.outbox.delivered(event, "http_204")
    (claimed_next,) = await _claimed(bot_rig)
    assert claimed_next.event_id == second
    await bot_rig.store.outbox.delivered(claimed_next, "http_200")
    assert _ids(await _claimed(bot_rig)) == {third}
    row = await bot_rig.row("outbox", event_id=first)
    assert (row.state, row.result, row.owner) == ("delivered", "http_204", None)
    assert row.delivered_at >= row.created_at


async def test_no_more_events_are_claimed_than_asked_for_oldest_first(bot_rig: Rig) -> None:
    ids = await _written(bot_rig, "c1", "c2", "c3")
    assert _ids(await _claimed(bot_rig, 2)) == set(ids[:2])
    assert _ids(await _claimed(bot_rig, 2)) == {ids[2]}


async def test_an_event_that_was_not_delivered_is_tried_again_later_and_before_those_behind_it(
    bot_rig: Rig,
) -> None:
    first, _ = await _written(bot_rig, "c1", "c1")
    (event,) = await _claimed(bot_rig)
    await bot_rig.store.outbox.retry(event, "http_503", 60.0)
    assert await _claimed(bot_rig) == []
    row = await bot_rig.row("outbox", event_id=first)
    assert (row.state, row.result, row.tries) == ("pending", "http_503", 1)
    assert row.due - await bot_rig.time() == pytest.approx(60.0, abs=5.0)
    await bot_rig.ago(0.0, "outbox", "due")
    (again,) = await _claimed(bot_rig)
    assert (again.event_id, again.tries, again.body) == (first, 1, event.body)


async def test_an_event_that_needs_a_person_is_kept_and_the_next_one_goes(bot_rig: Rig) -> None:
    first, second = await _written(bot_rig, "c1", "c1")
    (event,) = await _claimed(bot_rig)
    await bot_rig.store.outbox.give_up(event, "ConnectError")
    assert _ids(await _claimed(bot_rig)) == {second}
    row = await bot_rig.row("outbox", event_id=first)
    assert (row.state, row.result) == ("stuck", "ConnectError")


async def test_an_event_whose_process_died_is_delivered_by_another(bot_rig: Rig, open_rig: OpenRig) -> None:
    beside = await open_rig("other", **BOT)
    (event_id,) = await _written(bot_rig, "c1")
    await _claimed(bot_rig)
    assert await _claimed(beside) == []
    await bot_rig.ago(1.0, "outbox", "lease_until")
    assert _ids(await _claimed(beside)) == {event_id}


async def test_what_was_delivered_stays_so_whatever_a_slow_process_says(
    bot_rig: Rig, open_rig: OpenRig
) -> None:
    beside = await open_rig("other", **BOT)
    await _written(bot_rig, "c1")
    (slow,) = await _claimed(bot_rig)
    await bot_rig.ago(1.0, "outbox", "lease_until")
    (event,) = await _claimed(beside)
    await beside.store.outbox.delivered(event, "http_200")
    await bot_rig.store.outbox.give_up(slow, "timeout")
    await bot_rig.store.outbox.retry(slow, "timeout", 5.0)
    row = await bot_rig.row("outbox")
    assert (row.state, row.result, row.tries) == ("delivered", "http_200", 0)


async def test_a_slow_process_has_no_say_about_an_event_that_another_has_taken_over(
    bot_rig: Rig, open_rig: OpenRig
) -> None:
    beside = await open_rig("other", **BOT)
    await _written(bot_rig, "c1")
    (slow,) = await _claimed(bot_rig)
    await bot_rig.ago(1.0, "outbox", "lease_until")
    assert await _claimed(beside)
    for say in (
        bot_rig.store.outbox.retry(slow, "timeout", 5.0),
        bot_rig.store.outbox.give_up(slow, "eof"),
    ):
        await say
        row = await bot_rig.row("outbox")
        assert (row.state, row.owner, row.tries, row.result) == ("pending", "other", 0, None)
        assert row.lease_until > await bot_rig.time()
    await bot_rig.store.outbox.delivered(slow, "http_200")
    assert (await bot_rig.row("outbox")).state == "delivered"


async def test_an_event_is_claimed_by_one_process(bot_rig: Rig, open_rig: OpenRig) -> None:
    beside = await open_rig("other", **BOT)
    ids = await _written(bot_rig, *(f"d{number}" for number in range(30)))

    async def claim_all(worker: Rig) -> list[str]:
        mine: list[str] = []
        while some := await worker.store.outbox.claim(worker.name, 3, LEASE_S):
            mine += [event.event_id for event in some]
        return mine

    claims = [claim_all(worker) for _ in range(4) for worker in (bot_rig, beside)]
    claimed = [event_id for mine in await asyncio.gather(*claims) for event_id in mine]
    assert sorted(claimed) == sorted(ids)


@postgresql
async def test_a_claim_does_not_wait_for_an_event_that_somebody_is_changing(bot_rig: Rig) -> None:
    first, second = await _written(bot_rig, "c1", "c2")
    outbox = bot_rig.store.database.tables.outbox
    async with bot_rig.store.database.write() as changing:
        await changing.execute(select(outbox).where(outbox.c.event_id == first).with_for_update())
        async with asyncio.timeout(20):  # what would wait here would wait for this very block
            assert _ids(await _claimed(bot_rig)) == {second}


async def test_events_of_one_ticket_are_in_the_order_of_its_outcomes(bot_rig: Rig, open_rig: OpenRig) -> None:
    beside = await open_rig("other", **BOT)
    for number in range(5):
        intent = replace(OTHER_RESUMO, equal_on=(f"{number}",))
        record = await bot_rig.attempted(await bot_rig.admit(await bot_rig.run(f"run_{number}"), 1, intent))
        await asyncio.gather(bot_rig.settled(record, UNKNOWN), beside.settled(record, DONE, ANSWER))
    events = [(data["call_id"], kind) for kind, data in await bot_rig.events()]
    for call_id in {call_id for call_id, _ in events}:
        kinds = [kind for each, kind in events if each == call_id]
        assert kinds in (["ticket.opened"], ["ticket.unknown", "ticket.opened"])
