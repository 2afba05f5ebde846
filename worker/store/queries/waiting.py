"""What waits: events for the bot, customers for a person."""

from sqlalchemy import ColumnElement, Select, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.store.sql.tables import PENDING, REQUESTED, STUCK, Tables, now
from worker.views import Waiting


async def measure_waiting(connection: AsyncConnection, tables: Tables) -> Waiting:
    """On the partial indexes of what waits: quick, however much was delivered and closed."""
    outbox, handoffs = tables.outbox, tables.handoffs
    pending = _oldest(outbox, "created_at", PENDING)
    stuck = _oldest(outbox, "created_at", STUCK)
    requested = _oldest(handoffs, "requested_at", REQUESTED)
    (_, oldest_event_s), (events, _), (waiting, oldest_handoff_s) = [
        (await connection.execute(query)).one() for query in (pending, stuck, requested)
    ]
    return Waiting(
        oldest_event_s=oldest_event_s,
        stuck_events=events,
        handoffs=waiting,
        oldest_handoff_s=oldest_handoff_s,
        overdue_handoffs=await count_overdue(connection, tables),
    )


async def count_overdue(connection: AsyncConnection, tables: Tables) -> int:
    """Hand-offs that still wait past their deadline."""
    h = tables.handoffs
    late = select(func.count()).select_from(h).where(h.c.state == REQUESTED, h.c.due_at <= now())
    return (await connection.execute(late)).scalar_one()


def _oldest(table: Table, since: str, state: ColumnElement[str]) -> Select[int, float]:
    """How many rows of a table are in a state, and the age of the first in seconds, 0 without any."""
    age_s = func.coalesce(now() - func.min(table.c[since]), 0.0)
    return select(func.count(), age_s).where(table.c.state == state)
