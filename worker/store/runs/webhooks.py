"""The platform's webhooks about runs. Each webhook counts once, across restarts and processes."""

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

    async def record(self, webhook_id: str, run_id: str) -> bool | None:
        """Record the webhook and wake its run, in one transaction.

        None: the webhook was recorded before. False: no conversation is known for the run.
        """
        async with self._db.write() as connection:
            await self._db.serialise(connection, run_id)
            if not await self._first(connection, webhook_id):
                return None
            return await self._arrivals.wake_or_watch(connection, run_id, None)

    async def watch(self, run_id: str, thread_id: str) -> bool:
        """Watch a run whose thread was read from the platform. False if no conversation has that thread."""
        async with self._db.write() as connection:
            await self._db.serialise(connection, run_id, thread_id)
            return await self._arrivals.wake_or_watch(connection, run_id, thread_id)

    async def _first(self, connection: AsyncConnection, webhook_id: str) -> bool:
        """True if this webhook is new. Retention deletes those that the platform can no longer send."""
        t = self._t
        inserted = await connection.execute(
            self._db.insert(t)
            .values(webhook_id=webhook_id, received_at=now())
            .on_conflict_do_nothing()
            .returning(t.c.webhook_id)
        )
        return inserted.first() is not None
