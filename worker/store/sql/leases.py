"""Leases on rows: one statement takes them, a heartbeat renews them, the owner gives them back."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Float,
    Integer,
    Row,
    Select,
    Table,
    Update,
    bindparam,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.ports import LEASE_S
from worker.store.sql.database import Database
from worker.store.sql.statements import Statement, prepared
from worker.store.sql.tables import now

_BATCH = 5_000
"""Rows in one statement: below every driver's limit of parameters."""


def unheld(table: Table) -> ColumnElement[bool]:
    """The row has no owner, or its owner's lease has expired."""
    return or_(table.c.owner.is_(None), table.c.lease_until < now())


HELD: dict[str, Any] = {
    "owner": bindparam("owner"),
    "lease_until": now() + bindparam("lease_s", type_=Float),
}
"""Column values that give a row to `owner`."""

GIVEN_BACK: dict[str, Any] = {"owner": None, "lease_until": 0}
"""Column values of a row without an owner."""


async def take(
    database: Database, any_due: Statement, claim: Statement, *variant: Any, **values: Any
) -> Sequence[Any]:
    """Claim due rows by the statement `claim`, if the statement `any_due` finds one.

    It reads before it writes: an idle worker must not cost the database a write every second.
    """
    async with database.read(brief=True) as connection:
        if (await any_due(connection, database.tables, *variant)).first() is None:
            return ()
    async with database.write() as connection:
        return (await claim(connection, database.tables, *variant, **values)).rows


def any_of(due: Callable[..., Select[Any]]) -> Statement:
    """A statement that returns one of the rows that `due` selects, if there is any."""
    return prepared(lambda *what: due(*what).limit(1))


def taking(key: Column[Any], due: Select[Any]) -> Update:
    """A statement that claims at most `room` of the rows whose keys `due` selects.

    Two workers that claim at once never get the same row and never wait for each other.
    """
    room = bindparam("room", type_=Integer)
    return update(key.table).where(locked(key, due.limit(room), wait=False))


async def renew(
    database: Database,
    key: Column[Any],
    keys: Iterable[str],
    *,
    owner: str,
    returning: Sequence[ColumnElement[Any]],
) -> list[Row[Any]]:
    """Renew and return those of these rows that `owner` still holds."""
    t = key.table
    renewed: list[Row[Any]] = []
    for batch in _batches(sorted(keys)):
        owned = select(key).where(key.in_(batch), t.c.owner == owner)
        renewing = update(t).where(locked(key, owned, wait=True)).values(lease_until=now() + LEASE_S)
        async with database.write(urgent=True) as connection:
            renewed += await connection.execute(renewing.returning(*returning))
    return renewed


def locked(key: Column[Any], query: Select[Any], *, wait: bool) -> ColumnElement[bool]:
    """A condition for the rows whose keys `query` selects. The surrounding statement locks them.

    Not `wait`: without the rows that another transaction is changing. Else in the order of their keys, so
    that two transactions that change several rows never deadlock.
    """
    query = query.order_by(key).with_for_update() if wait else query.with_for_update(skip_locked=True)
    rows = query.cte("locked")
    return key.in_(select(rows.c[key.name]))


async def give_back(connection: AsyncConnection, key: Column[Any], owner: str | None, **values: Any) -> None:
    """Release every row that this owner holds; with None, every row that has an owner."""
    t = key.table
    held = select(key).where(t.c.owner.is_not(None) if owner is None else t.c.owner == owner)
    released = update(t).where(locked(key, held, wait=True)).values(**GIVEN_BACK, **values)
    await connection.execute(released)


def _batches(items: Sequence[str]) -> Iterator[Sequence[str]]:
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))
