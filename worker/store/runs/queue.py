"""Runs with leases: the queue of the loop. A claim is one statement, and every time is the database's."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, Update, bindparam, case, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningUpdate

from worker.errors import Withdrawn
from worker.model import Run, RunRef, RunState
from worker.store.ledger.outbox import Outbox
from worker.store.personal_data.erasure import wipe_run
from worker.store.runs.arrivals import watch_anew
from worker.store.sql import leases
from worker.store.sql.database import Database
from worker.store.sql.statements import Statement, prepared
from worker.store.sql.tables import WATCHING, Tables, now


class Runs:
    """Implements `ports.RunStore` for one platform: another platform's rows are left alone."""

    def __init__(self, database: Database, platform: str, outbox: Outbox) -> None:
        self._db = database
        self._platform = platform
        self._outbox = outbox
        self._tables = database.tables
        self._t = database.tables.runs
        self._conversations = database.tables.conversations

    async def claim(self, owner: str, limit: int, lease_s: float) -> Sequence[Run]:
        """Take due runs that nobody holds, earliest due first; each claim raises the run's epoch."""
        held = {"room": limit, "by": owner, "lease_s": lease_s}
        rows = await leases.take(self._db, _any_due, _claimed, self._platform, **held)
        return [_run(row) for row in sorted(rows, key=lambda row: row.due)]

    async def renew(self, owner: str, run_ids: Iterable[str], lease_s: float) -> Mapping[str, int]:
        """Renew leases; returns the runs that are still this owner's, and how often each was woken."""
        t = self._t
        rows = await leases.renew(
            self._db, t.c.run_id, run_ids, owner=owner, lease_s=lease_s, returning=[t.c.run_id, t.c.wake]
        )
        return {row.run_id: row.wake for row in rows}

    async def record_statuses(self, owner: str, statuses: Mapping[str, str]) -> None:
        """Keep the platform's own word for each of these runs, as far as they are this owner's."""
        t = self._t
        runs_of: dict[str, list[str]] = {}
        for run_id, status in statuses.items():
            runs_of.setdefault(status, []).append(run_id)
        async with self._db.write(urgent=True) as connection:
            for status, run_ids in sorted(runs_of.items()):
                ours = select(t.c.run_id).where(t.c.run_id.in_(run_ids), t.c.owner == owner)
                changed = update(t).where(leases.locked(t.c.run_id, ours, wait=True))
                await connection.execute(changed.values(platform_status=status))

    async def release(self, owner: str) -> None:
        """Give all leases back, due at once."""
        async with self._db.write() as connection:
            await leases.give_back(connection, self._t.c.run_id, owner, due=now())

    async def close(self, run: Run, state: RunState, reason: str, platform_status: str | None) -> bool:
        """End a run that is still ours, and tell the bot. An ended one took its answers.

        One that was announced anew, `run.woken` not knowing of it, is given back instead, to be looked at.
        """
        async with self._db.write() as connection:
            ended = partial(_ended_unheard, heard=run.woken)
            closed = await self._end(connection, run, ended, state, reason=reason, status=platform_status)
            if not closed:
                await _looked_at_again(connection, self._tables, **_ours(run))
            elif state is RunState.ENDED:
                await _answers_taken(connection, self._tables, run=run.ref.run_id)
            return closed

    async def submitted(self, run: Run, call_ids: Sequence[str], platform_status: str) -> None:
        """The platform took these answers, whoever owns the run by now: the round after `run.rounds`.

        Where answers are submitted one by one, all of one look are one round.
        """
        async with self._db.write() as connection:
            # The run's row first, as in `close`: two processes that know of one end never wait crosswise.
            if not self._db.sqlite:
                await _lock(connection, self._tables, run=run.ref.run_id)
            counted = {"round": run.rounds + 1, "status": platform_status}
            await _one_round(connection, self._tables, **_ours(run), **counted)
            await self._mark_submitted(connection, call_ids)

    async def begin_submit(self, run: Run) -> bool:
        """Commit that a submit begins; whether one was begun before, whose outcome is not known.

        Raises `Withdrawn` when the run has another owner, or none any more.
        """
        async with self._db.write() as connection:
            begun = (await _submit_before(connection, self._tables, **_ours(run))).first()
            if begun is None:
                raise Withdrawn("the run has another owner")
            await _submit_begun(connection, self._tables, run=run.ref.run_id)
            return begun.submit_begun_at is not None

    async def continued(
        self, run: Run, call_ids: Sequence[str], status: str, ref: RunRef, *, owner: str, lease_s: float
    ) -> Run | None:
        """The conversation goes on under a new id: end the old run, hold the new one, in one transaction.

        Returns the new run; None when the old one was no longer ours (its owner finds out for itself), and
        when somebody else, who was told of the new one sooner, is watching it.
        """
        async with self._db.write() as connection:
            await self._db.serialise(connection, run.conversation_id, ref.run_id)
            ended = await self._end(
                connection,
                run,
                _ended,
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
                await watch_anew(connection, self._tables, self._platform, run.conversation_id, ref)
            return await self._go_on(connection, run, ref, {"by": owner, "lease_s": lease_s})

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
        ending = {"as": state, "because": reason, "status": status, "next": continues_as}
        ended = await how(connection, self._tables, **_ours(run), **ending)
        if ended.rowcount == 1:
            await wipe_run(connection, self._tables, run=run.ref.run_id)
            await self._outbox.put(
                connection,
                run.conversation_id,
                f"run.{state}",
                {
                    "run_id": run.ref.run_id,
                    "conversation_id": run.conversation_id,
                    "reason": reason,
                    "platform_status": status,
                    "continues_as": continues_as,
                },
            )
        return ended.rowcount == 1

    async def _go_on(
        self, connection: AsyncConnection, run: Run, ref: RunRef, held: dict[str, Any]
    ) -> Run | None:
        """Hold the run that goes on from this one, unless it is held or over."""
        this = {"run": ref.run_id, "conversation": run.conversation_id, "round": run.rounds + 1}
        row = (await _held(connection, self._tables, **this, **held)).first()
        return None if row is None else _run(row)

    async def _mark_submitted(self, connection: AsyncConnection, call_ids: Sequence[str]) -> None:
        for call_id in sorted(call_ids):  # in one order, as all who change several calls
            await _submitted(connection, self._tables, this_call=call_id)


def _ours(run: Run) -> dict[str, Any]:
    return {"run": run.ref.run_id, "epoch": run.epoch}


def _still_ours(tables: Tables) -> list[ColumnElement[bool]]:
    t = tables.runs
    mine = [t.c.run_id == bindparam("run"), t.c.lease_epoch == bindparam("epoch")]
    return [*mine, t.c.state == RunState.WATCHING]


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
def _claimed(tables: Tables, platform: str) -> ReturningUpdate[Any]:
    return _taken(tables, leases.taking(tables.runs.c.run_id, _due(tables, platform)))


@prepared
def _held(tables: Tables) -> ReturningUpdate[Any]:
    t = tables.runs
    this = [t.c.run_id == bindparam("run"), t.c.conversation_id == bindparam("conversation")]
    unheld = update(t).where(*this, t.c.state == WATCHING, leases.unheld(t))
    return _taken(tables, unheld.values(rounds=bindparam("round")))


def _taken(tables: Tables, which: Update) -> ReturningUpdate[Any]:
    taken = which.values(**leases.HELD, lease_epoch=tables.runs.c.lease_epoch + 1)
    return taken.returning(*_run_columns(tables))


@prepared
def _looked_at_again(tables: Tables) -> Update:
    return update(tables.runs).where(*_still_ours(tables)).values(due=now(), **leases.GIVEN_BACK)


@prepared
def _submit_before(tables: Tables) -> Select[Any]:
    return select(tables.runs.c.submit_begun_at).where(*_still_ours(tables)).with_for_update()


@prepared
def _submit_begun(tables: Tables) -> Update:
    return update(tables.runs).where(tables.runs.c.run_id == bindparam("run")).values(submit_begun_at=now())


@prepared
def _lock(tables: Tables) -> Select[Any]:
    return select(tables.runs.c.run_id).where(tables.runs.c.run_id == bindparam("run")).with_for_update()


@prepared
def _one_round(tables: Tables) -> Update:
    t, this_round = tables.runs, bindparam("round", type_=Integer)
    rounds = case((t.c.rounds < this_round, this_round), else_=t.c.rounds)
    return update(t).where(*_still_ours(tables)).values(rounds=rounds, platform_status=bindparam("status"))


def _ending(tables: Tables) -> Update:
    how = {"state": "as", "reason": "because", "platform_status": "status", "continues_as": "next"}
    ending: dict[str, Any] = {column: bindparam(name) for column, name in how.items()}
    ended = update(tables.runs).where(*_still_ours(tables))
    return ended.values(**ending, closed_at=now(), **leases.GIVEN_BACK)


@prepared
def _ended(tables: Tables) -> Update:
    return _ending(tables)


@prepared
def _ended_unheard(tables: Tables) -> Update:
    return _ending(tables).where(tables.runs.c.wake <= bindparam("heard"))


@prepared
def _submitted(tables: Tables) -> Update:
    calls = tables.calls
    this = update(calls).where(calls.c.call_id == bindparam("this_call"), calls.c.submitted_at.is_(None))
    return this.values(submitted_at=now())


@prepared
def _answers_taken(tables: Tables) -> Update:
    calls = tables.calls
    answered = select(calls.c.call_id).where(
        calls.c.run_id == bindparam("run"), calls.c.answered_at.is_not(None), calls.c.submitted_at.is_(None)
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
        woken=row.wake,
    )
