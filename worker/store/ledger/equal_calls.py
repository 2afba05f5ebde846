"""The equal-call rule: the earlier call that a new call is equal to (contract §6)."""

from typing import Any

from sqlalchemy import Select, and_, bindparam, exists, not_
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.model import CallRecord, CallState, RunState
from worker.store.ledger.rows import get, record, select_calls
from worker.store.sql.statements import prepared
from worker.store.sql.tables import Tables, now
from worker.views import HandoffState

EQUAL_WINDOW_S = 600.0
"""Seconds in which two calls of a conversation can be equal; after a lost run, counted from its end."""


async def earlier_equal(
    connection: AsyncConnection, tables: Tables, new: dict[str, object]
) -> CallRecord | None:
    """The call that a new call is equal to, or None. `new`: the columns of the new call."""
    row = (await _same_call(connection, tables, **_subject(new, *_SAME_CALL))).first()
    if row is None and new["setor"] is not None:
        row = (await _never_submitted(connection, tables, **_subject(new, *_NEVER_SUBMITTED))).first()
    return None if row is None else await _latest_try(connection, tables, record(row))


async def _latest_try(connection: AsyncConnection, tables: Tables, earlier: CallRecord) -> CallRecord:
    """The call whose state counts for a failed ticket: the latest with its key, as a person may retry it.

    A waiting call that failed has no key of its own. The call that it waited for counts instead.
    """
    t = tables.calls
    while earlier.waits and earlier.state is CallState.FAILED:
        earlier = await get(connection, tables, earlier.equal_to or "")
    if earlier.state is not CallState.FAILED:
        return earlier
    tries = select_calls(tables).where(t.c.idempotency_key == earlier.idempotency_key)
    return record((await connection.execute(_preferred(tables, tries))).one())


def _preferred(tables: Tables, calls: Select[Any]) -> Select[Any]:
    """The latest; a failed one only if there is no other."""
    t = tables.calls
    return calls.order_by(t.c.state == CallState.FAILED, t.c.received_at.desc()).limit(1)


def _subject(new: dict[str, object], *compared: str) -> dict[str, object]:
    """The bind values of the statements below: `new_setor` and so on."""
    return {f"new_{name}": new[name] for name in compared}


_SAME_CALL = ("conversation_id", "equal_key")


@prepared
def _same_call(tables: Tables) -> Select[Any]:
    """The equal call within the window. Calls that only wait for another do not extend the window."""
    t, first = tables.calls, tables.calls.alias("first")
    only_waits = and_(
        t.c.idempotency_key.is_(None),
        exists().where(first.c.call_id == t.c.equal_to, first.c.equal_key == t.c.equal_key),
    )
    # A hand-off that has ended does not count as the equal of a new one.
    h = tables.handoffs
    over = exists().where(
        h.c.call_id == t.c.call_id, h.c.state.in_([HandoffState.CLOSED, HandoffState.RETURNED])
    )
    calls = select_calls(tables).where(
        t.c.conversation_id == bindparam("new_conversation_id"),
        t.c.received_at > now() - EQUAL_WINDOW_S,
        t.c.state != CallState.REJECTED,
        t.c.equal_key == bindparam("new_equal_key"),
        not_(only_waits),
        not_(over),
    )
    return _preferred(tables, calls)


_NEVER_SUBMITTED = ("conversation_id", "tool", "document_hash", "setor", "motivo")


@prepared
def _never_submitted(tables: Tables) -> Select[Any]:
    """A ticket of a lost run whose answer never reached the model: the next such call is its equal."""
    t, r, later = tables.calls, tables.runs, tables.calls.alias("later")
    calls = (
        select_calls(tables)
        .join(r, r.c.run_id == t.c.run_id)
        .where(
            t.c.conversation_id == bindparam("new_conversation_id"),
            r.c.closed_at > now() - EQUAL_WINDOW_S,
            r.c.state == RunState.LOST,
            t.c.submitted_at.is_(None),
            t.c.state.in_([CallState.DONE, CallState.UNKNOWN]),
            t.c.tool == bindparam("new_tool"),
            t.c.document_hash == bindparam("new_document_hash"),
            t.c.setor == bindparam("new_setor"),
            t.c.motivo == bindparam("new_motivo"),
            ~exists().where(later.c.equal_to == t.c.call_id),
        )
    )
    return _preferred(tables, calls)
