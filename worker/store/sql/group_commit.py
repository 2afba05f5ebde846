"""SQLite's writer: one commit for all waiting transactions; a transaction that fails is undone alone.

A commit waits for the disk, and passing a statement to another thread costs ten times the statement. So
transactions take turns on one connection, run in the caller's thread and share one commit, which waits for
the disk in another thread. Each writer continues only after that commit.
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
        # Separate tasks: when the first writer of a group is cancelled, the others continue.
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
        """Commit the group. A group that could not begin commits nothing; its transactions have failed."""
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
        """Raises `StoreError` after SQLite rolled the whole group back, for example on a full disk."""
        if not self._driver.in_transaction:
            raise StoreError("the transaction was rolled back")


def _take_exception(task: asyncio.Task[None]) -> None:
    """Retrieve the exception: every transaction of the group raises it, so asyncio need not report it."""
    if not task.cancelled():
        task.exception()


class GroupCommit:
    """Runs transactions one at a time on one connection of `engine`, which is `InPlace`."""

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
            if group is not None:  # leave no open group behind the failed writer
                await asyncio.wait({group.committed})
            raise
        await asyncio.shield(group.committed)

    @contextlib.asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Hold the block while no transaction writes."""
        while True:
            await self._finished()
            async with self._turn:
                if self._group is None:
                    yield
                    return

    async def aclose(self) -> None:
        """Wait for the current group, then close the connection."""
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
        """Commit after every transaction that was waiting when the group began: they join it."""
        async with self._turn:
            try:
                await group.commit()
            finally:
                self._group = None
