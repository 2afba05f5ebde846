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
    )


def _oldest(table: Table, since: str, state: ColumnElement[str]) -> Select[int, float]:
    """How many rows of a table are in a state, and the age of the first in seconds, 0 without any."""
    age_s = func.coalesce(now() - func.min(table.c[since]), 0.0)
    return select(func.count(), age_s).where(table.c.state == state)
