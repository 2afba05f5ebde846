"""Everything of one conversation, in time order: runs, calls, hand-offs, events and checked replies."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Select, String, cast, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.store.ledger.replies import reply_view
from worker.store.queries.events import event_view
from worker.store.queries.handoffs import handoff_columns, handoff_view
from worker.store.queries.lists import newest_first, next_cursor
from worker.store.queries.records import call_rows, call_views, run_summary
from worker.store.sql.database import Database
from worker.views import Cursor, EventView, HandoffView, Happening, ReplyView, RunSummary

_View = Callable[[Any], RunSummary | HandoffView | EventView | ReplyView]


class Histories:
    """Reads the history of conversations, without payload."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._t = database.tables

    async def of(
        self, conversation_id: str, *, limit: int = 50, cursor: Cursor | None = None
    ) -> tuple[Sequence[Happening], Cursor | None]:
        """The newest first; empty for a conversation that the record does not know."""
        async with self._db.read() as connection:
            found = [
                *await self._calls(connection, conversation_id, limit, cursor),
                *[each async for each in self._others(connection, conversation_id, limit, cursor)],
            ]
        found.sort(key=lambda each: (each.at, each.key), reverse=True)
        return found[:limit], next_cursor(found, limit, lambda each: (each.at, each.key))

    async def _calls(
        self, connection: AsyncConnection, conversation_id: str, limit: int, cursor: Cursor | None
    ) -> list[Happening]:
        c = self._t.calls
        query = call_rows(c).where(c.c.conversation_id == conversation_id)
        query = newest_first(query, c.c.received_at, c.c.call_id, limit, cursor)
        rows = (await connection.execute(query)).all()
        return [
            Happening(view.received_at, view.call_id, view)
            for view in await call_views(connection, self._t, rows)
        ]

    async def _others(
        self, connection: AsyncConnection, conversation_id: str, limit: int, cursor: Cursor | None
    ) -> AsyncIterator[Happening]:
        for query, at, key, view in self._sources():
            page = newest_first(
                query.add_columns(key.label("happening_key")).where(
                    at.table.c.conversation_id == conversation_id
                ),
                *(at, key, limit, cursor),
            )
            for row in await connection.execute(page):
                yield Happening(getattr(row, at.name), row.happening_key, view(row))

    def _sources(self) -> Iterator[tuple[Select[Any], Column[Any], ColumnElement[str], _View]]:
        runs, handoffs, outbox = self._t.runs, self._t.handoffs, self._t.outbox
        replies = self._t.reply_checks
        yield select(runs), runs.c.registered_at, runs.c.run_id, run_summary
        yield select(*handoff_columns(self._t)), handoffs.c.requested_at, handoffs.c.handoff_id, handoff_view
        yield select(outbox), outbox.c.created_at, outbox.c.event_id, event_view
        number = cast(replies.c.check_id, String)
        yield select(replies), replies.c.checked_at, number, reply_view
