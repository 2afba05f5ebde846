"""Counts and times the KPIs in the database (contract §7); what they mean is `worker.kpis`'s to say."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import BigInteger, Column, ColumnElement, Row, Select, and_, case, cast, func, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.errors import IncompatibleMotivo, InvalidSetor
from worker.kpis import Durations, Kpis
from worker.model import CallState, ToolKind
from worker.store.sql.tables import OPEN, Tables

_UNDECIDED = [*OPEN, CallState.REJECTED]
_TENTHS = 10_000
"""Tenths of a millisecond in a second."""
_INVALID = [InvalidSetor.code, IncompatibleMotivo.code]


async def measure(connection: AsyncConnection, tables: Tables, since: float, until: float | None) -> Kpis:
    """The KPIs of what came in from `since` to before `until` (None: to now), in seconds since the epoch."""
    pairs = (await connection.execute(counts(tables, since, until))).all()
    handed_off = await connection.execute(departamentos(tables, since, until))
    checked = {row.codes: row.times for row in await connection.execute(replies(tables, since, until))}

    def total(name: str) -> int:
        return sum(getattr(row, name) for row in pairs)

    return Kpis(
        tickets_opened=total("opened"),
        valid_requests=total("valid"),
        pairs_given=total("given"),
        pairs_inexact=total("inexact"),
        pairs_invalid=total("invalid"),
        without_protocol=total("without_protocol"),
        unknown=total("unknown"),
        duplicates_avoided=total("avoided"),
        retries=total("retries"),
        crm_ms=await _durations(connection, attempt_spans(tables, since, until)),
        end_to_end_ms=await _durations(connection, request_spans(tables, since, until)),
        handoffs={row.departamento: row.requested for row in handed_off},
        by_setor=_opened(pairs, "setor"),
        by_motivo=_opened(pairs, "motivo"),
        replies_checked=sum(checked.values()),
        replies_suspect=sum(times for codes, times in checked.items() if codes),
        by_code=_by_code(checked),
    )


def _by_code(checked: Mapping[str, int]) -> dict[str, int]:
    """Suspect replies by code, most first; a reply with two codes counts for both."""
    found = Counter[str]()
    for codes, times in checked.items():
        for code in codes.split(",") if codes else ():
            found[code] += times
    return dict(found.most_common())


def _opened(pairs: Iterable[Row[Any]], by: str) -> dict[str, int]:
    """Tickets by setor or motivo, most first."""
    opened = Counter[str]()
    for row in pairs:
        if row.opened:
            opened[getattr(row, by)] += row.opened
    return dict(opened.most_common())


# ---------------------------------------------------------------------------------------------- the queries


def _within(at: Column[float], since: float, until: float | None) -> ColumnElement[bool]:
    return and_(at >= since, true() if until is None else at < until)


def _valid(tables: Tables) -> ColumnElement[bool]:
    """A ticket that passed every check, is no equal call and is decided; only a planned one has a motivo."""
    t = tables.calls
    planned = and_(t.c.kind == ToolKind.TICKET, t.c.motivo.is_not(None))
    return and_(planned, t.c.equal_to.is_(None), t.c.state.not_in(_UNDECIDED))


def _fate(tables: Tables) -> ColumnElement[str]:
    """The outcome of a call's ticket: after a failed call, that of the equal call with the same key."""
    t, later = tables.calls, tables.calls.alias("later")
    carried_on = (
        select(later.c.state)
        .where(later.c.idempotency_key == t.c.idempotency_key, later.c.state != CallState.FAILED)
        .order_by(later.c.received_at.desc())
        .limit(1)
        .scalar_subquery()
    )
    return case((t.c.state == CallState.FAILED, func.coalesce(carried_on, CallState.FAILED)), else_=t.c.state)


def calls(tables: Tables, since: float, until: float | None) -> Select[Any]:
    """The calls of a period, each with what it counts as."""
    t = tables.calls
    ticket = t.c.kind == ToolKind.TICKET
    return select(
        t.c.setor,
        t.c.motivo,
        case((_valid(tables), _fate(tables))).label("fate"),
        case((ticket, t.c.exact)).label("exact"),
        and_(ticket, t.c.error.in_(_INVALID)).label("invalid"),
        and_(ticket, t.c.state == CallState.REJECTED).label("rejected"),
        and_(t.c.equal_to.is_not(None), t.c.attempts == 0, t.c.state.not_in(OPEN)).label("avoided"),
        case((and_(ticket, t.c.attempts > 1), t.c.attempts - 1), else_=0).label("retries"),
    ).where(_within(t.c.received_at, since, until))


def counts(tables: Tables, since: float, until: float | None) -> Select[Any]:
    """All counts in one pass, a row for each setor and motivo."""
    c = calls(tables, since, until).subquery("c").c

    def count(which: ColumnElement[bool], name: str) -> ColumnElement[int]:
        return func.count(case((which, 1))).label(name)

    return select(
        c.setor,
        c.motivo,
        count(c.fate.is_not(None), "valid"),
        count(c.fate == CallState.DONE, "opened"),
        count(c.fate == CallState.UNKNOWN, "unknown"),
        count(c.fate == CallState.NO_PROTOCOL, "without_protocol"),
        count(c.exact.is_not(None), "given"),
        count(c.exact.is_(False), "inexact"),
        count(c.invalid, "invalid"),
        count(c.avoided, "avoided"),
        func.sum(c.retries).label("retries"),
    ).group_by(c.setor, c.motivo)


def departamentos(tables: Tables, since: float, until: float | None) -> Select[Any]:
    h = tables.handoffs
    requested = func.count().label("requested")
    found = select(h.c.departamento, requested).where(_within(h.c.requested_at, since, until))
    return found.group_by(h.c.departamento).order_by(requested.desc(), h.c.departamento)


def replies(tables: Tables, since: float, until: float | None) -> Select[Any]:
    """How many replies were checked, for each combination of codes."""
    c = tables.reply_checks
    counted = select(c.c.codes, func.count().label("times"))
    return counted.where(_within(c.c.checked_at, since, until)).group_by(c.c.codes)


def attempt_spans(tables: Tables, since: float, until: float | None) -> Select[Any]:
    """Seconds from begin to end of the attempt that opened a ticket, of each call; NULL where none did.

    Not a join: SQLite would rather read every attempt there is, and look its call up.
    """
    t, a = tables.calls, tables.attempts
    took = select(a.c.ended_at - a.c.begun_at).where(a.c.call_id == t.c.call_id, a.c.result == "ok").limit(1)
    within = _within(t.c.received_at, since, until)
    return select(took.scalar_subquery().label("seconds")).where(within, t.c.kind == ToolKind.TICKET)


def request_spans(tables: Tables, since: float, until: float | None) -> Select[Any]:
    """Seconds from each valid request to its answer's delivery; NULL for any other call.

    Not a condition: SQLite would rather find all calls without `equal_to` than those of the period.
    """
    t = tables.calls
    delivered = case((_valid(tables), t.c.submitted_at - t.c.received_at)).label("seconds")
    return select(delivered).where(_within(t.c.received_at, since, until))


def percentiles(spans: Select[Any]) -> Select[Any]:
    """Seconds in all, how many `spans` there are, and percentiles by nearest rank in tenths of a millisecond.

    A tenth is as fine as they are shown; counting equal ones first leaves thousands to rank, not a million.
    """
    one = spans.cte("span").prefix_with("MATERIALIZED").c.seconds  # computed once, not for each use
    tenth = cast(func.round(one * _TENTHS), BigInteger)
    times = select(tenth.label("tenth"), func.count().label("times"), func.sum(one).label("seconds"))
    counted = times.where(one.is_not(None)).group_by(tenth).subquery("counted").c
    ranked = select(
        counted.tenth,
        counted.seconds,
        func.sum(counted.times).over(order_by=counted.tenth).label("rank"),
        func.sum(counted.times).over().label("of"),
    )
    r = ranked.subquery("ranked").c

    def percentile(percent: int) -> ColumnElement[int]:
        return func.min(case((r.rank * 100 >= percent * r.of, r.tenth))).label(f"p{percent}")

    parts: list[ColumnElement[Any]] = [func.sum(r.seconds).label("seconds"), func.max(r.of).label("of")]
    return select(*parts, *(percentile(each) for each in (50, 95, 99)))


async def _durations(connection: AsyncConnection, spans: Select[Any]) -> Durations:
    """In milliseconds, as they are shown."""
    found = (await connection.execute(percentiles(spans))).one()
    if found.of is None:
        return Durations()
    tenths = (_TENTHS * found.seconds / int(found.of), found.p50, found.p95, found.p99)
    return Durations(*(round(each) / 10 for each in tenths))
