"""Calls that outlive their process: leased, claimed when the lease lapses, looked up until known."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Select, Table, and_, case, exists, func, not_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningUpdate

from worker.model import CallRecord, CallState, RunState, Sent
from worker.store.ledger.rows import keeps_beside, record, select_calls
from worker.store.sql import leases
from worker.store.sql.database import Database
from worker.store.sql.statements import prepared
from worker.store.sql.tables import Tables, now

_CHECK_AGAIN_S = (300.0, 900.0, 3600.0)
"""When an open question is looked up again after the first time, then hourly."""

_CHECK_FOR_S = 24 * 3600.0


class Recovery:
    """The part of `ports.Ledger` that the heartbeat and the reconciler ask for."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._t = database.tables.calls

    async def claim(self, owner: str, limit: int, lease_s: float) -> Sequence[CallRecord]:
        """Take calls whose time has come and that nobody works on, whatever became of their run.

        A call that was never sent is left to its run's owner, while its run is watched.
        """
        t, held = self._t, {"by": owner, "lease_s": lease_s}
        rows = await leases.take(self._db, _any_due, _claimed, room=limit, **held)
        taken = [row.call_id for row in rows]
        if not taken:
            return ()
        async with self._db.read() as connection:
            calls = select_calls(self._db.tables).where(t.c.call_id.in_(taken)).order_by(t.c.due)
            return [record(row) for row in await connection.execute(calls)]

    async def renew(self, owner: str, call_ids: Iterable[str], lease_s: float) -> None:
        """Renew the leases of calls this process works on."""
        await leases.renew(
            self._db, self._t.c.call_id, call_ids, owner=owner, lease_s=lease_s, returning=[self._t.c.call_id]
        )

    async def release(self, owner: str) -> None:
        """Give all calls back to whoever comes next."""
        async with self._db.write() as connection:
            await leases.give_back(connection, self._t.c.call_id, owner)

    async def check_later(self, call: CallRecord) -> None:
        """The CRM did not know (yet): ask again, ever later, for a day. Not if a person has stepped in."""
        t = self._t
        waits = [(t.c.checks == n, wait) for n, wait in enumerate(_CHECK_AGAIN_S)]
        next_check = now() + case(*waits, else_=_CHECK_AGAIN_S[-1])
        too_old = t.c.finished_at < now() - _CHECK_FOR_S
        async with self._db.write() as connection:
            await connection.execute(
                update(t)
                .where(t.c.call_id == call.call_id, t.c.state == call.state)
                .values(
                    due=case((too_old, None), else_=next_check), checks=t.c.checks + 1, **leases.GIVEN_BACK
                )
            )

    async def sent(self, call_id: str) -> Sent:
        """When the ticket's first attempt began, and how long the CRM may still commit one of them.

        An equal call that tries a failed one's ticket again inherits its attempts: they have one key.
        """
        a, t, this = self._db.tables.attempts, self._t, self._t.alias("this")
        key = select(this.c.idempotency_key).where(this.c.call_id == call_id).scalar_subquery()
        of_ticket = a.c.call_id.in_(select(t.c.call_id).where(t.c.idempotency_key == key))
        query = select(func.min(a.c.begun_at), func.max(a.c.send_deadline) - now()).where(of_ticket)
        async with self._db.read(brief=True) as connection:
            first_at, settles_in_s = (await connection.execute(query)).one()
        return Sent(first_at, max(0.0, settles_in_s))

    async def held_by_another(self, call: CallRecord, protocolo: str) -> bool:
        """Whether a protocolo is another ticket's: not of a call that tried or waited for this one."""
        async with self._db.read(brief=True) as connection:
            return await held_by_another(connection, self._t, call, protocolo)

    async def first_try(self, call: CallRecord) -> CallRecord:
        """The earliest call with this one's key, which may be itself."""
        t = self._t
        tries = select_calls(self._db.tables).where(t.c.idempotency_key == call.idempotency_key)
        async with self._db.read() as connection:
            first = await connection.execute(tries.order_by(t.c.received_at, t.c.call_id).limit(1))
            return record(first.one())


def _due(tables: Tables) -> Select[Any]:
    t, r = tables.calls, tables.runs
    watched = exists().where(r.c.run_id == t.c.run_id, r.c.state == RunState.WATCHING)
    its_runs = and_(t.c.state == CallState.RECEIVED, not_(t.c.retrying), watched)
    unowned = select(t.c.call_id).where(t.c.due <= now(), leases.unheld(t), not_(its_runs))
    return unowned.order_by(t.c.due)


_any_due = leases.any_of(_due)


@prepared
def _claimed(tables: Tables) -> ReturningUpdate[Any]:
    t = tables.calls
    return leases.taking(t.c.call_id, _due(tables)).values(**leases.HELD).returning(t.c.call_id)


async def held_by_another(
    connection: AsyncConnection, calls: Table, call: CallRecord, protocolo: str
) -> bool:
    """See `Recovery.held_by_another`; inside a transaction of whoever asks.

    What an equal call shows it has from the ticket it waited for, or it is the same ticket, by its key. Two
    tickets that only say the same, more than ten minutes apart, are two.
    """
    shown = or_(calls.c.protocolo == protocolo, keeps_beside(calls, protocolo))
    query = select(calls.c.call_id).where(shown, calls.c.idempotency_key != call.idempotency_key)
    return (await connection.execute(query.limit(1))).first() is not None


async def in_flight_beside(connection: AsyncConnection, tables: Tables, call: CallRecord) -> bool:
    """Whether an attempt of another ticket that a lookup cannot tell from this one may still be answered."""
    t, a, this = tables.calls, tables.attempts, tables.calls.alias("this")
    mine = select(this.c.document_hash).where(this.c.call_id == call.call_id).scalar_subquery()
    query = (
        select(a.c.call_id)
        .join(t, t.c.call_id == a.c.call_id)
        .where(t.c.document_hash == mine, t.c.setor == call.setor, t.c.motivo == call.motivo)
        .where(t.c.idempotency_key != call.idempotency_key)
        .where(a.c.ended_at.is_(None), a.c.send_deadline > now())
    )
    return (await connection.execute(query.limit(1))).first() is not None
