"""Events for the bot as people see them, and what a person decides about one that was not delivered."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.errors import RequestRefused
from worker.model import EventState
from worker.store.log_ids import conversation_id_of
from worker.store.queries.lists import events_where, newest_first, next_cursor
from worker.store.sql import leases
from worker.store.sql.database import Database
from worker.store.sql.rows import from_row
from worker.store.sql.tables import PENDING, STUCK, now
from worker.views import Cursor, EventView


class Events:
    """Reads the outbox for people; retries and discards what the bot did not take."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._t = database.tables.outbox

    async def list(
        self,
        *,
        state: EventState | None = None,
        conversation_id: str | None = None,
        limit: int = 50,
        cursor: Cursor | None = None,
    ) -> tuple[Sequence[EventView], Cursor | None]:
        """The newest first. The conversation may be written as the log writes it."""
        t = self._t
        async with self._db.read() as connection:
            if conversation_id is not None:
                conversation_id = await conversation_id_of(connection, self._db.tables, conversation_id)
            query = select(t).where(*events_where(self._db.tables, state, conversation_id))
            query = newest_first(query, t.c.created_at, t.c.event_id, limit, cursor)
            found = [event_view(row) for row in await connection.execute(query)]
        return found[:limit], next_cursor(found, limit, lambda view: (view.created_at, view.event_id))

    async def retry(self, event_id: str) -> EventView:
        """Deliver a stuck event after all: at once, and for another 72 hours.

        Raises `nao_encontrado`; `estado_incompativel` unless it is stuck.
        """
        again = {"state": EventState.PENDING, "due": now(), "tries": 0}
        return await self._change(event_id, again)

    async def retry_all(self) -> int:
        """Deliver at once every stuck event, and those that wait for their next try; returns how many.

        For when the bot works again: without it, the last wait of up to an hour would have to pass.
        """
        t = self._t
        stuck = update(t).where(t.c.state == STUCK)
        waiting = update(t).where(t.c.state == PENDING, t.c.due > now(), leases.unheld(t))
        async with self._db.write() as connection:
            hastened = await connection.execute(waiting.values(due=now()))
            again = stuck.values(state=EventState.PENDING, due=now(), tries=0, **leases.GIVEN_BACK)
            return hastened.rowcount + (await connection.execute(again)).rowcount

    async def discard(self, event_id: str) -> EventView:
        """Give a stuck event up. Raises `nao_encontrado`; `estado_incompativel` unless it is stuck."""
        return await self._change(event_id, {"state": EventState.DISCARDED})

    async def _change(self, event_id: str, values: dict[str, Any]) -> EventView:
        t = self._t
        change = update(t).where(t.c.event_id == event_id, t.c.state == STUCK)
        async with self._db.write() as connection:
            row = (
                await connection.execute(change.values(**leases.GIVEN_BACK, **values).returning(*t.c))
            ).first()
            if row is None:
                raise RequestRefused(await self._refusal(connection, event_id))
            return event_view(row)

    async def _refusal(self, connection: AsyncConnection, event_id: str) -> str:
        query = select(self._t.c.seq).where(self._t.c.event_id == event_id)
        exists = (await connection.execute(query)).scalar() is not None
        return "estado_incompativel" if exists else "nao_encontrado"


def event_view(row: Row[Any]) -> EventView:
    """A row of the outbox."""
    state = EventState(row.state)
    return from_row(
        EventView,
        row,
        kind=json.loads(row.body)["type"],
        state=state,
        due=row.due if state is EventState.PENDING else None,
    )
