"""The loop's queue: runs with leases. A claim is one statement, and every time is the database's."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, Update, bindparam, case, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningUpdate

from worker.errors import Withdrawn
from worker.model import Run, RunRef, RunState
from worker.ports import LEASE_S
from worker.store.ledger.outbox import Outbox
from worker.store.personal_data.erasure import wipe_run
from worker.store.runs.arrivals import insert_watched_run
from worker.store.sql import leases
from worker.store.sql.database import Database
from worker.store.sql.statements import Statement, prepared
from worker.store.sql.tables import WATCHING, Tables, now


class Runs:
    """Implements `ports.RunStore` for one platform. It does not touch another platform's rows."""

    def __init__(self, database: Database, platform: str, outbox: Outbox) -> None:
        self._db = database
        self._platform = platform
        self._outbox = outbox
        self._tables = database.tables
        self._t = database.tables.runs

    async def claim(self, owner: str, limit: int) -> Sequence[Run]:
        """Claim due runs without an owner, earliest due first. Each claim raises the run's epoch."""
        lease = {"room": limit, "owner": owner, "lease_s": LEASE_S}
        rows = await leases.take(self._db, _any_due, _claim, self._platform, **lease)
        return [_run(row) for row in sorted(rows, key=lambda row: row.due)]

    async def renew(self, owner: str, run_ids: Iterable[str]) -> Mapping[str, int]:
        t = self._t
        rows = await leases.renew(
            self._db, t.c.run_id, run_ids, owner=owner, returning=[t.c.run_id, t.c.wake]
        )
        return {row.run_id: row.wake for row in rows}

    async def record_statuses(self, owner: str, statuses: Mapping[str, str]) -> None:
        t = self._t
        runs_of: dict[str, list[str]] = {}
        for run_id, status in statuses.items():
            runs_of.setdefault(status, []).append(run_id)
        async with self._db.write(urgent=True) as connection:
            for status, run_ids in sorted(runs_of.items()):
                owned = select(t.c.run_id).where(t.c.run_id.in_(run_ids), t.c.owner == owner)
                changed = update(t).where(leases.locked(t.c.run_id, owned, wait=True))
                await connection.execute(changed.values(platform_status=status))

    async def release(self, owner: str) -> None:
        """Give all leases back. The runs are due at once."""
        async with self._db.write() as connection:
            await leases.give_back(connection, self._t.c.run_id, owner, due=now())

    async def close(self, run: Run, state: RunState, reason: str, platform_status: str | None) -> bool:
        """End a run that this process still holds, and write the event for the bot. False if it did not end.

        An ended run has accepted its answers. A run with wake-ups after `run.wake_count` does not end: its
        lease is given back and it is due at once.
        """
        async with self._db.write() as connection:
            ended = partial(_end_run_if_not_woken, wakes_seen=run.wake_count)
            closed = await self._end(connection, run, ended, state, reason=reason, status=platform_status)
            if not closed:
                await _release_for_poll(connection, self._tables, **_lease_of(run))
            elif state is RunState.ENDED:
                await _mark_answers_submitted(connection, self._tables, run_id=run.ref.run_id)
            return closed

    async def submitted(self, run: Run, call_ids: Sequence[str], platform_status: str) -> None:
        """Record that the platform accepted these answers, even if the run has another owner meanwhile.

        They are the round after `run.rounds`. Where answers are submitted one by one, those of one poll are
        one round.
        """
        async with self._db.write() as connection:
            # The run's row first, as in `close`: the same order everywhere prevents a deadlock.
            if not self._db.sqlite:
                await _lock(connection, self._tables, run_id=run.ref.run_id)
            counts = {"rounds": run.rounds + 1, "platform_status": platform_status}
            await _count_round(connection, self._tables, **_lease_of(run), **counts)
            await self._mark_submitted(connection, call_ids)

    async def begin_submit(self, run: Run) -> bool:
        """Commit that a submit begins. True if an earlier one began whose outcome is unknown.

        Raises `Withdrawn` when this process no longer holds the run.
        """
        async with self._db.write() as connection:
            begun = (await _lock_submit(connection, self._tables, **_lease_of(run))).first()
            if begun is None:
                raise Withdrawn("the run has another owner")
            await _mark_submit_begun(connection, self._tables, run_id=run.ref.run_id)
            return begun.submit_begun_at is not None

    async def continued(
        self, run: Run, call_ids: Sequence[str], status: str, ref: RunRef, *, owner: str
    ) -> Run | None:
        """End a run that continues under a new id and hold the new run, in one transaction.

        Returns the new run. Returns None when this process no longer held the old run, whose owner finds the
        continuation itself, and when another process already holds the new run.
        """
        async with self._db.write() as connection:
            await self._db.serialise(connection, run.conversation_id, ref.run_id)
            ended = await self._end(
                connection,
                run,
                _end_run,
                RunState.ENDED,
                reason="continua",
                status=status,
                continues_as=ref.run_id,
            )
            if not ended:
                return None
            await self._mark_submitted(connection, call_ids)
            known = await connection.execute(select(self._t.c.run_id).where(self._t.c.run_id == ref.run_id))
            if known.first() is None:
                await insert_watched_run(connection, self._db, self._platform, run.conversation_id, ref)
            return await self._hold_successor(connection, run, ref, owner)

    # --------------------------------------------------------------------------------------------- within

    async def _end(
        self,
        connection: AsyncConnection,
        run: Run,
        how: Statement,
        state: RunState,
        *,
        reason: str,
        status: str | None,
        continues_as: str | None = None,
    ) -> bool:
        ending = {"reason": reason, "platform_status": status, "continues_as": continues_as}
        ended = await how(connection, self._tables, **_lease_of(run), state=state, **ending)
        if ended.rowcount == 1:
            await wipe_run(connection, self._tables, run_id=run.ref.run_id)
            event = {"run_id": run.ref.run_id, "conversation_id": run.conversation_id, **ending}
            await self._outbox.put(connection, run.conversation_id, f"run.{state}", event)
        return ended.rowcount == 1

    async def _hold_successor(
        self, connection: AsyncConnection, run: Run, ref: RunRef, owner: str
    ) -> Run | None:
        """Hold the run that continues this one, unless it has an owner or has ended."""
        this = {"run_id": ref.run_id, "conversation_id": run.conversation_id, "rounds": run.rounds + 1}
        row = (await _hold(connection, self._tables, **this, owner=owner, lease_s=LEASE_S)).first()
        return None if row is None else _run(row)

    async def _mark_submitted(self, connection: AsyncConnection, call_ids: Sequence[str]) -> None:
        for call_id in sorted(call_ids):  # in one order, as in every transaction that changes several calls
            await _mark_call_submitted(connection, self._tables, call_id=call_id)


def _lease_of(run: Run) -> dict[str, Any]:
    return {"run_id": run.ref.run_id, "lease_epoch": run.epoch}


def _lease_is_current(tables: Tables) -> list[ColumnElement[bool]]:
    t = tables.runs
    lease = [t.c.run_id == bindparam("run_id"), t.c.lease_epoch == bindparam("lease_epoch")]
    return [*lease, t.c.state == RunState.WATCHING]


def _run_columns(tables: Tables) -> list[ColumnElement[Any]]:
    t = tables.runs
    columns = [t.c.run_id, t.c.thread_id, t.c.conversation_id, t.c.lease_epoch, t.c.rounds, t.c.due]
    return [*columns, t.c.wake, (now() - t.c.registered_at).label("known_s")]


def _due(tables: Tables, platform: str) -> Select[Any]:
    t = tables.runs
    watched = select(t.c.run_id).where(t.c.state == WATCHING, t.c.platform == platform, t.c.due <= now())
    return watched.where(leases.unheld(t)).order_by(t.c.due)


_any_due = leases.any_of(_due)


@prepared
def _claim(tables: Tables, platform: str) -> ReturningUpdate[Any]:
    return _with_lease(tables, leases.taking(tables.runs.c.run_id, _due(tables, platform)))


@prepared
def _hold(tables: Tables) -> ReturningUpdate[Any]:
    t = tables.runs
    this = [t.c.run_id == bindparam("run_id"), t.c.conversation_id == bindparam("conversation_id")]
    unheld = update(t).where(*this, t.c.state == WATCHING, leases.unheld(t))
    return _with_lease(tables, unheld.values(rounds=bindparam("rounds")))


def _with_lease(tables: Tables, which: Update) -> ReturningUpdate[Any]:
    taken = which.values(**leases.HELD, lease_epoch=tables.runs.c.lease_epoch + 1)
    return taken.returning(*_run_columns(tables))


@prepared
def _release_for_poll(tables: Tables) -> Update:
    return update(tables.runs).where(*_lease_is_current(tables)).values(due=now(), **leases.GIVEN_BACK)


@prepared
def _lock_submit(tables: Tables) -> Select[Any]:
    return select(tables.runs.c.submit_begun_at).where(*_lease_is_current(tables)).with_for_update()


@prepared
def _mark_submit_begun(tables: Tables) -> Update:
    return (
        update(tables.runs).where(tables.runs.c.run_id == bindparam("run_id")).values(submit_begun_at=now())
    )


@prepared
def _lock(tables: Tables) -> Select[Any]:
    return select(tables.runs.c.run_id).where(tables.runs.c.run_id == bindparam("run_id")).with_for_update()


@prepared
def _count_round(tables: Tables) -> Update:
    t, this_round = tables.runs, bindparam("rounds", type_=Integer)
    rounds = case((t.c.rounds < this_round, this_round), else_=t.c.rounds)
    return (
        update(t)
        .where(*_lease_is_current(tables))
        .values(rounds=rounds, platform_status=bindparam("platform_status"))
    )


def _ending(tables: Tables) -> Update:
    columns = ("state", "reason", "platform_status", "continues_as")
    ending: dict[str, Any] = {column: bindparam(column) for column in columns}
    ended = update(tables.runs).where(*_lease_is_current(tables))
    return ended.values(**ending, closed_at=now(), **leases.GIVEN_BACK)


@prepared
def _end_run(tables: Tables) -> Update:
    return _ending(tables)


@prepared
def _end_run_if_not_woken(tables: Tables) -> Update:
    return _ending(tables).where(tables.runs.c.wake <= bindparam("wakes_seen"))


@prepared
def _mark_call_submitted(tables: Tables) -> Update:
    calls = tables.calls
    this = update(calls).where(calls.c.call_id == bindparam("call_id"), calls.c.submitted_at.is_(None))
    return this.values(submitted_at=now())


@prepared
def _mark_answers_submitted(tables: Tables) -> Update:
    calls = tables.calls
    answered = select(calls.c.call_id).where(
        calls.c.run_id == bindparam("run_id"),
        calls.c.answered_at.is_not(None),
        calls.c.submitted_at.is_(None),
    )
    taken = update(calls).where(leases.locked(calls.c.call_id, answered, wait=True))
    return taken.values(submitted_at=now())


def _run(row: Any) -> Run:
    return Run(
        ref=RunRef(row.run_id, row.thread_id),
        conversation_id=row.conversation_id,
        epoch=row.lease_epoch,
        rounds=row.rounds,
        known_s=row.known_s,
        wake_count=row.wake,
    )
