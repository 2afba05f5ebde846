"""Encrypts every payload value under the first key of DATA_KEYS while the daemon keeps running."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, LargeBinary, Row, Table, func, literal, select, tuple_, type_coerce, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.errors import StoreError
from worker.privacy import Vault
from worker.store.sql import leases
from worker.store.sql.database import Database
from worker.store.sql.tables import payload_columns

_BATCH = 200


@dataclass(slots=True)
class RekeyCounts:
    """Counts of one walk over all payload values."""

    changed: int = 0
    #: Values that the daemon replaced meanwhile, or was changing.
    overtaken: int = 0
    #: Values that no key opens.
    unreadable: int = 0


class Rekey:
    """Re-encrypts every value that is not under the first key. It may be interrupted and started again."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._db = database
        self._vault = vault
        self._tables = [table for table in database.tables.metadata.sorted_tables if payload_columns(table)]

    async def rows(self) -> int:
        """The number of rows of one walk."""
        async with self._db.read() as connection:
            counts = [select(func.count()).select_from(table) for table in self._tables]
            return sum([(await connection.execute(count)).scalar_one() for count in counts])

    async def walk(self, counts: RekeyCounts) -> AsyncIterator[int]:
        """Go over everything once, and count in `done`; gives the number of rows after each batch."""
        await self._rewrap(counts)
        for table in self._tables:
            last: tuple[Any, ...] | None = None
            while rows := await self._batch(table, last):
                last = tuple(rows[-1])[: len(table.primary_key)]
                yield len(rows)
                await self._reseal(table, rows, counts)

    async def finish(self) -> None:
        """Remove the old values from SQLite's write-ahead log."""
        await self._db.checkpoint()

    async def _rewrap(self, counts: RekeyCounts) -> None:
        """Re-encrypt the index key. The key itself never changes: existing hashes depend on it."""
        t = self._db.tables.index_key
        async with self._db.write() as connection:
            wrapped = bytes((await connection.execute(select(t.c.wrapped))).scalar_one())
            resealed = self._vault.reseal(wrapped)
            if resealed is not None:
                await connection.execute(update(t).values(wrapped=resealed))
                counts.changed += 1

    async def _batch(self, table: Table, after: tuple[Any, ...] | None) -> Sequence[Row[Any]]:
        key = list(table.primary_key)
        query = (
            select(*key, *(_raw(column) for column in payload_columns(table))).order_by(*key).limit(_BATCH)
        )
        if after is not None:
            query = query.where(tuple_(*key) > tuple_(*(literal(value) for value in after)))
        async with self._db.read() as connection:
            return (await connection.execute(query)).all()

    async def _reseal(self, table: Table, rows: Sequence[Row[Any]], counts: RekeyCounts) -> None:
        key = list(table.primary_key)
        stale = [
            (row, column, bytes(sealed), resealed)
            for row in rows
            for column, sealed in zip(payload_columns(table), tuple(row)[len(key) :], strict=True)
            if sealed is not None and (resealed := self._resealed(bytes(sealed), counts)) is not None
        ]
        if not stale:
            return
        async with self._db.write() as connection:
            for row, column, old, resealed in stale:
                which = [each == value for each, value in zip(key, row, strict=False)]
                swapped = await _swap(connection, column, which, old, resealed)
                counts.changed += swapped
                counts.overtaken += not swapped

    def _resealed(self, sealed: bytes, counts: RekeyCounts) -> bytes | None:
        try:
            return self._vault.reseal(sealed)
        except StoreError:
            counts.unreadable += 1
            return None


async def _swap(
    connection: AsyncConnection, column: Column[Any], which: list[Any], old: bytes, resealed: bytes
) -> bool:
    """Replace the value unless a newer one was written. True if it was replaced.

    A row that the daemon is changing is left to the next walk: the daemon locks rows in another order, and
    waiting for it could end in a deadlock.
    """
    (key,) = column.table.primary_key
    same = select(key).where(*which, _raw(column) == literal(old, LargeBinary))
    swapping = update(column.table).where(leases.locked(key, same, wait=False))
    swapping = swapping.values({column.name: literal(resealed, LargeBinary)})
    return (await connection.execute(swapping.returning(key))).first() is not None


def _raw(column: Column[Any]) -> Any:
    """The ciphertext: reading the column itself would decrypt it."""
    return type_coerce(column, LargeBinary).label(column.name)
