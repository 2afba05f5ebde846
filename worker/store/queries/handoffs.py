"""Hand-offs as people take them: requested, accepted by one of them, closed (contract §3)."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Row, case, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.errors import RequestRefused
from worker.personal import Personal
from worker.store.ledger.outbox import Outbox
from worker.store.sql.database import Database
from worker.store.sql.tables import Tables, now
from worker.views import HandoffState, HandoffView


class Handoffs:
    """Changes hand-offs for people; each change writes the bot's event in the same transaction."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._db = database
        self._t = database.tables
        self._outbox = outbox

    async def accept(self, handoff_id: str) -> HandoffView:
        """Take it: the customer waits no longer. Raises `estado_incompativel`: another person was quicker."""
        async with self._db.write() as connection:
            accepted = {"state": HandoffState.ACCEPTED, "accepted_at": now()}
            row = await self._change(connection, handoff_id, {HandoffState.REQUESTED}, accepted)
            if row is None:
                await self._known(connection, handoff_id)
                raise RequestRefused("estado_incompativel")
            await self._tell(connection, row, "handoff.accepted")
            return handoff_view(row)

    async def close(self, handoff_id: str) -> HandoffView:
        """Close it, accepted or not; closing a closed hand-off changes nothing."""
        async with self._db.write() as connection:
            closed = {"state": HandoffState.CLOSED, "closed_at": now()}
            row = await self._change(
                connection, handoff_id, {HandoffState.REQUESTED, HandoffState.ACCEPTED}, closed
            )
            if row is None:
                return handoff_view(await self._known(connection, handoff_id))
            await self._tell(connection, row, "handoff.closed")
            return handoff_view(row)

    async def _change(
        self,
        connection: AsyncConnection,
        handoff_id: str,
        before: Collection[HandoffState],
        values: Mapping[str, object],
    ) -> Row[Any] | None:
        """Of two who change it at once, the second finds what the first has made of it."""
        h = self._t.handoffs
        found = h.c.handoff_id == handoff_id, h.c.state.in_(before)
        changed = update(h).where(*found).values(**values).returning(*shown(self._t))
        return (await connection.execute(changed)).first()

    async def _known(self, connection: AsyncConnection, handoff_id: str) -> Row[Any]:
        query = select(*shown(self._t)).where(self._t.handoffs.c.handoff_id == handoff_id)
        row = (await connection.execute(query)).first()
        if row is None:
            raise RequestRefused("nao_encontrado")
        return row

    async def _tell(self, connection: AsyncConnection, row: Row[Any], kind: str) -> None:
        c = self._t.calls
        run_id = (await connection.execute(select(c.c.run_id).where(c.c.call_id == row.call_id))).scalar_one()
        told = {
            "handoff_id": row.handoff_id,
            "call_id": row.call_id,
            "run_id": run_id,
            "conversation_id": row.conversation_id,
            "departamento": row.departamento,
        }
        await self._outbox.put(connection, row.conversation_id, kind, told)


def shown(tables: Tables) -> list[ColumnElement[Any]]:
    """Every column but the payload, and how long the customer has waited, or did wait."""
    h = tables.handoffs
    waits = h.c.state == HandoffState.REQUESTED
    until = case((waits, now()), else_=func.coalesce(h.c.accepted_at, h.c.closed_at))
    return [*(c for c in h.c if c is not h.c.motivo), (until - h.c.requested_at).label("waiting_s")]


def handoff_view(row: Row[Any], motivo: Personal | None = None) -> HandoffView:
    """A row of `shown`."""
    return HandoffView(
        handoff_id=row.handoff_id,
        conversation_id=row.conversation_id,
        call_id=row.call_id,
        departamento=row.departamento,
        state=HandoffState(row.state),
        requested_at=row.requested_at,
        accepted_at=row.accepted_at,
        closed_at=row.closed_at,
        waiting_s=row.waiting_s,
        motivo=motivo,
    )
