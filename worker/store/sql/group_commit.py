"""SQLite's writer: one commit for all transactions that wait, each of them undone alone when it fails.

A commit is a sync of the disk, and a statement a trip to another thread, which costs ten times what the
statement does. So transactions take turns on one connection, run where they are asked for, and share the
commit, which waits in a thread for the disk. Whoever wrote goes on only when that has happened.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from worker.errors import StoreError
from worker.store.sql.connections import InPlace, driver_of


class _Group:
    """Transactions that are committed together."""

    def __init__(self, driver: InPlace, commit: Callable[["_Group"], Any]) -> None:
        self._driver = driver
        # Tasks of their own: who began a group may be cancelled, and the others go on.
        self._beginning = driver.begin()
        self.committed = asyncio.create_task(commit(self))
        self.committed.add_done_callback(_take_exception)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """One transaction of the group."""
        if self._beginning is not None:
            await asyncio.shield(self._beginning)
        self._check()
        self._driver.run_now("SAVEPOINT part")
        try:
            yield
        except BaseException:
            if self._driver.in_transaction:
                self._driver.run_now("ROLLBACK TO part")
                self._driver.run_now("RELEASE part")
            raise
        self._driver.run_now("RELEASE part")

    async def commit(self) -> None:
        """Commit what there is; nothing where the group could not begin, which its parts were told."""
        if self._beginning is not None:
            await asyncio.wait({self._beginning})
            if self._beginning.exception() is not None:
                return
        self._check()
        try:
            await self._driver.execute("COMMIT")
        finally:
            if self._driver.in_transaction:
                self._driver.run_now("ROLLBACK")

    def _check(self) -> None:
        """SQLite rolls all of it back by itself when, say, the disk is full: then no part of it is left."""
        if not self._driver.in_transaction:
            raise StoreError("the transaction was rolled back")


def _take_exception(task: asyncio.Task[None]) -> None:
    """Every transaction of the group was told; asyncio need not complain that nobody asked for it."""
    if not task.cancelled():
        task.exception()


class GroupCommit:
    """Gives each transaction its turn on one connection of `engine`, which is `InPlace`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._turn = asyncio.Lock()
        self._group: _Group | None = None
        self._connection: AsyncConnection | None = None

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """One transaction, durable when the block has ended."""
        group: _Group | None = None
        try:
            async with self._turn:
                connection = self._connection = self._connection or await self._connected()
                group = self._group = self._group or _Group(driver_of(connection), self._commit)
                async with group.transaction():
                    yield connection
        except BaseException:
            if group is not None:  # nothing of it is left open behind whoever failed
                await asyncio.wait({group.committed})
            raise
        await asyncio.shield(group.committed)

    @contextlib.asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """While nobody writes."""
        while True:
            await self._finished()
            async with self._turn:
                if self._group is None:
                    yield
                    return

    async def aclose(self) -> None:
        """Wait for the group under way, and let go of the connection."""
        await self._finished()
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _finished(self) -> None:
        if self._group is not None:
            await asyncio.wait({self._group.committed})

    async def _connected(self) -> AsyncConnection:
        connection = await self._engine.connect()
        return await connection.execution_options(grouped=True)

    async def _commit(self, group: _Group) -> None:
        """In turn, and so behind all that waited when the group began: they become part of it."""
        async with self._turn:
            try:
                await group.commit()
            finally:
                self._group = None
