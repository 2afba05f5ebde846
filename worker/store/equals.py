"""The equal-call rule: which earlier call a new one takes after (contract §6)."""

from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, not_
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.model import CallRecord, CallState, RunState
from worker.store.rows import record, select_calls
from worker.store.schema import Tables, now

EQUAL_WINDOW_S = 600.0
"""Two calls of a conversation can be equal this long."""


async def earlier_equal(
    connection: AsyncConnection, tables: Tables, new: dict[str, object]
) -> CallRecord | None:
    """The call that a new one, given by its columns, is equal to."""
    row = (await connection.execute(_same(tables, new).limit(1))).first()
    if row is None and new["setor"] is not None:
        row = (await connection.execute(_never_told(tables, new).limit(1))).first()
    return None if row is None else record(row)


def _recent(tables: Tables, new: dict[str, object]) -> ColumnElement[bool]:
    t = tables.calls
    return and_(
        t.c.conversation_id == new["conversation_id"],
        t.c.received_at > now() - EQUAL_WINDOW_S,
        t.c.state != CallState.REJECTED,
    )


def _same(tables: Tables, new: dict[str, object]) -> Select[Any]:
    """The first call of this kind: one that only waits for it opens no window of its own.

    A failed one only if there is no other: its later attempts speak for it.
    """
    t, first = tables.calls, tables.calls.alias("first")
    only_waits = and_(
        t.c.idempotency_key.is_(None),
        exists().where(first.c.call_id == t.c.equal_to, first.c.equal_key == t.c.equal_key),
    )
    return (
        select_calls(tables)
        .where(_recent(tables, new), t.c.equal_key == new["equal_key"], not_(only_waits))
        .order_by(t.c.state == CallState.FAILED, t.c.received_at.desc())
    )


def _never_told(tables: Tables, new: dict[str, object]) -> Select[Any]:
    """A ticket whose answer never reached the model, its run being lost: the next is its equal."""
    t, r, later = tables.calls, tables.runs, tables.calls.alias("later")
    return (
        select_calls(tables)
        .join(r, r.c.run_id == t.c.run_id)
        .where(
            _recent(tables, new),
            r.c.state == RunState.LOST,
            t.c.submitted_at.is_(None),
            t.c.state.in_([CallState.DONE, CallState.UNKNOWN]),
            t.c.tool == new["tool"],
            t.c.document_hash == new["document_hash"],
            t.c.setor == new["setor"],
            t.c.motivo == new["motivo"],
            ~exists().where(later.c.equal_to == t.c.call_id),
        )
        .order_by(t.c.received_at.desc())
    )
