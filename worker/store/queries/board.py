"""What the dashboard looks at: no payload, and each query bounded, by a period or by an index of its own."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Float,
    Integer,
    Row,
    Select,
    bindparam,
    case,
    exists,
    func,
    not_,
    or_,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement

from worker.model import CallState, ToolKind
from worker.store.ledger.replies import reply_view
from worker.store.queries.kpis import calls
from worker.store.queries.records import run_summary
from worker.store.sql.database import Database
from worker.store.sql.rows import from_row
from worker.store.sql.tables import ACCEPTED, DEAD, LOST, NO_CODES, PENDING, REQUESTED, STUCK, now
from worker.views import (
    COUNTED_UP_TO,
    Backlog,
    DeadLetter,
    HandoffState,
    Hour,
    OpenHandoff,
    Preview,
    StuckEvent,
)

_HOUR_S = 3600.0
_LOST_S = 72 * _HOUR_S
"""How long a lost run asks for a person: after three days its customer has written again, or left."""
_DAY_S = 24 * _HOUR_S
_UNSURE = (CallState.UNKNOWN, CallState.NO_PROTOCOL)


class _whole(FunctionElement[int]):  # noqa: N801  # reads as the SQL function it is
    """The whole part of a number that is not negative."""

    type = Integer()
    inherit_cache = True


@compiles(_whole, "sqlite")
def _whole_sqlite(element: Any, compiler: Any, **how: Any) -> str:
    return f"cast({compiler.process(element.clauses, **how)} as integer)"  # its floor() is optional


@compiles(_whole, "postgresql")
def _whole_postgresql(element: Any, compiler: Any, **how: Any) -> str:
    return f"floor({compiler.process(element.clauses, **how)})::int"  # its cast rounds


class Board:
    """The dashboard's reads. `may_repeat`: sending a call again cannot open a second ticket."""

    def __init__(self, database: Database, *, may_repeat: bool) -> None:
        self._db = database
        self._t = database.tables
        self._may_repeat = may_repeat

    async def hours(self, since: float) -> Sequence[Hour]:
        t = self._t.calls
        nth = _whole((t.c.received_at - since) / _HOUR_S).label("nth")
        c = calls(self._t, since, None).add_columns(nth).subquery("c").c

        def count(which: ColumnElement[bool], name: str) -> ColumnElement[int]:
            return func.count().filter(which).label(name)

        query = (
            select(
                c.nth,
                count(c.fate == CallState.DONE, "opened"),
                count(c.fate == CallState.FAILED, "failed"),
                count(c.fate.in_(_UNSURE), "unsure"),
                count(c.rejected, "rejected"),
            )
            .group_by(c.nth)
            .order_by(c.nth)
        )
        async with self._db.read() as connection:
            rows = (await connection.execute(query)).all()
        return [
            Hour(since + row.nth * _HOUR_S, row.opened, row.failed, row.unsure, row.rejected) for row in rows
        ]

    async def backlog(self, limit: int) -> Backlog:
        outbox = self._t.outbox
        requested, accepted = self._requested(), self._handoffs(ACCEPTED)
        late = select(self._t.handoffs.c.handoff_id).where(*self._late())
        stuck = select(outbox).where(outbox.c.state == STUCK).order_by(outbox.c.created_at.desc())
        async with self._db.read() as connection:
            dead_rows, dead = await _preview(connection, self._dead(), limit)
            requested_rows, waiting = await _preview(connection, requested, limit)
            accepted_rows, attended = await _preview(connection, accepted, limit)
            stuck_rows, undelivered = await _preview(connection, stuck, limit)
            lost_rows, lost = await _preview(connection, self._lost(), limit)
            suspect_rows, suspects = await _preview(connection, self._suspect(), limit)
            events = await _count(connection, select(outbox.c.seq).where(outbox.c.state == PENDING))
            overdue = await _count(connection, late)
            longest_wait_s = (await connection.execute(self._longest_wait())).scalar_one()
        return Backlog(
            Preview([self._dead_letter(row) for row in dead_rows], dead),
            Preview([_handoff(row) for row in requested_rows], waiting),
            Preview([_handoff(row) for row in accepted_rows], attended),
            Preview([_stuck(row) for row in stuck_rows], undelivered),
            Preview([run_summary(row) for row in lost_rows], lost),
            Preview([reply_view(row) for row in suspect_rows], suspects),
            events,
            overdue,
            longest_wait_s,
        )

    def _suspect(self) -> Select[Any]:
        c = self._t.reply_checks
        recent = c.c.checked_at > now() - _DAY_S
        return select(c).where(c.c.codes != NO_CODES, recent).order_by(c.c.checked_at.desc())

    def _dead(self) -> Select[Any]:
        """Decided against us, and no later call makes, or made, the same ticket (it has the same key)."""
        t, later = self._t.calls, self._t.calls.alias("later")
        carried_on = exists().where(
            later.c.idempotency_key == t.c.idempotency_key,
            later.c.call_id != t.c.call_id,
            or_(later.c.state != CallState.FAILED, later.c.received_at > t.c.received_at),
        )
        states: Any = bindparam("dead", DEAD, expanding=True, literal_execute=True)
        columns = (
            t.c.call_id,
            t.c.conversation_id,
            t.c.tool,
            t.c.kind,
            t.c.state,
            t.c.error,
            t.c.setor,
            t.c.motivo,
        )
        return (
            select(*columns, t.c.received_at, t.c.body.is_not(None).label("sendable"))
            .where(t.c.state.in_(states), t.c.dismissed_at.is_(None))
            .where(t.c.idempotency_key.is_not(None), not_(carried_on))
            .order_by(t.c.received_at.desc())
        )

    def _lost(self) -> Select[Any]:
        """Runs that left their customer without a reply: their conversations had no run since."""
        r, later = self._t.runs, self._t.runs.alias("later")
        went_on = exists().where(
            later.c.conversation_id == r.c.conversation_id, later.c.registered_at > r.c.registered_at
        )
        return (
            select(r)
            .where(r.c.state == LOST, r.c.registered_at > now() - _LOST_S)
            .where(r.c.dismissed_at.is_(None), not_(went_on))
            .order_by(r.c.registered_at.desc())
        )

    def _dead_letter(self, row: Row[Any]) -> DeadLetter:
        state = CallState(row.state)
        repeatable = {CallState.FAILED, CallState.UNKNOWN} if self._may_repeat else {CallState.FAILED}
        return from_row(
            DeadLetter,
            row,
            state=state,
            retriable=state in repeatable and row.sendable,
            resolvable=row.kind == ToolKind.TICKET,
        )

    def _handoffs(self, state: ColumnElement[str]) -> Select[Any]:
        h = self._t.handoffs
        since = func.coalesce(h.c.accepted_at, h.c.requested_at, type_=Float)
        columns = (h.c.handoff_id, h.c.conversation_id, h.c.departamento, h.c.state)
        opens_at = case((h.c.opens_at > now(), h.c.opens_at))
        late_s = case((h.c.due_at < now(), now() - h.c.due_at), else_=0.0)
        times = (now() - since).label("for_s"), opens_at.label("opens_at"), late_s.label("late_s")
        return select(*columns, h.c.due_at, *times).where(h.c.state == state).order_by(h.c.requested_at)

    def _requested(self) -> Select[Any]:
        """The one furthest past its deadline first; those without one last, the longest wait first."""
        h = self._t.handoffs
        waiting = self._handoffs(REQUESTED).order_by(None)
        return waiting.order_by(h.c.due_at.asc().nulls_last(), h.c.requested_at)

    def _late(self) -> tuple[ColumnElement[bool], ...]:
        h = self._t.handoffs
        return h.c.state == REQUESTED, h.c.due_at <= now()

    def _longest_wait(self) -> Select[Any]:
        h = self._t.handoffs
        waits_s = now() - func.min(h.c.requested_at)
        return select(func.coalesce(waits_s, 0.0)).where(h.c.state == REQUESTED)


def _handoff(row: Row[Any]) -> OpenHandoff:
    accepted = row.state == HandoffState.ACCEPTED
    return from_row(
        OpenHandoff,
        row,
        accepted=accepted,
        due_at=None if accepted else row.due_at,
        late_s=0.0 if accepted else row.late_s,
    )


def _stuck(row: Row[Any]) -> StuckEvent:
    return from_row(StuckEvent, row, kind=json.loads(row.body)["type"])


async def _preview(
    connection: AsyncConnection, query: Select[Any], limit: int
) -> tuple[Sequence[Row[Any]], int]:
    """The first rows, and how many there are: counted only when there are more than shown."""
    rows = (await connection.execute(query.limit(limit + 1))).all()
    return rows[:limit], len(rows) if len(rows) <= limit else await _count(connection, query)


async def _count(connection: AsyncConnection, query: Select[Any]) -> int:
    first = query.order_by(None).limit(COUNTED_UP_TO).subquery()
    return (await connection.execute(select(func.count()).select_from(first))).scalar_one()
