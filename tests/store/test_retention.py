"""What goes by itself, on both databases: payload first, the record much later, never what is at work."""

import pytest

from tests.engine.harness import Harness
from tests.fakes import COMPLETED, asks, call
from tests.store.harness import ANSWER, DONE, HANDOFF, REFUSED, REJECTION, TICKET, UNKNOWN, OpenRig, Rig
from worker.errors import RequestRefused
from worker.model import CallRecord, EventState, Outcome, Run, RunState, SweepCounts
from worker.personal import Personal
from worker.store.personal_data import retention

DAY_S = 86_400.0
OLD_PAYLOAD, OLD_RECORD = 30 * DAY_S + 60, 730 * DAY_S + 60
"""A minute older than the default RETENTION_PAYLOAD_DAYS and RETENTION_RECORD_DAYS."""

CONTACT = Personal("5524999990000")


async def _ended(rig: Rig, outcome: Outcome = DONE, run_id: str = "run_1") -> tuple[Run, CallRecord]:
    run = await rig.run(run_id)
    record = await rig.settled(await rig.attempted(await rig.admit(run)), outcome)
    assert await rig.store.runs.close(run, RunState.ENDED, "concluida", "completed")
    return run, record


async def _aged(rig: Rig, seconds: float) -> None:
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
        await rig.ago(seconds, table, column)


async def _sweep(rig: Rig) -> SweepCounts:
    return await rig.store.retention.sweep()


# ------------------------------------------------------------------------------------------------- payload


async def test_a_month_later_the_payload_is_gone_and_the_record_is_there(rig: Rig) -> None:
    await rig.conversation(contact=CONTACT)
    run = await rig.run()
    record = await rig.settled(await rig.attempted(await rig.admit(run)), DONE)
    await rig.admit(run, 2, HANDOFF)
    await rig.admit(run, 3, REJECTION)
    await rig.store.runs.close(run, RunState.ENDED, "concluida", "completed")
    await _aged(rig, OLD_PAYLOAD)
    assert await _sweep(rig) == SweepCounts(payloads=3, contacts=1)
    assert {(row.body, row.answer, row.equal_key) for row in await rig.rows("calls")} == {(None, None, None)}
    assert (await rig.row("handoffs")).motivo is None
    conversation = await rig.row("conversations")
    assert (conversation.document, conversation.contact) == (None, None)
    assert conversation.document_hash is not None
    left = await rig.row("calls", call_id=record.call_id)
    assert (left.protocolo, left.document_hash is not None) == (DONE.protocolo, True)
    assert await _sweep(rig) == SweepCounts()


async def test_what_is_younger_stays(rig: Rig) -> None:
    await rig.conversation(contact=CONTACT)
    await _ended(rig)
    await _aged(rig, 30 * DAY_S - 60)
    assert await _sweep(rig) == SweepCounts()


async def test_the_times_are_the_operators(open_rig: OpenRig) -> None:
    rig = await open_rig(owner=True, RETENTION_PAYLOAD_DAYS=1, RETENTION_RECORD_DAYS=2)
    await rig.conversation()
    await _ended(rig)
    await _aged(rig, DAY_S + 60)
    assert await _sweep(rig) == SweepCounts(payloads=1, contacts=1)
    await _aged(rig, 2 * DAY_S + 60)
    assert await _sweep(rig) == SweepCounts(calls=1, runs=1, conversations=1)


async def test_a_run_that_is_watched_keeps_everything_however_old(rig: Rig) -> None:
    await rig.conversation(contact=CONTACT)
    await rig.settled(await rig.attempted(await rig.admit(await rig.run())), DONE)
    await _aged(rig, OLD_RECORD)
    assert await _sweep(rig) == SweepCounts()
    assert (await rig.row("calls")).answer == ANSWER


async def test_a_call_that_is_under_way_keeps_everything_however_old(rig: Rig) -> None:
    run = await rig.run()
    record = await rig.attempted(await rig.admit(run))
    await rig.lost(run)
    await _aged(rig, OLD_RECORD)
    await rig.change("calls", {"finished_at": None})
    assert (await _sweep(rig)).calls == 0
    assert (await rig.store.calls.get(record.call_id)).body == TICKET.body


async def test_what_a_person_has_yet_to_decide_keeps_its_record_only(rig: Rig) -> None:
    _, record = await _ended(rig, UNKNOWN)
    await _aged(rig, OLD_RECORD)
    assert (await _sweep(rig)).payloads == 1
    assert (await _sweep(rig)).calls == 0
    with pytest.raises(RequestRefused, match="payload_expirado"):
        await rig.store.operators.retry(record.call_id)
    await rig.store.operators.resolve(record.call_id, "2510271534789012")


async def test_an_answer_that_expired_is_said_again_from_the_record(rig: Rig) -> None:
    await _ended(rig, REFUSED)
    await _aged(rig, OLD_PAYLOAD)
    await _sweep(rig)
    harness = Harness(rig.store)
    await harness.announce()
    harness.platform.script("run_1", asks(call()), COMPLETED)
    await harness.worker().run_until_idle()
    assert [told["error"] for told in harness.platform.outputs("run_1")] == ["crm_recusou"]
    assert harness.tool.performed == []


async def test_what_an_erasure_had_to_leave_is_finished_here(rig: Rig) -> None:
    run, _ = await _ended(rig)
    await rig.change("runs", {"state": "watching"}, run_id=run.ref.run_id)
    await rig.store.erasures.erase_conversation("c1", by="test")
    assert (await rig.row("calls")).answer == ANSWER
    await rig.change("runs", {"state": "ended"}, run_id=run.ref.run_id)
    await _sweep(rig)
    assert (await rig.row("calls")).answer is None


# -------------------------------------------------------------------------------------------------- record


async def test_two_years_later_nothing_is_left(open_rig: OpenRig) -> None:
    rig = await open_rig(owner=True, BOT_WEBHOOK_URL="http://127.0.0.1:9/eventos")
    await rig.conversation(contact=CONTACT)
    await _ended(rig)
    run = await rig.run("run_2")
    handed_off = await rig.admit(run, 2, HANDOFF)
    (handoff,) = await rig.rows("handoffs", call_id=handed_off.call_id)
    await rig.store.records.handoff(handoff.handoff_id, reader="ana@127.0.0.1")
    await rig.store.runs.close(run, RunState.ENDED, "concluida", "completed")
    await rig.conversation("c2")
    await rig.store.erasures.erase_conversation("c2", by="test")
    events = len(await rig.rows("outbox"))
    await _aged(rig, OLD_RECORD)
    swept = await _sweep(rig)
    assert swept == SweepCounts(
        payloads=2, contacts=1, calls=2, runs=2, conversations=1, events=events, accesses=1, erasures=1
    )
    tables = rig.store.database.tables.metadata.tables
    left = {name: len(await rig.rows(name)) for name in tables if name not in ("index_key", "upkeep")}
    assert not any(left.values()), left


async def test_a_request_nobody_has_carried_out_yet_stays(rig: Rig) -> None:
    await rig.store.erasures.request_conversation("c1", by="test")
    await rig.ago(OLD_RECORD, "erasures", "requested_at")
    assert (await _sweep(rig)).erasures == 0


async def test_delivered_events_go_with_the_payload_and_stuck_ones_with_the_record(
    open_rig: OpenRig,
) -> None:
    rig = await open_rig(owner=True, BOT_WEBHOOK_URL="http://127.0.0.1:9/eventos")
    await rig.conversation()
    await _ended(rig)
    told, ended = await rig.rows("outbox")
    await rig.change("outbox", {"state": EventState.DELIVERED}, seq=told.seq)
    await rig.change("outbox", {"state": EventState.STUCK}, seq=ended.seq)
    await rig.ago(OLD_PAYLOAD, "outbox", "created_at")
    assert (await _sweep(rig)).events == 1
    assert (await rig.row("outbox")).seq == ended.seq


async def test_a_webhook_is_remembered_as_long_as_it_may_come_again(rig: Rig) -> None:
    for name in ("wh_old", "wh_recent"):
        await rig.store.webhooks.record(name, "run_9")
    await rig.ago(73 * 3600.0 + 1, "webhook_ids", "received_at", webhook_id="wh_old")
    await rig.ago(72 * 3600.0, "webhook_ids", "received_at", webhook_id="wh_recent")
    assert await _sweep(rig) == SweepCounts(webhooks=1)
    assert (await rig.row("webhook_ids")).webhook_id == "wh_recent"


# ------------------------------------------------------------------------------------ batches, and by whom


async def test_it_goes_in_batches_until_nothing_is_left(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_BATCH", 2)
    for number in range(5):
        await rig.store.webhooks.record(f"wh_{number}", "run_9")
    await rig.ago(OLD_PAYLOAD, "webhook_ids", "received_at")
    assert (await _sweep(rig)).webhooks == 5
    assert await rig.rows("webhook_ids") == []


async def test_one_process_does_it_when_it_is_due(rig: Rig, neighbour: Rig) -> None:
    ours, theirs = rig.store.retention, neighbour.store.retention
    assert not await ours.claim(60.0)
    await ours.plan(3600.0, first=True)
    await theirs.plan(-1.0, first=True)  # planned already
    assert not await theirs.claim(60.0)
    await ours.plan(-1.0)
    assert await theirs.claim(60.0)
    assert not await ours.claim(60.0)


async def test_a_process_that_died_over_it_is_followed_by_another(rig: Rig, neighbour: Rig) -> None:
    await rig.store.retention.plan(-1.0)
    assert await rig.store.retention.claim(-1.0)
    assert await neighbour.store.retention.claim(60.0)
