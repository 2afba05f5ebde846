"""What goes by itself, on both databases: payload first, the record much later, never what is at work."""

import pytest

from tests.engine.harness import Harness
from tests.fakes import COMPLETED, asks, call
from tests.store.harness import ANSWER, DONE, HANDOFF, REFUSED, REJECTION, TICKET, UNKNOWN, Desk, OpenDesk
from worker.errors import RequestRefused
from worker.model import CallRecord, EventState, Outcome, Run, RunState, Swept
from worker.personal import Personal
from worker.store.personal_data import retention

DAY_S = 86_400.0
OLD_PAYLOAD, OLD_RECORD = 30 * DAY_S + 60, 730 * DAY_S + 60
"""A minute older than the default RETENTION_PAYLOAD_DAYS and RETENTION_RECORD_DAYS."""

CONTACT = Personal("5524999990000")


async def _ended(desk: Desk, outcome: Outcome = DONE, run_id: str = "run_1") -> tuple[Run, CallRecord]:
    run = await desk.run(run_id)
    record = await desk.settled(await desk.attempted(await desk.admit(run)), outcome)
    assert await desk.store.runs.close(run, RunState.ENDED, "concluida", "completed")
    return run, record


async def _aged(desk: Desk, seconds: float) -> None:
    """As if everything there is had happened so long ago."""
    for table, column in (
        ("conversations", "active_at"),
        ("runs", "closed_at"),
        ("calls", "received_at"),
        ("calls", "finished_at"),
        ("handoffs", "requested_at"),
        ("outbox", "created_at"),
        ("access_log", "at"),
        ("erasures", "done_at"),
    ):
        await desk.ago(seconds, table, column)


async def _sweep(desk: Desk) -> Swept:
    return await desk.store.retention.sweep()


# ------------------------------------------------------------------------------------------------- payload


async def test_a_month_later_the_payload_is_gone_and_the_record_is_there(desk: Desk) -> None:
    await desk.conversation(contact=CONTACT)
    run = await desk.run()
    record = await desk.settled(await desk.attempted(await desk.admit(run)), DONE)
    await desk.admit(run, 2, HANDOFF)
    await desk.admit(run, 3, REJECTION)
    await desk.store.runs.close(run, RunState.ENDED, "concluida", "completed")
    await _aged(desk, OLD_PAYLOAD)
    assert await _sweep(desk) == Swept(payloads=3, contacts=1)
    assert {(row.body, row.answer, row.equal_key) for row in await desk.rows("calls")} == {(None, None, None)}
    assert (await desk.row("handoffs")).motivo is None
    conversation = await desk.row("conversations")
    assert (conversation.document, conversation.contact) == (None, None)
    assert conversation.document_hash is not None
    left = await desk.row("calls", call_id=record.call_id)
    assert (left.protocolo, left.document_hash is not None) == (DONE.protocolo, True)
    assert await _sweep(desk) == Swept()


async def test_what_is_younger_stays(desk: Desk) -> None:
    await desk.conversation(contact=CONTACT)
    await _ended(desk)
    await _aged(desk, 30 * DAY_S - 60)
    assert await _sweep(desk) == Swept()


async def test_the_times_are_the_operators(open_desk: OpenDesk) -> None:
    desk = await open_desk(owner=True, RETENTION_PAYLOAD_DAYS=1, RETENTION_RECORD_DAYS=2)
    await desk.conversation()
    await _ended(desk)
    await _aged(desk, DAY_S + 60)
    assert await _sweep(desk) == Swept(payloads=1, contacts=1)
    await _aged(desk, 2 * DAY_S + 60)
    assert await _sweep(desk) == Swept(calls=1, runs=1, conversations=1)


async def test_a_run_that_is_watched_keeps_everything_however_old(desk: Desk) -> None:
    await desk.conversation(contact=CONTACT)
    await desk.settled(await desk.attempted(await desk.admit(await desk.run())), DONE)
    await _aged(desk, OLD_RECORD)
    assert await _sweep(desk) == Swept()
    assert (await desk.row("calls")).answer == ANSWER


async def test_a_call_that_is_under_way_keeps_everything_however_old(desk: Desk) -> None:
    run = await desk.run()
    record = await desk.attempted(await desk.admit(run))
    await desk.lost(run)
    await _aged(desk, OLD_RECORD)
    await desk.change("calls", {"finished_at": None})
    assert (await _sweep(desk)).calls == 0
    assert (await desk.store.calls.get(record.call_id)).body == TICKET.body


async def test_what_a_person_has_yet_to_decide_keeps_its_record_only(desk: Desk) -> None:
    _, record = await _ended(desk, UNKNOWN)
    await _aged(desk, OLD_RECORD)
    assert (await _sweep(desk)).payloads == 1
    assert (await _sweep(desk)).calls == 0
    with pytest.raises(RequestRefused, match="payload_expirado"):
        await desk.store.operators.retry(record.call_id)
    await desk.store.operators.resolve(record.call_id, "2510271534789012")


async def test_an_answer_that_expired_is_said_again_from_the_record(desk: Desk) -> None:
    await _ended(desk, REFUSED)
    await _aged(desk, OLD_PAYLOAD)
    await _sweep(desk)
    harness = Harness(desk.store)
    await harness.announce()
    harness.platform.script("run_1", asks(call()), COMPLETED)
    await harness.worker().run_until_idle()
    assert [told["error"] for told in harness.platform.outputs("run_1")] == ["crm_recusou"]
    assert harness.tool.performed == []


async def test_what_an_erasure_had_to_leave_is_finished_here(desk: Desk) -> None:
    run, _ = await _ended(desk)
    await desk.change("runs", {"state": "watching"}, run_id=run.ref.run_id)
    await desk.store.erasures.erase_conversation("c1", by="test")
    assert (await desk.row("calls")).answer == ANSWER
    await desk.change("runs", {"state": "ended"}, run_id=run.ref.run_id)
    await _sweep(desk)
    assert (await desk.row("calls")).answer is None


# -------------------------------------------------------------------------------------------------- record


async def test_two_years_later_nothing_is_left(open_desk: OpenDesk) -> None:
    desk = await open_desk(owner=True, BOT_WEBHOOK_URL="http://127.0.0.1:9/eventos")
    await desk.conversation(contact=CONTACT)
    await _ended(desk)
    run = await desk.run("run_2")
    handed_off = await desk.admit(run, 2, HANDOFF)
    (handoff,) = await desk.rows("handoffs", call_id=handed_off.call_id)
    await desk.store.records.handoff(handoff.handoff_id, reader="ana@127.0.0.1")
    await desk.store.runs.close(run, RunState.ENDED, "concluida", "completed")
    await desk.conversation("c2")
    await desk.store.erasures.erase_conversation("c2", by="test")
    events = len(await desk.rows("outbox"))
    await _aged(desk, OLD_RECORD)
    swept = await _sweep(desk)
    assert swept == Swept(
        payloads=2, contacts=1, calls=2, runs=2, conversations=1, events=events, accesses=1, erasures=1
    )
    tables = desk.store.database.tables.metadata.tables
    left = {name: len(await desk.rows(name)) for name in tables if name not in ("index_key", "upkeep")}
    assert not any(left.values()), left


async def test_a_request_nobody_has_carried_out_yet_stays(desk: Desk) -> None:
    await desk.store.erasures.request_conversation("c1", by="test")
    await desk.ago(OLD_RECORD, "erasures", "requested_at")
    assert (await _sweep(desk)).erasures == 0


async def test_delivered_events_go_with_the_payload_and_stuck_ones_with_the_record(
    open_desk: OpenDesk,
) -> None:
    desk = await open_desk(owner=True, BOT_WEBHOOK_URL="http://127.0.0.1:9/eventos")
    await desk.conversation()
    await _ended(desk)
    told, ended = await desk.rows("outbox")
    await desk.change("outbox", {"state": EventState.DELIVERED}, seq=told.seq)
    await desk.change("outbox", {"state": EventState.STUCK}, seq=ended.seq)
    await desk.ago(OLD_PAYLOAD, "outbox", "created_at")
    assert (await _sweep(desk)).events == 1
    assert (await desk.row("outbox")).seq == ended.seq


async def test_a_webhook_is_remembered_as_long_as_it_may_come_again(desk: Desk) -> None:
    for name in ("wh_old", "wh_recent"):
        await desk.store.webhooks.told(name, "run_9")
    await desk.ago(73 * 3600.0 + 1, "webhook_ids", "received_at", webhook_id="wh_old")
    await desk.ago(72 * 3600.0, "webhook_ids", "received_at", webhook_id="wh_recent")
    assert await _sweep(desk) == Swept(webhooks=1)
    assert (await desk.row("webhook_ids")).webhook_id == "wh_recent"


# ------------------------------------------------------------------------------------ batches, and by whom


async def test_it_goes_in_batches_until_nothing_is_left(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_BATCH", 2)
    for number in range(5):
        await desk.store.webhooks.told(f"wh_{number}", "run_9")
    await desk.ago(OLD_PAYLOAD, "webhook_ids", "received_at")
    assert (await _sweep(desk)).webhooks == 5
    assert await desk.rows("webhook_ids") == []


async def test_one_process_does_it_when_it_is_due(desk: Desk, neighbour: Desk) -> None:
    ours, theirs = desk.store.retention, neighbour.store.retention
    assert not await ours.claim(60.0)
    await ours.plan(3600.0, first=True)
    await theirs.plan(-1.0, first=True)  # planned already
    assert not await theirs.claim(60.0)
    await ours.plan(-1.0)
    assert await theirs.claim(60.0)
    assert not await ours.claim(60.0)


async def test_a_process_that_died_over_it_is_followed_by_another(desk: Desk, neighbour: Desk) -> None:
    await desk.store.retention.plan(-1.0)
    assert await desk.store.retention.claim(-1.0)
    assert await neighbour.store.retention.claim(60.0)
