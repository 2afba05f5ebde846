"""Reading rows of the ledger inside the caller's transaction."""

from typing import Any

from sqlalchemy import ColumnElement, Select, Table, and_, bindparam, exists, func, not_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.errors import StoreError
from worker.model import CallRecord, CallState, ToolKind
from worker.store.sql.rows import from_row
from worker.store.sql.statements import prepared
from worker.store.sql.tables import WATCHING, Tables, now


async def get(connection: AsyncConnection, tables: Tables, call_id: str, *, lock: bool = False) -> CallRecord:
    """A recorded call. `lock`: no other transaction changes it before this one ends.

    Raises `StoreError` when there is none: callers pass ids from the ledger.
    """
    if lock and connection.dialect.name != "sqlite":
        # A separate statement: one that waited for the lock would read other tables in their earlier state.
        await _lock(connection, tables, call_id=call_id)
    row = (await _by_id(connection, tables, call_id=call_id)).first()
    if row is None:
        raise StoreError("a recorded call is missing")
    return record(row)


async def find(
    connection: AsyncConnection, tables: Tables, which: ColumnElement[bool], *, lock: bool = False
) -> CallRecord | None:
    """The first of these calls, or None. `lock`: as in `get`."""
    if lock:
        await connection.execute(select(tables.calls.c.call_id).where(which).with_for_update())
    row = (await connection.execute(select_calls(tables).where(which))).first()
    return None if row is None else record(row)


async def find_by_key(
    connection: AsyncConnection, tables: Tables, call_key: str, former_key: str, tool: str
) -> CallRecord | None:
    """The call of this key, or None.

    A row that an older version has recorded under `former_key`, without the call's content, is the same call
    if it is one of the same tool whose answer the platform has not accepted yet: where ids start over in
    each round, the round before was accepted.
    """
    row = (await _by_key(connection, tables, call_key=call_key, former_key=former_key, tool=tool)).first()
    return None if row is None else record(row)


@prepared
def _by_id(tables: Tables) -> Select[Any]:
    return select_calls(tables).where(tables.calls.c.call_id == bindparam("call_id"))


@prepared
def _by_key(tables: Tables) -> Select[Any]:
    t = tables.calls
    same = t.c.call_key == bindparam("call_key")
    recorded_before = and_(t.c.submitted_at.is_(None), t.c.tool == bindparam("tool"))
    keys = t.c.call_key.in_([bindparam("call_key"), bindparam("former_key")])
    return select_calls(tables).where(keys, or_(same, recorded_before)).order_by(same.desc()).limit(1)


@prepared
def _lock(tables: Tables) -> Select[Any]:
    calls = tables.calls
    return select(calls.c.call_id).where(calls.c.call_id == bindparam("call_id")).with_for_update()


def select_calls(tables: Tables) -> Select[Any]:
    """Calls as `record` reads them. `uncertain`: an attempt is open, or ended without being sure."""
    # An alias, so that a query that joins `runs` itself does not share this row.
    t, a, r = tables.calls, tables.attempts, tables.runs.alias("its_run")
    uncertain = exists().where(a.c.call_id == t.c.call_id, a.c.certain.is_not(True))
    watched = exists().where(r.c.run_id == t.c.run_id, r.c.state == WATCHING)
    cut_off = select(func.count()).where(a.c.call_id == t.c.call_id, a.c.ended_at.is_(None)).scalar_subquery()
    return select(
        t,
        uncertain.label("uncertain"),
        not_(watched).label("run_gone"),
        (now() - t.c.received_at).label("age_s"),
        cut_off.label("cut_off"),
    )


def record(row: Any) -> CallRecord:
    """One row of `select_calls`."""
    return from_row(
        CallRecord,
        row,
        kind=ToolKind(row.kind),
        state=CallState(row.state),
        maybe_sent=bool(row.maybe_sent or row.uncertain),
        answered=row.answered_at is not None,
        run_gone=bool(row.run_gone),
    )


def keeps_beside(calls: Table, protocolo: str) -> ColumnElement[bool]:
    """Calls that have this protocolo in addition to their own."""
    extra = calls.c.extra_protocolo
    return and_(extra.is_not(None), ("," + extra + ",").contains(f",{protocolo},", autoescape=True))
