"""Checks of the database for commands: they create, migrate and leave nothing."""

import contextlib
from collections.abc import AsyncIterator
from typing import Self

from sqlalchemy import select

from worker.personal import Personal
from worker.privacy import Vault
from worker.settings import Settings
from worker.store.sql.database import Database
from worker.store.sql.tables import now

_PROBE = "(check)"
"""No conversation of a bot can be called this (contract §3)."""


class _Undo(Exception):
    """Rolls a transaction back."""


class Inspection:
    """Checks of an open database. Raises `StoreError`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, settings: Settings) -> AsyncIterator[Self]:
        """Open for the length of the block. Raises `ConfigError`: see `Database.open`."""
        database = await Database(settings.DATABASE_URL, Vault(settings.data_keys)).open(owner=False)
        try:
            yield cls(database)
        finally:
            await database.close()

    async def keeps(self, text: str) -> bool:
        """Whether a text comes back from a plain and from an encrypted column as it went in."""
        c = self._db.tables.conversations
        times = dict.fromkeys(("created_at", "updated_at", "active_at", "discover_due"), now())
        row = {"conversation_id": _PROBE, "assistant": text, "contact": Personal(text), **times}
        query = select(c.c.assistant, c.c.contact).where(c.c.conversation_id == _PROBE)
        kept = False
        with contextlib.suppress(_Undo):
            async with self._db.write() as connection:
                await connection.execute(c.insert().values(**row))
                kept = tuple((await connection.execute(query)).one()) == (text, Personal(text))
                raise _Undo
        return kept

    async def threads(self) -> list[str]:
        """The threads (sessions) of the registered conversations, the latest active first."""
        c = self._db.tables.conversations
        query = select(c.c.thread_id).where(c.c.thread_id.is_not(None)).order_by(c.c.active_at.desc())
        async with self._db.read() as connection:
            return [str(thread_id) for thread_id in (await connection.execute(query)).scalars()]
