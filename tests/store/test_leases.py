"""Calls that outlive their process: held by a lease, taken over when it lapses, on both databases."""

import asyncio
from dataclasses import replace
from typing import Any

import aiosqlite
import pytest
from sqlalchemy import select, update

from tests.store.harness import (
    DONE,
    LATE,
    LEASE_S,
    NO_PROTOCOL,
    OTHER_RESUMO,
    REFUSED,
    REJECTION,
    TICKET,
    UNKNOWN,
    UNSENT,
    OpenRig,
    Rig,
    postgresql,
    until_one_waits,
)
from worker.errors import Withdrawn
from worker.model import CallRecord, CallState, Outcome, RunState
from worker.store.sql import leases


async def _owner(rig: Rig, record: CallRecord) -> str | None:
    owner: str | None = (await rig.row("calls", call_id=record.call_id)).owner
    return owner


# ---------------------------------------------------------------------------------------------- admission


async def test_an_admitted_call_is_held_by_the_process_that_admitted_it(rig: Rig, neighbour: Rig) -> None:
    run = await rig.run()
    record = await rig.admit(run)
    assert record.owner == "me"
    assert (await neighbour.admit(run)).owner == "me"
    row = await rig.row("calls")
    assert row.lease_until - row.received_at == pytest.approx(LEASE_S, abs=1.0)


@pytest.mark.parametrize("sent", [False, True])
async def test_the_runs_next_owner_takes_over_a_call_whose_lease_has_lapsed(
    rig: Rig, neighbour: Rig, sent: bool
) -> None:
    run = await rig.run()
    record = await rig.admit(run)
    if sent:
        record = await rig.attempted(record)
    await rig.died(record)
    taken = await neighbour.admit(run)
    assert taken == replace(record, owner="other")
    assert not await rig.begins(record, record.attempts + 1)
    assert await neighbour.begins(taken, taken.attempts + 1)


async def test_a_call_that_was_given_back_is_taken_over_at_once(rig: Rig, neighbour: Rig) -> None:
    run = await rig.run()
    await rig.admit(run)
    await rig.store.calls.release("me")
    assert (await neighbour.admit(run)).owner == "other"


async def test_an_answered_call_is_taken_over_by_nobody(rig: Rig, neighbour: Rig) -> None:
    run = await rig.run()
    rejected = await rig.admit(run, 1, REJECTION)
    late = await rig.attempted(await rig.admit(run, 2))
    late = await rig.store.calls.answer_at_deadline(late.call_id, LATE, UNSENT)
    await rig.died(late)
    assert (await neighbour.admit(run, 1)).owner is None
    assert await neighbour.admit(run, 2) == late
    assert (await _owner(rig, rejected), await _owner(rig, late)) == (None, "me")


async def test_a_call_taken_over_is_sent_by_its_new_owner_alone(rig: Rig, neighbour: Rig) -> None:
    record = await rig.attempted(await rig.admit(await rig.run()), certain=True)
    await rig.died(record)
    (taken,) = await neighbour.store.calls.claim("other", 10)
    assert not await rig.begins(record, 2)
    assert await neighbour.begins(taken, 2)
    assert (await rig.store.calls.get(record.call_id)).attempts == 2


async def test_an_outcome_of_a_process_that_lost_the_call_counts_only_with_a_protocolo(
    rig: Rig, neighbour: Rig
) -> None:
    record = await rig.attempted(await rig.admit(await rig.run()), certain=False)
    await rig.died(record)
    await neighbour.claims()
    settle = rig.store.calls.settle
    with pytest.raises(Withdrawn):
        await settle(record.call_id, REFUSED, UNSENT, success=False, owner="me")
    left = await rig.store.calls.get(record.call_id)
    assert (left.state, left.owner, left.answer) == (CallState.RUNNING, "other", None)
    done = await settle(record.call_id, DONE, LATE, success=True, owner="me")
    assert (done.state, done.protocolo) == (CallState.DONE, DONE.protocolo)


async def test_an_outcome_of_the_process_that_holds_the_call_counts(rig: Rig) -> None:
    record = await rig.attempted(await rig.admit(await rig.run()), certain=True)
    closed = await rig.store.calls.settle(record.call_id, REFUSED, UNSENT, success=False, owner="me")
    assert (closed.state, closed.answer) == (CallState.FAILED, UNSENT)


# ----------------------------------------------------------------------------------------------- claiming


@pytest.mark.parametrize("state", [RunState.WATCHING, RunState.ENDED, RunState.LOST])
async def test_a_call_that_was_sent_is_claimed_whatever_became_of_its_run(
    rig: Rig, neighbour: Rig, state: RunState
) -> None:
    record = await rig.attempted(await rig.admit(await rig.run()))
    await rig.change("runs", {"state": state})
    assert await neighbour.claims() == []
    await rig.died(record)
    (claimed,) = await neighbour.store.calls.claim("other", 10)
    assert claimed == replace(record, owner="other", run_gone=state is not RunState.WATCHING)
    assert not claimed.orphaned
    assert await rig.claims() == []


async def test_a_call_that_was_answered_while_it_was_open_is_claimed_as_well(
    rig: Rig, neighbour: Rig
) -> None:
    record = await rig.attempted(await rig.admit(await rig.run()))
    await rig.store.calls.answer_at_deadline(record.call_id, LATE, UNSENT)
    await rig.died(record)
    assert await neighbour.claims() == [record.call_id]


async def test_a_call_that_was_not_sent_is_left_to_its_runs_owner_until_the_run_is_gone(
    rig: Rig, neighbour: Rig
) -> None:
    run = await rig.run()
    record = await rig.admit(run)
    await rig.died(record)
    assert await neighbour.claims() == []
    await rig.lost(run)
    (claimed,) = await neighbour.store.calls.claim("other", 10)
    assert (claimed.call_id, claimed.orphaned) == (record.call_id, True)


async def test_a_call_of_a_run_that_nobody_knows_is_claimed(rig: Rig, neighbour: Rig) -> None:
    record = await rig.admit(await rig.run())
    await rig.died(record)
    await rig.change("runs", {"run_id": "renamed"})
    assert await neighbour.claims() == [record.call_id]


async def test_a_call_that_waits_for_its_equal_is_claimed_once_its_run_is_gone(
    rig: Rig, neighbour: Rig
) -> None:
    await rig.admit(await rig.run("run_1"))
    run = await rig.run("run_2")
    waiting = await rig.admit(run)
    await rig.died(waiting)
    assert await neighbour.claims() == []
    await rig.lost(run)
    (claimed,) = await neighbour.store.calls.claim("other", 10)
    assert (claimed.call_id, claimed.waits) == (waiting.call_id, True)


async def test_a_call_that_a_person_wants_tried_again_is_claimed_at_once(rig: Rig, neighbour: Rig) -> None:
    record = await rig.settled(await rig.attempted(await rig.admit(await rig.run()), certain=True), REFUSED)
    assert await neighbour.claims() == []
    await rig.store.operators.retry(record.call_id)
    (claimed,) = await neighbour.store.calls.claim("other", 10)
    assert (claimed.call_id, claimed.state, claimed.retrying) == (record.call_id, CallState.RECEIVED, True)
    assert not claimed.orphaned


@pytest.mark.parametrize("outcome", [DONE, REFUSED, UNKNOWN, NO_PROTOCOL])
async def test_a_call_with_an_outcome_is_claimed_by_nobody(rig: Rig, outcome: Outcome) -> None:
    run = await rig.run()
    await rig.settled(await rig.attempted(await rig.admit(run, 1)), outcome)
    await rig.admit(run, 2, REJECTION)
    assert await rig.claims() == []
    rows = await rig.rows("calls")
    assert [(row.owner, row.lease_until, row.due) for row in rows] == [(None, 0, None)] * 2


async def _abandoned(rig: Rig, count: int) -> list[str]:
    """Calls that were sent by a process that died, the one due last first."""
    run = await rig.run()
    ids = []
    for number in range(count):
        intent = replace(TICKET, equal_on=(f"{number}",))
        record = await rig.attempted(await rig.admit(run, number, intent))
        await rig.died(record)
        await rig.ago(10.0 + number, "calls", "due", call_id=record.call_id)
        ids.append(record.call_id)
    return ids


async def test_calls_are_claimed_earliest_due_first_and_never_more_than_asked_for(rig: Rig) -> None:
    ids = await _abandoned(rig, 5)
    assert await rig.claims(3) == [ids[4], ids[3], ids[2]]
    assert await rig.claims(3) == [ids[1], ids[0]]
    assert await rig.claims(3) == []


async def test_processes_that_claim_side_by_side_never_share_a_call(rig: Rig, neighbour: Rig) -> None:
    ids = await _abandoned(rig, 40)

    async def claim_all(worker: Rig, owner: str) -> list[str]:
        mine: list[str] = []
        while some := await worker.store.calls.claim(owner, 3):
            mine += [record.call_id for record in some]
        return mine

    claims = [claim_all(worker, f"{n}") for n in range(4) for worker in (rig, neighbour)]
    claimed = [call_id for mine in await asyncio.gather(*claims) for call_id in mine]
    assert sorted(claimed) == sorted(ids)


@postgresql
async def test_a_claim_does_not_wait_for_a_call_that_somebody_is_changing(rig: Rig) -> None:
    ids = await _abandoned(rig, 2)
    calls = rig.store.database.tables.calls
    async with rig.store.database.write() as changing:
        await changing.execute(select(calls).where(calls.c.call_id == ids[1]).with_for_update())
        async with asyncio.timeout(20):  # what would wait here would wait for this very block
            assert await rig.claims() == [ids[0]]


@pytest.mark.parametrize("shared_database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("table", ["runs", "calls", "outbox"])
async def test_an_idle_process_reads_only_what_may_be_due(
    rig: Rig, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[tuple[str, Any]] = []
    execute = aiosqlite.Connection.execute

    def note(driver: aiosqlite.Connection, statement: str, parameters: Any = None) -> Any:
        statements.append((statement, parameters))
        return execute(driver, statement, parameters)

    monkeypatch.setattr(aiosqlite.Connection, "execute", note)
    lease = [LEASE_S] if table == "outbox" else []
    await getattr(rig.store, table).claim("me", 10, *lease)
    monkeypatch.undo()
    statement, parameters = next(each for each in statements if f"FROM {table}" in each[0])
    async with rig.store.database.read() as connection:
        plan = await connection.exec_driver_sql(f"explain query plan {statement}", tuple(parameters))
        steps = [row[3] for row in plan]
    assert any(f"ix_{table}_due" in step for step in steps)
    assert f"SCAN {table}" not in steps


# ------------------------------------------------------------------------------------- renewing, releasing


async def test_only_calls_that_are_still_ours_are_renewed(
    rig: Rig, neighbour: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_BATCH", 1)
    run = await rig.run()
    records = [await rig.admit(run, n, replace(TICKET, equal_on=(f"{n}",))) for n in range(3)]
    for record in records:
        await rig.died(record)
    taken = await neighbour.admit(run, 1)
    ids = [record.call_id for record in records]
    await rig.store.calls.renew("me", [*ids, "tc_nobody"])
    assert (await neighbour.admit(run, 0)).owner == "me"
    assert (await neighbour.admit(run, 1)).owner == "other"
    assert (await neighbour.admit(run, 2)).owner == "me"
    await neighbour.died(taken)
    assert (await rig.admit(run, 1)).owner == "me"


async def test_released_calls_have_no_owner_and_those_of_others_keep_theirs(rig: Rig, neighbour: Rig) -> None:
    run = await rig.run()
    mine = await rig.attempted(await rig.admit(run, 1))
    theirs = await neighbour.attempted(await neighbour.admit(run, 2, OTHER_RESUMO))
    await rig.store.calls.release("me")
    assert (await _owner(rig, mine), await _owner(rig, theirs)) == (None, "other")
    assert await neighbour.claims() == [mine.call_id]


@pytest.mark.parametrize("shared_database", ["sqlite"], indirect=True)
async def test_a_restart_on_sqlite_takes_calls_and_events_back_at_once(open_rig: OpenRig) -> None:
    bot = {"BOT_WEBHOOK_URL": "http://127.0.0.1:9/"}
    crashed = await open_rig(owner=True, **bot)
    await crashed.conversation()
    run = await crashed.run()
    sent = await crashed.attempted(await crashed.admit(run))
    await crashed.lost(run)
    assert len(await crashed.store.outbox.claim("me", 10, 3600.0)) == 1
    await crashed.store.close()
    restarted = await open_rig("next", owner=True, **bot)
    assert await restarted.claims() == [sent.call_id]
    assert len(await restarted.store.outbox.claim("next", 10, 30.0)) == 1


@postgresql
@pytest.mark.parametrize("verb", ["renew", "submitted", "release"])
async def test_changes_of_several_calls_at_once_do_not_deadlock(rig: Rig, verb: str) -> None:
    run = await rig.run()
    later, earlier = [await rig.admit(run, n, replace(TICKET, equal_on=(f"{n}",))) for n in (1, 2)]
    await rig.change("calls", {"call_id": "tc_b"}, call_id=later.call_id)
    await rig.change("calls", {"call_id": "tc_a"}, call_id=earlier.call_id)
    verbs = {
        "renew": lambda: rig.store.calls.renew("me", ["tc_b", "tc_a"]),
        "submitted": lambda: rig.store.runs.submitted(run, ["tc_b", "tc_a"], "queued"),
        "release": lambda: rig.store.calls.release("me"),
    }
    calls = rig.store.database.tables.calls
    async with rig.store.database.write() as other:
        await other.execute(update(calls).where(calls.c.call_id == "tc_a").values(error="a"))
        several = asyncio.create_task(verbs[verb]())
        await until_one_waits(rig)
        await other.execute(update(calls).where(calls.c.call_id == "tc_b").values(error="b"))
    await several
    assert {row.error for row in await rig.rows("calls")} == {"a", "b"}
