"""The access log: who read which payload and when. Only retention removes entries."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.store.sql.database import Database
from worker.store.sql.tables import Tables, now

CHAT = "chat:"
"""Prefix of the subject when a link to the bot's own chat was opened; the conversation's id follows."""


async def enter(connection: AsyncConnection, tables: Tables, reader: str, subject: str) -> None:
    """Record a reading in the transaction that reads. `subject`: an id, or a keyed hash."""
    await connection.execute(tables.access_log.insert().values(at=now(), reader=reader, subject=subject))


@dataclass(frozen=True, slots=True)
class Access:
    """One reading of a payload."""

    #: Seconds since the epoch.
    at: float
    #: Who read it.
    reader: str
    #: What was read: an id, or a keyed hash.
    subject: str


class AccessLog:
    """The entries, as an auditor reads them."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._tables = database.tables
        self._t = database.tables.access_log

    async def enter(self, reader: str, subject: str) -> None:
        """Record a reading that happens outside the store."""
        async with self._db.write() as connection:
            await enter(connection, self._tables, reader, subject)

    async def entries(self, *, limit: int = 1000) -> Sequence[Access]:
        """The newest first."""
        query = select(self._t).order_by(self._t.c.at.desc(), self._t.c.id.desc()).limit(limit)
        async with self._db.read() as connection:
            return [Access(row.at, row.reader, row.subject) for row in await connection.execute(query)]
