"""Ids that the log writes as a keyed hash (contract §14): the rows that a hash names.

`log_id` holds the hash of such an id, and is NULL for an id that the log writes as it is. Older versions
recorded rows without it: the daemon fills them in, once, after the migration.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Column, Select, bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.log_fields import HASHED_ID, hidden_call_id, hidden_id, hidden_run_id
from worker.privacy import Hasher
from worker.store.sql.database import Database
from worker.store.sql.statements import prepared
from worker.store.sql.tables import Tables, now
from worker.views import CallFilter, RunFilter

_Filter = TypeVar("_Filter", CallFilter, RunFilter)

_TASK = "log_ids"
"""Row of `upkeep`, made by migration 0007: rows of older versions may be without their hash until `due`."""

_BATCH = 500
"""Rows in one transaction."""

# ------------------------------------------------------------------------------------------------- finding


async def run_id_of(connection: AsyncConnection, tables: Tables, written: str) -> str:
    """The id of a run from what the log writes for it: the id itself, or its hash."""
    if not HASHED_ID.fullmatch(written):
        return written
    run_id = (await _run_by_hash(connection, tables, log_id=written)).scalar()
    return written if run_id is None else str(run_id)


async def conversation_id_of(connection: AsyncConnection, tables: Tables, written: str) -> str:
    """As `run_id_of`, for a conversation."""
    if not HASHED_ID.fullmatch(written):
        return written
    conversation_id = (await _conversation_by_hash(connection, tables, log_id=written)).scalar()
    return written if conversation_id is None else str(conversation_id)


async def with_own_ids(connection: AsyncConnection, tables: Tables, which: _Filter) -> _Filter:
    """A filter with the ids themselves where it was given hashes."""
    if which.conversation_id is not None:
        conversation_id = await conversation_id_of(connection, tables, which.conversation_id)
        which = replace(which, conversation_id=conversation_id)
    if isinstance(which, CallFilter) and which.run_id is not None:
        which = replace(which, run_id=await run_id_of(connection, tables, which.run_id))
    return which


@prepared
def _run_by_hash(tables: Tables) -> Select[Any]:
    r = tables.runs
    return select(r.c.run_id).where(r.c.log_id == bindparam("log_id"))


@prepared
def _conversation_by_hash(tables: Tables) -> Select[Any]:
    c = tables.conversations
    return select(c.c.conversation_id).where(c.c.log_id == bindparam("log_id"))


# ------------------------------------------------------------------------------------------------- filling


class _Hashed(NamedTuple):
    """Rows of which the log writes an id."""

    #: Names the row.
    key: Column[Any]
    #: What the log writes, as it is or as its hash.
    platform_id: Column[Any]
    #: The hash; None for an id that is written as it is.
    hidden: Callable[[Hasher, str], str | None]


class LogIds:
    """Fills in the hashes of rows that an older version recorded. Every daemon may do it at the same time."""

    def __init__(self, database: Database) -> None:
        self._db = database
        conversation_id, run_id = (
            database.tables.conversations.c.conversation_id,
            database.tables.runs.c.run_id,
        )
        calls = database.tables.calls.c
        self._hashed = {
            "conversations": _Hashed(conversation_id, conversation_id, hidden_id),
            "runs": _Hashed(run_id, run_id, hidden_run_id),
            "calls": _Hashed(calls.call_id, calls.platform_call_id, hidden_call_id),
        }
        self.tables: Sequence[str] = tuple(self._hashed)

    async def pending(self) -> bool:
        """Whether rows of an older version may be without their hash."""
        u = self._db.tables.upkeep
        async with self._db.read() as connection:
            return (await connection.execute(select(u.c.due).where(u.c.task == _TASK))).first() is not None

    async def fill(self, table: str, after: str) -> str | None:
        """Fill in the next rows of a table after this key. Returns the last key, or None at the end.

        A row that another transaction is changing is not waited for: the next call begins with it.
        """
        key, platform_id, hidden = self._hashed[table]
        rows = await self._rows(key, platform_id, after)
        hashes = {each.key: hidden(self._db.hasher, each.platform_id) for each in rows}
        needed = {each: log_id for each, log_id in hashes.items() if log_id is not None}
        filled = await self._write(key, needed) if needed else set()
        for each in hashes:
            if each in needed and each not in filled:
                return after
            after = each
        return after if rows else None

    async def finish(self) -> None:
        """Record that all rows have been walked, unless older daemons may still add some."""
        u = self._db.tables.upkeep
        async with self._db.write() as connection:
            await connection.execute(delete(u).where(u.c.task == _TASK, u.c.due <= now()))

    async def _rows(self, key: Column[Any], platform_id: Column[Any], after: str) -> Sequence[Any]:
        query = select(key.label("key"), platform_id.label("platform_id"))
        query = query.where(key > after, _log_id(key.table).is_(None)).order_by(key).limit(_BATCH)
        async with self._db.read() as connection:
            return (await connection.execute(query)).all()

    async def _write(self, key: Column[Any], log_ids: dict[str, str]) -> set[str]:
        """Returns the keys of the rows that were changed."""
        unchanged = select(key).where(key.in_(log_ids), _log_id(key.table).is_(None))
        filling = update(key.table).where(key == bindparam("row")).values(log_id=bindparam("hash"))
        async with self._db.write() as connection:
            locked = set(
                (await connection.execute(unchanged.with_for_update(skip_locked=True))).scalars().all()
            )
            if locked:
                await connection.execute(filling, [{"row": row, "hash": log_ids[row]} for row in locked])
        return locked


def _log_id(table: Any) -> Column[Any]:
    column: Column[Any] = table.c.log_id
    return column
