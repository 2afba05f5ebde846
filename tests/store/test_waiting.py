"""What waits, counted on both databases."""

from dataclasses import replace

import pytest
from sqlalchemy import text

from tests.store.harness import BOT, DONE, HANDOFF, TICKET, OpenRig, Rig
from worker.views import Waiting


async def test_where_nothing_waits_every_figure_is_zero(rig: Rig) -> None:
    assert await rig.store.records.waiting() == Waiting()


async def test_the_oldest_event_not_taken_and_those_given_up_are_told_apart(open_rig: OpenRig) -> None:
    rig = await open_rig(owner=True, **BOT)
    await rig.conversation()
    run = await rig.run()
    for number in range(3):
        ticket = replace(TICKET, equal_on=(f"{number}",))
        await rig.settled(await rig.admit(run, number, ticket), DONE)
        await rig.ago(60.0 * (number + 1), "outbox", "created_at", seq=number + 1)
    taken, given_up, _ = await rig.rows("outbox")
    await rig.change("outbox", {"state": "delivered"}, seq=taken.seq)
    await rig.change("outbox", {"state": "stuck"}, seq=given_up.seq)
    waiting = await rig.store.records.waiting()
    assert waiting.oldest_event_s == pytest.approx(180.0, abs=30)
    assert waiting.stuck_events == 1


async def test_a_hand_off_waits_until_somebody_accepts_it(rig: Rig) -> None:
    run = await rig.run()
    for number, age_s in ((1, 300.0), (2, 100.0)):
        record = await rig.admit(run, number, replace(HANDOFF, equal_on=(f"{number}",)))
        await rig.ago(age_s, "handoffs", "requested_at", call_id=record.call_id)
    first, *_ = sorted(await rig.rows("handoffs"), key=lambda row: float(row.requested_at))
    before = await rig.store.records.waiting()
    await rig.store.handoffs.accept(first.handoff_id)
    after = await rig.store.records.waiting()
    assert before.oldest_handoff_s == pytest.approx(300.0, abs=30)
    assert (before.handoffs, after.handoffs) == (2, 1)
    assert after.oldest_handoff_s == pytest.approx(100.0, abs=30)


@pytest.mark.parametrize("shared_database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("table", "state", "index"),
    [("outbox", "stuck", "ix_outbox_stuck"), ("handoffs", "requested", "ix_handoffs_due")],
)
async def test_what_was_delivered_and_closed_is_not_read_for_it(
    rig: Rig, table: str, state: str, index: str
) -> None:
    query = f"explain query plan select count(*) from {table} where state = '{state}'"
    async with rig.store.database.read() as connection:
        plan = " ".join(str(row) for row in await connection.execute(text(query)))
    assert index in plan
