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
    Desk,
    OpenDesk,
    until_one_waits,
)
from worker.errors import Withdrawn
from worker.model import CallRecord, CallState, Outcome, RunState
from worker.store.sql import leases

postgresql = pytest.mark.parametrize("shared_database", ["postgresql"], indirect=True)
"""For what only row locks can get wrong."""


async def _owner(desk: Desk, record: CallRecord) -> str | None:
    owner: str | None = (await desk.row("calls", call_id=record.call_id)).owner
    return owner


# ---------------------------------------------------------------------------------------------- admission


async def test_an_admitted_call_is_held_by_the_process_that_admitted_it(desk: Desk, neighbour: Desk) -> None:
    run = await desk.run()
    record = await desk.admit(run)
    assert record.owner == "me"
    assert (await neighbour.admit(run)).owner == "me"
    row = await desk.row("calls")
    assert row.lease_until - row.received_at == pytest.approx(LEASE_S, abs=1.0)


@pytest.mark.parametrize("sent", [False, True])
async def test_the_runs_next_owner_takes_over_a_call_whose_lease_has_lapsed(
    desk: Desk, neighbour: Desk, sent: bool
) -> None:
    run = await desk.run()
    record = await desk.admit(run)
    if sent:
        record = await desk.attempted(record)
    await desk.died(record)
    taken = await neighbour.admit(run)
    assert taken == replace(record, owner="other")
    assert not await desk.begins(record, record.attempts + 1)
    assert await neighbour.begins(taken, taken.attempts + 1)


async def test_a_call_that_was_given_back_is_taken_over_at_once(desk: Desk, neighbour: Desk) -> None:
    run = await desk.run()
    await desk.admit(run)
    await desk.store.calls.release("me")
    assert (await neighbour.admit(run)).owner == "other"


async def test_an_answered_call_is_taken_over_by_nobody(desk: Desk, neighbour: Desk) -> None:
    run = await desk.run()
    rejected = await desk.admit(run, 1, REJECTION)
    late = await desk.attempted(await desk.admit(run, 2))
    late = await desk.store.calls.answer_at_deadline(late.call_id, LATE, UNSENT)
    await desk.died(late)
    assert (await neighbour.admit(run, 1)).owner is None
    assert await neighbour.admit(run, 2) == late
    assert (await _owner(desk, rejected), await _owner(desk, late)) == (None, "me")


async def test_a_call_taken_over_is_sent_by_its_new_owner_alone(desk: Desk, neighbour: Desk) -> None:
    record = await desk.attempted(await desk.admit(await desk.run()), certain=True)
    await desk.died(record)
    (taken,) = await neighbour.store.calls.claim("other", 10, LEASE_S)
    assert not await desk.begins(record, 2)
    assert await neighbour.begins(taken, 2)
    assert (await desk.store.calls.get(record.call_id)).attempts == 2


async def test_an_outcome_of_a_process_that_lost_the_call_counts_only_with_a_protocolo(
    desk: Desk, neighbour: Desk
) -> None:
    record = await desk.attempted(await desk.admit(await desk.run()), certain=False)
    await desk.died(record)
    await neighbour.claims()
    settle = desk.store.calls.settle
    with pytest.raises(Withdrawn):
        await settle(record.call_id, REFUSED, UNSENT, success=False, owner="me")
    left = await desk.store.calls.get(record.call_id)
    assert (left.state, left.owner, left.answer) == (CallState.RUNNING, "other", None)
    done = await settle(record.call_id, DONE, LATE, success=True, owner="me")
    assert (done.state, done.protocolo) == (CallState.DONE, DONE.protocolo)


async def test_an_outcome_of_the_process_that_holds_the_call_counts(desk: Desk) -> None:
    record = await desk.attempted(await desk.admit(await desk.run()), certain=True)
    closed = await desk.store.calls.settle(record.call_id, REFUSED, UNSENT, success=False, owner="me")
    assert (closed.state, closed.answer) == (CallState.FAILED, UNSENT)


# ----------------------------------------------------------------------------------------------- claiming


@pytest.mark.parametrize("state", [RunState.WATCHING, RunState.ENDED, RunState.LOST])
async def test_a_call_that_was_sent_is_claimed_whatever_became_of_its_run(
    desk: Desk, neighbour: Desk, state: RunState
) -> None:
    record = await desk.attempted(await desk.admit(await desk.run()))
    await desk.change("runs", {"state": state})
    assert await neighbour.claims() == []
    await desk.died(record)
    (claimed,) = await neighbour.store.calls.claim("other", 10, LEASE_S)
    assert claimed == replace(record, owner="other", run_gone=state is not RunState.WATCHING)
    assert not claimed.orphaned
    assert await desk.claims() == []


async def test_a_call_that_was_answered_while_it_was_open_is_claimed_as_well(
    desk: Desk, neighbour: Desk
) -> None:
    record = await desk.attempted(await desk.admit(await desk.run()))
    await desk.store.calls.answer_at_deadline(record.call_id, LATE, UNSENT)
    await desk.died(record)
    assert await neighbour.claims() == [record.call_id]


async def test_a_call_that_was_not_sent_is_left_to_its_runs_owner_until_the_run_is_gone(
    desk: Desk, neighbour: Desk
) -> None:
    run = await desk.run()
    record = await desk.admit(run)
    await desk.died(record)
    assert await neighbour.claims() == []
    await desk.lost(run)
    (claimed,) = await neighbour.store.calls.claim("other", 10, LEASE_S)
    assert (claimed.call_id, claimed.orphaned) == (record.call_id, True)


async def test_a_call_of_a_run_that_nobody_knows_is_claimed(desk: Desk, neighbour: Desk) -> None:
    record = await desk.admit(await desk.run())
    await desk.died(record)
    await desk.change("runs", {"run_id": "renamed"})
    assert await neighbour.claims() == [record.call_id]


async def test_a_call_that_waits_for_its_equal_is_claimed_once_its_run_is_gone(
    desk: Desk, neighbour: Desk
) -> None:
    await desk.admit(await desk.run("run_1"))
    run = await desk.run("run_2")
    waiting = await desk.admit(run)
    await desk.died(waiting)
    assert await neighbour.claims() == []
    await desk.lost(run)
    (claimed,) = await neighbour.store.calls.claim("other", 10, LEASE_S)
    assert (claimed.call_id, claimed.waits) == (waiting.call_id, True)


async def test_a_call_that_a_person_wants_tried_again_is_claimed_at_once(desk: Desk, neighbour: Desk) -> None:
    record = await desk.settled(
        await desk.attempted(await desk.admit(await desk.run()), certain=True), REFUSED
    )
    assert await neighbour.claims() == []
    await desk.store.operators.retry(record.call_id)
    (claimed,) = await neighbour.store.calls.claim("other", 10, LEASE_S)
    assert (claimed.call_id, claimed.state, claimed.retrying) == (record.call_id, CallState.RECEIVED, True)
    assert not claimed.orphaned


@pytest.mark.parametrize("outcome", [DONE, REFUSED, UNKNOWN, NO_PROTOCOL])
async def test_a_call_with_an_outcome_is_claimed_by_nobody(desk: Desk, outcome: Outcome) -> None:
    run = await desk.run()
    await desk.settled(await desk.attempted(await desk.admit(run, 1)), outcome)
    await desk.admit(run, 2, REJECTION)
    assert await desk.claims() == []
    rows = await desk.rows("calls")
    assert [(row.owner, row.lease_until, row.due) for row in rows] == [(None, 0, None)] * 2


async def _abandoned(desk: Desk, count: int) -> list[str]:
    """Calls that were sent by a process that died, the one due last first."""
    run = await desk.run()
    ids = []
    for number in range(count):
        intent = replace(TICKET, equal_on=(f"{number}",))
        record = await desk.attempted(await desk.admit(run, number, intent))
        await desk.died(record)
        await desk.ago(10.0 + number, "calls", "due", call_id=record.call_id)
        ids.append(record.call_id)
    return ids


async def test_calls_are_claimed_earliest_due_first_and_never_more_than_asked_for(desk: Desk) -> None:
    ids = await _abandoned(desk, 5)
    assert await desk.claims(3) == [ids[4], ids[3], ids[2]]
    assert await desk.claims(3) == [ids[1], ids[0]]
    assert await desk.claims(3) == []


async def test_processes_that_claim_side_by_side_never_share_a_call(desk: Desk, neighbour: Desk) -> None:
    ids = await _abandoned(desk, 40)

    async def claim_all(worker: Desk, owner: str) -> list[str]:
        mine: list[str] = []
        while some := await worker.store.calls.claim(owner, 3, LEASE_S):
            mine += [record.call_id for record in some]
        return mine

    claims = [claim_all(worker, f"{n}") for n in range(4) for worker in (desk, neighbour)]
    claimed = [call_id for mine in await asyncio.gather(*claims) for call_id in mine]
    assert sorted(claimed) == sorted(ids)


@postgresql
async def test_a_claim_does_not_wait_for_a_call_that_somebody_is_changing(desk: Desk) -> None:
    ids = await _abandoned(desk, 2)
    calls = desk.store.database.tables.calls
    async with desk.store.database.write() as changing:
        await changing.execute(select(calls).where(calls.c.call_id == ids[1]).with_for_update())
        async with asyncio.timeout(20):  # what would wait here would wait for this very block
            assert await desk.claims() == [ids[0]]


@pytest.mark.parametrize("shared_database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("table", ["runs", "calls", "outbox"])
async def test_an_idle_process_reads_only_what_may_be_due(
    desk: Desk, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, Any]] = []
    execute = aiosqlite.Connection.execute

    def note(driver: aiosqlite.Connection, statement: str, parameters: Any = None) -> Any:
        asked.append((statement, parameters))
        return execute(driver, statement, parameters)

    monkeypatch.setattr(aiosqlite.Connection, "execute", note)
    await getattr(desk.store, table).claim("me", 10, LEASE_S)
    monkeypatch.undo()
    statement, parameters = next(each for each in asked if f"FROM {table}" in each[0])
    async with desk.store.database.read() as connection:
        plan = await connection.exec_driver_sql(f"explain query plan {statement}", tuple(parameters))
        steps = [row[3] for row in plan]
    assert any(f"ix_{table}_due" in step for step in steps)
    assert f"SCAN {table}" not in steps


# ------------------------------------------------------------------------------------- renewing, releasing


async def test_only_calls_that_are_still_ours_are_renewed(
    desk: Desk, neighbour: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_BATCH", 1)
    run = await desk.run()
    records = [await desk.admit(run, n, replace(TICKET, equal_on=(f"{n}",))) for n in range(3)]
    for record in records:
        await desk.died(record)
    taken = await neighbour.admit(run, 1)
    ids = [record.call_id for record in records]
    await desk.store.calls.renew("me", [*ids, "tc_nobody"], LEASE_S)
    assert (await neighbour.admit(run, 0)).owner == "me"
    assert (await neighbour.admit(run, 1)).owner == "other"
    assert (await neighbour.admit(run, 2)).owner == "me"
    await neighbour.died(taken)
    assert (await desk.admit(run, 1)).owner == "me"


async def test_released_calls_are_nobodys_and_those_of_others_stay_theirs(
    desk: Desk, neighbour: Desk
) -> None:
    run = await desk.run()
    mine = await desk.attempted(await desk.admit(run, 1))
    theirs = await neighbour.attempted(await neighbour.admit(run, 2, OTHER_RESUMO))
    await desk.store.calls.release("me")
    assert (await _owner(desk, mine), await _owner(desk, theirs)) == (None, "other")
    assert await neighbour.claims() == [mine.call_id]


@pytest.mark.parametrize("shared_database", ["sqlite"], indirect=True)
async def test_a_restart_on_sqlite_takes_calls_and_events_back_at_once(open_desk: OpenDesk) -> None:
    bot = {"BOT_WEBHOOK_URL": "http://127.0.0.1:9/"}
    crashed = await open_desk(owner=True, **bot)
    await crashed.conversation()
    run = await crashed.run()
    sent = await crashed.attempted(await crashed.admit(run))
    await crashed.lost(run)
    assert len(await crashed.store.outbox.claim("me", 10, 3600.0)) == 1
    await crashed.store.close()
    restarted = await open_desk("next", owner=True, **bot)
    assert await restarted.claims() == [sent.call_id]
    assert len(await restarted.store.outbox.claim("next", 10, 30.0)) == 1


@postgresql
@pytest.mark.parametrize("verb", ["renew", "submitted", "release"])
async def test_who_changes_several_calls_at_once_waits_crosswise_with_nobody(desk: Desk, verb: str) -> None:
    run = await desk.run()
    later, earlier = [await desk.admit(run, n, replace(TICKET, equal_on=(f"{n}",))) for n in (1, 2)]
    await desk.change("calls", {"call_id": "tc_b"}, call_id=later.call_id)
    await desk.change("calls", {"call_id": "tc_a"}, call_id=earlier.call_id)
    verbs = {
        "renew": lambda: desk.store.calls.renew("me", ["tc_b", "tc_a"], LEASE_S),
        "submitted": lambda: desk.store.runs.submitted(run, ["tc_b", "tc_a"], "queued"),
        "release": lambda: desk.store.calls.release("me"),
    }
    calls = desk.store.database.tables.calls
    async with desk.store.database.write() as other:
        await other.execute(update(calls).where(calls.c.call_id == "tc_a").values(error="a"))
        several = asyncio.create_task(verbs[verb]())
        await until_one_waits(desk)
        await other.execute(update(calls).where(calls.c.call_id == "tc_b").values(error="b"))
    await several
    assert {row.error for row in await desk.rows("calls")} == {"a", "b"}
