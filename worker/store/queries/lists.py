"""Long lists, newest first, a page at a time: filters that an index serves, and where a page begins."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    Select,
    String,
    Table,
    and_,
    bindparam,
    or_,
    select,
    text,
    union_all,
)

from worker.model import CallState, EventState, RunState
from worker.store.ledger.rows import keeps_beside
from worker.store.sql.tables import DEAD, OPEN, SHORT_ID, Tables
from worker.views import CallFilter, Cursor, RunFilter

_Item = TypeVar("_Item")


def calls_where(calls: Table, which: CallFilter) -> list[ColumnElement[bool]]:
    """The conditions of a filter, each of which one index can serve."""
    c = calls.c
    equal = {"conversation_id": which.conversation_id, "run_id": which.run_id, "tool": which.tool}
    equal |= {"setor": which.setor, "motivo": which.motivo}
    found: list[ColumnElement[bool]] = [
        c[name] == value for name, value in equal.items() if value is not None
    ]
    if which.state is not None:
        found += _call_state(calls, which.state)
    if not which.dismissed:
        found.append(c.dismissed_at.is_(None))
    if which.protocolo is not None:
        # Not `or`: with it SQLite would rather walk all calls in the order of the list.
        held = select(c.call_id).where(c.protocolo == which.protocolo)
        beside = select(c.call_id).where(keeps_beside(calls, which.protocolo))
        found.append(c.call_id.in_(union_all(held, beside).scalar_subquery()))
    if which.platform_call_id is not None:
        found.append(_platform_call(calls, which.platform_call_id))
    return found + _between(c.received_at, which.since, which.until)


def _platform_call(calls: Table, written: str) -> ColumnElement[bool]:
    """Calls by the platform's id, or by what the log writes instead."""
    c = calls.c
    by_id = select(c.call_id).where(c.platform_call_id == written, text(SHORT_ID))
    by_hash = select(c.call_id).where(c.log_id == written)
    return c.call_id.in_(union_all(by_id, by_hash).scalar_subquery())


def runs_where(runs: Table, which: RunFilter) -> list[ColumnElement[bool]]:
    """As `calls_where`, for runs."""
    c = runs.c
    found: list[ColumnElement[bool]] = []
    if which.state is not None:
        found.append(_written_out(c.state, (which.state,)))
    if which.reason is not None:
        found += [c.reason.is_not(None), c.reason == which.reason]
    if which.conversation_id is not None:
        found.append(c.conversation_id == which.conversation_id)
    return found + _between(c.registered_at, which.since, which.until)


def events_where(
    tables: Tables, state: EventState | None, conversation_id: str | None
) -> list[ColumnElement[bool]]:
    """As `calls_where`, for events."""
    c = tables.outbox.c
    found: list[ColumnElement[bool]] = [] if state is None else [_written_out(c.state, (state,))]
    return found if conversation_id is None else [*found, c.conversation_id == conversation_id]


def _call_state(calls: Table, state: CallState) -> list[ColumnElement[bool]]:
    """A partial index over several states serves one of them only if the query names them all as well."""
    exactly = _written_out(calls.c.state, (state,))
    together = next((group for group in (DEAD, OPEN) if state in group), None)
    return [exactly] if together is None else [_written_out(calls.c.state, together), exactly]


def _written_out(
    column: Column[Any], values: Sequence[CallState | RunState | EventState]
) -> ColumnElement[bool]:
    """States as literals: a partial index serves no query whose parameter might be another value."""
    if len(values) == 1:
        return column == bindparam(None, values[0], String, literal_execute=True, unique=True)
    return column.in_(bindparam(None, values, String, expanding=True, literal_execute=True, unique=True))


def _between(at: Column[Any], since: float | None, until: float | None) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [] if since is None else [at >= since]
    return found if until is None else [*found, at < until]


def newest_first(
    query: Select[Any], at: Column[float], key: ColumnElement[str], limit: int, cursor: Cursor | None
) -> Select[Any]:
    """One row more than a page holds tells whether there is a next page."""
    if cursor is not None:
        # The first condition alone is what an index can begin at.
        query = query.where(at <= cursor[0], or_(at < cursor[0], and_(at == cursor[0], key < cursor[1])))
    return query.order_by(at.desc(), key.desc()).limit(limit + 1)


def next_cursor(found: Sequence[_Item], limit: int, cursor_of: Callable[[_Item], Cursor]) -> Cursor | None:
    """Where the next page begins, None on the last. `found`: what a query of `newest_first` returned."""
    return cursor_of(found[limit - 1]) if len(found) > limit else None
