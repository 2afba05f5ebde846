"""What the platform's webhooks tell of runs: each webhook counts once, over restarts and processes too."""

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.store.runs.arrivals import Arrivals
from worker.store.sql.database import Database
from worker.store.sql.tables import now


class Webhooks:
    """Records webhooks and wakes the runs they name."""

    def __init__(self, database: Database, arrivals: Arrivals) -> None:
        self._db = database
        self._t = database.tables.webhook_ids
        self._arrivals = arrivals

    async def told(self, webhook_id: str, run_id: str) -> bool | None:
        """Remember the webhook and wake its run, both or neither: one that is sent again finds the other."""
        async with self._db.write() as connection:
            await self._db.serialise(connection, run_id)
            if not await self._first(connection, webhook_id):
                return None
            return await self._arrivals.told(connection, run_id, None)

    async def found(self, run_id: str, thread_id: str) -> bool:
        """Watch a run whose thread is known by now, if a conversation of ours has it."""
        async with self._db.write() as connection:
            await self._db.serialise(connection, run_id, thread_id)
            return await self._arrivals.told(connection, run_id, thread_id)

    async def _first(self, connection: AsyncConnection, webhook_id: str) -> bool:
        """Whether this webhook was not here before; retention tidies those that cannot come again."""
        t = self._t
        insert = sqlite.insert if self._db.sqlite else postgresql.insert
        remembered = await connection.execute(
            insert(t)
            .values(webhook_id=webhook_id, received_at=now())
            .on_conflict_do_nothing()
            .returning(t.c.webhook_id)
        )
        return remembered.first() is not None
