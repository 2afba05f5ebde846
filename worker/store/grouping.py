"""SQLite's writer: one commit for all transactions that wait, each of them undone alone when it fails.

A commit is a sync of the disk, and a statement a trip to another thread, which costs ten times what the
statement does. So transactions take turns on one connection, run where they are asked for, and share the
commit, which waits in a thread for the disk. Whoever wrote goes on only when that has happened.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiosqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from worker.errors import StoreError


class InPlace(aiosqlite.Connection):
    """Statements run in the caller's thread; only what waits for a lock or the disk has one of its own."""

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._waits(fn, args):
            return await super()._execute(fn, *args, **kwargs)  # type: ignore[no-untyped-call]  # aiosqlite's
        return fn(*args, **kwargs)

    def _waits(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> bool:
        if function.__name__ == "execute":
            return bool(arguments[0].startswith(("BEGIN IMMEDIATE", "COMMIT", "PRAGMA")))
        return function == self._conn.close


class _Group:
    """Transactions that are committed together."""

    def __init__(self, engine: AsyncEngine, commit: Callable[["_Group"], Any]) -> None:
        self._engine = engine
        self._closing = contextlib.AsyncExitStack()
        self._driver: aiosqlite.Connection | None = None
        # Tasks of their own: who began a group may be cancelled, and the others go on.
        self.begun = asyncio.create_task(self._begin())
        self.committed = asyncio.create_task(commit(self))

    async def _begin(self) -> AsyncConnection:
        connection = await self._closing.enter_async_context(self._engine.connect())
        await connection.begin()
        self._driver = (await connection.get_raw_connection()).driver_connection
        return connection

    @contextlib.asynccontextmanager
    async def part(self) -> AsyncIterator[AsyncConnection]:
        """One transaction of the group."""
        connection = await asyncio.shield(self.begun)
        self._check()
        await self._say("SAVEPOINT part")
        try:
            yield connection
        except BaseException:
            if self._intact:
                await self._say("ROLLBACK TO part")
                await self._say("RELEASE part")
            raise
        await self._say("RELEASE part")

    async def commit(self) -> None:
        """Commit what there is; nothing where the group could not begin, which its parts were told."""
        async with self._closing:
            await asyncio.wait({self.begun})
            if self.begun.exception() is None:
                self._check()
                await self._say("COMMIT")

    def _check(self) -> None:
        """SQLite rolls all of it back by itself when, say, the disk is full: then no part of it is left."""
        if not self._intact:
            raise StoreError("the transaction was rolled back")

    @property
    def _intact(self) -> bool:
        return self._driver is not None and self._driver.in_transaction

    async def _say(self, statement: str) -> None:
        if self._driver is not None:
            await self._driver.execute(statement)


class Groups:
    """Gives each transaction its turn. `engine` has one connection, which is `InPlace`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._turn = asyncio.Lock()
        self._group: _Group | None = None

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """One transaction, durable when the block has ended."""
        group: _Group | None = None
        try:
            async with self._turn:
                group = self._group = self._group or _Group(self._engine, self._commit)
                async with group.part() as connection:
                    yield connection
        except BaseException:
            if group is not None:  # nothing of it is left open behind whoever failed
                await asyncio.wait({group.committed})
            raise
        await asyncio.shield(group.committed)

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """While nobody writes."""
        while True:
            await self.finished()
            async with self._turn:
                if self._group is None:
                    yield
                    return

    async def finished(self) -> None:
        """Wait for the group under way: whoever closes the engine would leave its connection open."""
        if self._group is not None:
            await asyncio.wait({self._group.committed})

    async def _commit(self, group: _Group) -> None:
        """In turn, and so behind all that waited when the group began: they become part of it."""
        async with self._turn:
            try:
                await group.commit()
            finally:
                self._group = None
