"""What waits, counted on both databases."""

from dataclasses import replace

import pytest
from sqlalchemy import text

from tests.store.harness import DONE, HANDOFF, TICKET, Desk, OpenDesk
from worker.views import Waiting

BOT = {"BOT_WEBHOOK_URL": "http://127.0.0.1:9/eventos"}


async def test_where_nothing_waits_every_figure_is_zero(desk: Desk) -> None:
    assert await desk.store.records.waiting() == Waiting()


async def test_the_oldest_event_not_taken_and_those_given_up_are_told_apart(open_desk: OpenDesk) -> None:
    desk = await open_desk(owner=True, **BOT)
    await desk.conversation()
    run = await desk.run()
    for number in range(3):
        ticket = replace(TICKET, equal_on=(f"{number}",))
        await desk.settled(await desk.admit(run, number, ticket), DONE)
        await desk.ago(60.0 * (number + 1), "outbox", "created_at", seq=number + 1)
    taken, given_up, _ = await desk.rows("outbox")
    await desk.change("outbox", {"state": "delivered"}, seq=taken.seq)
    await desk.change("outbox", {"state": "stuck"}, seq=given_up.seq)
    waiting = await desk.store.records.waiting()
    assert waiting.oldest_event_s == pytest.approx(180.0, abs=30)
    assert waiting.stuck_events == 1


async def test_a_hand_off_waits_until_somebody_accepts_it(desk: Desk) -> None:
    run = await desk.run()
    for number, age_s in ((1, 300.0), (2, 100.0)):
        record = await desk.admit(run, number, replace(HANDOFF, equal_on=(f"{number}",)))
        await desk.ago(age_s, "handoffs", "requested_at", call_id=record.call_id)
    first, *_ = sorted(await desk.rows("handoffs"), key=lambda row: float(row.requested_at))
    before = await desk.store.records.waiting()
    await desk.store.handoffs.accept(first.handoff_id)
    after = await desk.store.records.waiting()
    assert before.oldest_handoff_s == pytest.approx(300.0, abs=30)
    assert (before.handoffs, after.handoffs) == (2, 1)
    assert after.oldest_handoff_s == pytest.approx(100.0, abs=30)


@pytest.mark.parametrize("shared_database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("table", "state", "index"),
    [("outbox", "stuck", "ix_outbox_stuck"), ("handoffs", "requested", "ix_handoffs_waiting")],
)
async def test_what_was_delivered_and_closed_is_not_read_for_it(
    desk: Desk, table: str, state: str, index: str
) -> None:
    query = f"explain query plan select count(*) from {table} where state = '{state}'"
    async with desk.store.database.read() as connection:
        plan = " ".join(str(row) for row in await connection.execute(text(query)))
    assert index in plan
