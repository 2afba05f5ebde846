"""Retention: deletes data that is older than its limit, in batches (contract §2, RETENTION_*_DAYS).

Payload is emptied after `payload_days`, records are deleted after `record_days`. Watched runs and open calls
are never touched, and a call that a person must still decide keeps its record.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Float,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningUpdate

from worker.model import CallState, EventState, SweepCounts
from worker.store.personal_data.erasure import wipe
from worker.store.sql import leases
from worker.store.sql.database import Database
from worker.store.sql.statements import prepared
from worker.store.sql.tables import OPEN, WATCHING, Tables, now, payload_columns

_TASK = "retention"
_BATCH = 500
"""Rows in one transaction: it takes some milliseconds, for which other writers wait on SQLite."""

_DAY_S = 86_400.0
_WEBHOOKS_S = 73 * 3600.0
"""The platform repeats a webhook for 72 hours."""

_DECIDED = [CallState.DONE, CallState.REJECTED, CallState.FAILED]

_Step = Callable[[AsyncConnection], Awaitable[int]]


class Retention:
    """Deletes data that is older than its limit. One process does so at a time."""

    def __init__(self, database: Database, *, payload_days: int, record_days: int) -> None:
        self._db = database
        self._t = database.tables
        self._payload_s = payload_days * _DAY_S
        self._record_s = record_days * _DAY_S

    async def claim(self, lease_s: float) -> bool:
        """True if the nightly task is due and this process has claimed it, for `lease_s` seconds."""
        return bool(await leases.take(self._db, _any_due, _claim, room=1, lease_s=lease_s))

    async def plan(self, wait_s: float, *, first: bool = False) -> None:
        """Schedule the task in `wait_s` seconds. `first`: only if it is not scheduled yet."""
        u = self._t.upkeep
        planning = self._db.insert(u).values(task=_TASK, due=now() + wait_s)
        if first:
            planning = planning.on_conflict_do_nothing()
        else:
            planning = planning.on_conflict_do_update(index_elements=[u.c.task], set_={"due": now() + wait_s})
        async with self._db.write() as connection:
            await connection.execute(planning)

    async def sweep(self) -> SweepCounts:
        """Delete everything that is due, then remove it from SQLite's write-ahead log."""
        await self._finish_erasures()
        swept = SweepCounts(
            payloads=await self._repeat(self._payloads),
            contacts=await self._repeat(self._contacts),
            calls=await self._repeat(self._calls),
            runs=await self._repeat(self._runs),
            conversations=await self._repeat(self._conversations),
            events=await self._repeat(self._events),
            webhooks=await self._repeat(self._webhooks),
            accesses=await self._repeat(self._accesses),
            erasures=await self._repeat(self._erasures),
            replies=await self._repeat(self._replies),
        )
        await self._db.checkpoint()
        return swept

    async def _repeat(self, step: _Step) -> int:
        """Repeat a step until nothing is left. Other writers run between its transactions."""
        total = batch = await self._once(step)
        while batch == _BATCH:
            batch = await self._once(step)
            total += batch
        return total

    async def _once(self, step: _Step) -> int:
        async with self._db.write() as connection:
            return await step(connection)

    # -------------------------------------------------------------------------------------------- payload

    async def _finish_erasures(self) -> None:
        """Erase the payload that an erasure had to leave because a call or run had not ended yet."""
        async with self._db.write() as connection:
            await wipe(connection, self._t, self._holds_payload())

    async def _payloads(self, connection: AsyncConnection) -> int:
        """Requests, answers, motivos of hand-offs, and the keys that compared calls."""
        t, h = self._t.calls, self._t.handoffs
        old = and_(t.c.finished_at < now() - self._payload_s, t.c.state.not_in(OPEN))
        ids = await self._lock_batch(
            connection, t.c.call_id, self._holds_payload(), old, self._unwatched(t.c.run_id)
        )
        emptied = {column.name: None for column in payload_columns(t)} | {"equal_key": None, "due": None}
        await connection.execute(update(t).where(t.c.call_id.in_(ids)).values(**emptied))
        await connection.execute(
            update(h).where(h.c.call_id.in_(ids)).values(dict.fromkeys(payload_columns(h)))
        )
        return len(ids)

    async def _contacts(self, connection: AsyncConnection) -> int:
        """Personal details of conversations that have been inactive for `payload_days`."""
        c = self._t.conversations
        payload = payload_columns(c)
        holds = or_(*(column.is_not(None) for column in payload))
        old = and_(c.c.active_at < now() - self._payload_s, self._idle(c.c.conversation_id))
        ids = await self._lock_batch(connection, c.c.conversation_id, holds, old)
        emptied = {column.name: None for column in payload} | {
            "attachment_at": None,
            "attachment_taken_by": None,
        }
        await connection.execute(update(c).where(c.c.conversation_id.in_(ids)).values(**emptied))
        return len(ids)

    # --------------------------------------------------------------------------------------------- record

    async def _calls(self, connection: AsyncConnection) -> int:
        t, a, h = self._t.calls, self._t.attempts, self._t.handoffs
        old = and_(t.c.received_at < now() - self._record_s, t.c.finished_at < now() - self._record_s)
        ids = await self._lock_batch(
            connection, t.c.call_id, old, t.c.state.in_(_DECIDED), self._unwatched(t.c.run_id)
        )
        for column in (a.c.call_id, h.c.call_id, t.c.call_id):
            await connection.execute(delete(column.table).where(column.in_(ids)))
        return len(ids)

    async def _runs(self, connection: AsyncConnection) -> int:
        r, t = self._t.runs, self._t.calls
        old = and_(r.c.closed_at < now() - self._record_s, r.c.state != WATCHING)
        return await self._delete(connection, r.c.run_id, old, ~exists().where(t.c.run_id == r.c.run_id))

    async def _conversations(self, connection: AsyncConnection) -> int:
        c = self._t.conversations
        old = c.c.active_at < now() - self._record_s
        return await self._delete(connection, c.c.conversation_id, old, self._idle(c.c.conversation_id))

    async def _events(self, connection: AsyncConnection) -> int:
        """Delivered events are deleted with payload. Undelivered ones are kept as long as the record."""
        o = self._t.outbox
        delivered = and_(
            o.c.state.in_((EventState.DELIVERED, EventState.DISCARDED)),
            o.c.created_at < now() - self._payload_s,
        )
        return await self._delete(
            connection, o.c.seq, or_(delivered, o.c.created_at < now() - self._record_s)
        )

    async def _webhooks(self, connection: AsyncConnection) -> int:
        w = self._t.webhook_ids
        return await self._delete(connection, w.c.webhook_id, w.c.received_at < now() - _WEBHOOKS_S)

    async def _accesses(self, connection: AsyncConnection) -> int:
        log = self._t.access_log
        return await self._delete(connection, log.c.id, log.c.at < now() - self._record_s)

    async def _erasures(self, connection: AsyncConnection) -> int:
        e = self._t.erasures
        return await self._delete(connection, e.c.erasure_id, e.c.done_at < now() - self._record_s)

    async def _replies(self, connection: AsyncConnection) -> int:
        """Checks of replies hold codes only: they are kept as long as the record."""
        c = self._t.reply_checks
        return await self._delete(connection, c.c.check_id, c.c.checked_at < now() - self._record_s)

    # --------------------------------------------------------------------------------------------- within

    def _holds_payload(self) -> ColumnElement[bool]:
        """The condition of the index `ix_calls_payload`."""
        t = self._t.calls
        return or_(t.c.body.is_not(None), t.c.answer.is_not(None))

    def _unwatched(self, run_id: Column[str]) -> ColumnElement[bool]:
        r = self._t.runs
        return not_(exists().where(r.c.run_id == run_id, r.c.state == WATCHING))

    def _idle(self, conversation_id: Column[str]) -> ColumnElement[bool]:
        """The conversation has no watched run."""
        r = self._t.runs
        return not_(exists().where(r.c.conversation_id == conversation_id, r.c.state == WATCHING))

    async def _lock_batch(
        self, connection: AsyncConnection, key: Column[str], *which: ColumnElement[bool]
    ) -> list[str]:
        """Select and lock a batch of rows. Rows that another transaction changes wait for the next night."""
        batch = select(key).where(*which).limit(_BATCH).with_for_update(skip_locked=True)
        return list((await connection.execute(batch)).scalars())

    async def _delete(
        self, connection: AsyncConnection, key: Column[str], *which: ColumnElement[bool]
    ) -> int:
        ids = await self._lock_batch(connection, key, *which)
        await connection.execute(delete(key.table).where(key.in_(ids)))
        return len(ids)


def _due(tables: Tables) -> Select[Any]:
    u = tables.upkeep
    return select(u.c.task).where(u.c.task == _TASK, u.c.due <= now())


_any_due = leases.any_of(_due)


@prepared
def _claim(tables: Tables) -> ReturningUpdate[Any]:
    task = tables.upkeep.c.task
    later = now() + bindparam("lease_s", type_=Float)
    return leases.taking(task, _due(tables)).values(due=later).returning(task)
