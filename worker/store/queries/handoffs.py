"""Hand-offs: requested, perhaps overdue, accepted by a person, then closed or returned (contract §12)."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, case, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningUpdate

from worker.errors import RequestRefused
from worker.personal import Personal
from worker.store.ledger.outbox import Outbox
from worker.store.sql import leases
from worker.store.sql.database import Database
from worker.store.sql.rows import from_row
from worker.store.sql.statements import prepared
from worker.store.sql.tables import REQUESTED, Tables, now
from worker.views import HandoffState, HandoffView

_BATCH = 200
"""Hand-offs that one transaction records as overdue."""


class Handoffs:
    """Changes hand-offs; each change writes the bot's event in the same transaction."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._db = database
        self._t = database.tables
        self._outbox = outbox

    async def accept(self, handoff_id: str) -> HandoffView:
        """Take it: the customer waits no longer. Raises `estado_incompativel`: another person was quicker."""
        accepted = {"state": HandoffState.ACCEPTED, "accepted_at": now()}
        return await self._advance(handoff_id, {HandoffState.REQUESTED}, accepted, "handoff.accepted")

    async def give_back(self, handoff_id: str) -> HandoffView:
        """Return the conversation to the bot.

        Raises `estado_incompativel` unless a person attends to it.
        """
        returned = {"state": HandoffState.RETURNED, "returned_at": now()}
        return await self._advance(handoff_id, {HandoffState.ACCEPTED}, returned, "handoff.returned")

    async def close(self, handoff_id: str) -> HandoffView:
        """Close it, accepted or not; closing a closed hand-off changes nothing.

        Raises `estado_incompativel`: the conversation is the bot's again.
        """
        before = {HandoffState.REQUESTED, HandoffState.ACCEPTED}
        closed = {"state": HandoffState.CLOSED, "closed_at": now()}
        return await self._advance(
            handoff_id, before, closed, "handoff.closed", unchanged={HandoffState.CLOSED}
        )

    async def record_overdue(self) -> Sequence[HandoffView]:
        """Record the hand-offs whose deadline has passed, and tell the bot; each is returned once.

        Of several processes, one records a hand-off: none waits for a row that another is changing.
        """
        async with self._db.read(brief=True) as connection:
            if (await _any_overdue(connection, self._t)).first() is None:
                return ()
        async with self._db.write() as connection:
            rows = (await _marked_overdue(connection, self._t, room=_BATCH)).rows
            for row in rows:
                await self._announce(connection, row, "handoff.overdue")
        return [handoff_view(row) for row in rows]

    async def _advance(
        self,
        handoff_id: str,
        before: Collection[HandoffState],
        values: Mapping[str, object],
        event: str,
        *,
        unchanged: Collection[HandoffState] = (),
    ) -> HandoffView:
        """Change a hand-off that is in one of the states `before`; the bot learns first that it was overdue.

        In a state of `unchanged` it stays as it is. Raises `nao_encontrado` and `estado_incompativel`.
        """
        h = self._t.handoffs
        this = h.c.handoff_id == handoff_id
        async with self._db.write() as connection:
            changing = update(h).where(this, h.c.state.in_(before)).values(**values)
            row = (await connection.execute(changing.returning(*handoff_columns(self._t)))).first()
            if row is not None:
                if row.overdue and row.overdue_at is None:  # since the latest `record_overdue`
                    await connection.execute(update(h).where(this).values(overdue_at=now()))
                    await self._announce(connection, row, "handoff.overdue")
                await self._announce(connection, row, event)
                return handoff_view(row)
            row = (await connection.execute(select(*handoff_columns(self._t)).where(this))).first()
        if row is None:
            raise RequestRefused("nao_encontrado")
        if row.state not in unchanged:
            raise RequestRefused("estado_incompativel")
        return handoff_view(row)

    async def _announce(self, connection: AsyncConnection, row: Row[Any], event: str) -> None:
        c = self._t.calls
        run_id = (await connection.execute(select(c.c.run_id).where(c.c.call_id == row.call_id))).scalar_one()
        data = {
            "handoff_id": row.handoff_id,
            "call_id": row.call_id,
            "run_id": run_id,
            "conversation_id": row.conversation_id,
            "departamento": row.departamento,
        }
        await self._outbox.put(connection, row.conversation_id, event, data)


def _overdue(tables: Tables) -> Select[Any]:
    """Hand-offs that still wait past their deadline, and of which that is not recorded yet."""
    h = tables.handoffs
    late = select(h.c.handoff_id).where(h.c.state == REQUESTED, h.c.due_at <= now(), h.c.overdue_at.is_(None))
    return late.order_by(h.c.due_at)


_any_overdue = leases.any_of(_overdue)


@prepared
def _marked_overdue(tables: Tables) -> ReturningUpdate[Any]:
    marking = leases.taking(tables.handoffs.c.handoff_id, _overdue(tables)).values(overdue_at=now())
    return marking.returning(*handoff_columns(tables))


def handoff_columns(tables: Tables) -> list[ColumnElement[Any]]:
    """Every column but the payload, and how long the customer has waited, or did wait."""
    h = tables.handoffs
    waits = h.c.state == HandoffState.REQUESTED
    until = case((waits, now()), else_=func.coalesce(h.c.accepted_at, h.c.closed_at))
    columns = [c for c in h.c if c is not h.c.motivo]
    overdue = and_(h.c.due_at.is_not(None), h.c.due_at <= until)
    return [*columns, (until - h.c.requested_at).label("waiting_s"), overdue.label("overdue")]


def handoff_view(row: Row[Any], motivo: Personal | None = None) -> HandoffView:
    """A row of `handoff_columns`."""
    return from_row(HandoffView, row, state=HandoffState(row.state), overdue=bool(row.overdue), motivo=motivo)
