"""Every payload value under the first key of DATA_KEYS, beside a daemon that goes on writing."""

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
class Pass:
    """What one walk over all payload did.

    `overtaken`: values that the daemon wrote anew meanwhile, or was about to. `unreadable`: those that no key
    opens.
    """

    changed: int = 0
    overtaken: int = 0
    unreadable: int = 0


class Rekey:
    """Encrypts anew what is not under the first key; begun again, it goes on where it is needed."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._db = database
        self._vault = vault
        self._tables = [table for table in database.tables.metadata.sorted_tables if payload_columns(table)]

    async def rows(self) -> int:
        """How many rows a pass walks over."""
        async with self._db.read() as connection:
            counts = [select(func.count()).select_from(table) for table in self._tables]
            return sum([(await connection.execute(count)).scalar_one() for count in counts])

    async def walk(self, done: Pass) -> AsyncIterator[int]:
        """Go over everything once, and count in `done`; gives the number of rows after each batch."""
        await self._rewrap(done)
        for table in self._tables:
            last: tuple[Any, ...] | None = None
            while rows := await self._batch(table, last):
                last = tuple(rows[-1])[: len(table.primary_key)]
                yield len(rows)
                await self._reseal(table, rows, done)

    async def finish(self) -> None:
        """What SQLite keeps of the old values in its log goes from the disk."""
        await self._db.checkpoint()

    async def _rewrap(self, done: Pass) -> None:
        """The index key itself never changes: hashes made with it must go on being found."""
        t = self._db.tables.index_key
        async with self._db.write() as connection:
            wrapped = bytes((await connection.execute(select(t.c.wrapped))).scalar_one())
            anew = self._vault.reseal(wrapped)
            if anew is not None:
                await connection.execute(update(t).values(wrapped=anew))
                done.changed += 1

    async def _batch(self, table: Table, after: tuple[Any, ...] | None) -> Sequence[Row[Any]]:
        key = list(table.primary_key)
        query = (
            select(*key, *(_raw(column) for column in payload_columns(table))).order_by(*key).limit(_BATCH)
        )
        if after is not None:
            query = query.where(tuple_(*key) > tuple_(*(literal(value) for value in after)))
        async with self._db.read() as connection:
            return (await connection.execute(query)).all()

    async def _reseal(self, table: Table, rows: Sequence[Row[Any]], done: Pass) -> None:
        key = list(table.primary_key)
        stale = [
            (row, column, bytes(sealed), anew)
            for row in rows
            for column, sealed in zip(payload_columns(table), tuple(row)[len(key) :], strict=True)
            if sealed is not None and (anew := self._resealed(bytes(sealed), done)) is not None
        ]
        if not stale:
            return
        async with self._db.write() as connection:
            for row, column, old, anew in stale:
                which = [each == value for each, value in zip(key, row, strict=False)]
                swapped = await _swap(connection, column, which, old, anew)
                done.changed += swapped
                done.overtaken += not swapped

    def _resealed(self, sealed: bytes, done: Pass) -> bytes | None:
        try:
            return self._vault.reseal(sealed)
        except StoreError:
            done.unreadable += 1
            return None


async def _swap(
    connection: AsyncConnection, column: Column[Any], which: list[Any], old: bytes, anew: bytes
) -> bool:
    """Replace the value unless somebody has written a newer one; whether it was replaced.

    A row that the daemon is changing is left to the next walk: it locks rows in another order, and must not
    wait for us crosswise.
    """
    (key,) = column.table.primary_key
    same = select(key).where(*which, _raw(column) == literal(old, LargeBinary))
    swapping = update(column.table).where(leases.locked(key, same, wait=False))
    swapping = swapping.values({column.name: literal(anew, LargeBinary)})
    return (await connection.execute(swapping.returning(key))).first() is not None


def _raw(column: Column[Any]) -> Any:
    """The ciphertext, which the column itself would open."""
    return type_coerce(column, LargeBinary).label(column.name)
