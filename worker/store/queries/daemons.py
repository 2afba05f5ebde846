"""Which daemons live, by what they report every few seconds; commands beside them ask here."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Select, delete, or_, select, update

from worker.model import ToolKind
from worker.store.sql.database import Database
from worker.store.sql.tables import now
from worker.views import CrmOutcome, DaemonReport, LivingDaemon

REPORT_S = 5.0
"""Seconds between two reports of a daemon."""

_LIVING_S = 4 * REPORT_S
_FORGOTTEN_S = 3600.0
_KEY_DIGITS = 16
_TICKETS_READ = 20
"""Tickets of each kind whose attempts are read for the last outcomes at the CRM."""


class Daemons:
    """Writes and reads the reports of daemons."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._t = database.tables.daemons

    def key_hashes(self, keys: Sequence[str]) -> tuple[str, ...]:
        """DATA_KEYS as a report names them: nothing of a key can be learned from it."""
        return tuple(self._db.hasher.digest("data key", key)[:_KEY_DIGITS] for key in keys)

    async def report(self, report: DaemonReport) -> None:
        """Put on record that this daemon lives, and how it is; forget those that died long ago."""
        t = self._t
        written = {"seen_at": now(), "report": json.dumps(asdict(report))}
        async with self._db.write() as connection:
            this = update(t).where(t.c.owner == report.owner)
            if not (await connection.execute(this.values(**written))).rowcount:
                await connection.execute(t.insert().values(owner=report.owner, started_at=now(), **written))
                await connection.execute(delete(t).where(t.c.seen_at < now() - _FORGOTTEN_S))

    async def leave(self, owner: str) -> None:
        """This daemon ends."""
        async with self._db.write() as connection:
            await connection.execute(delete(self._t).where(self._t.c.owner == owner))

    async def living(self) -> Sequence[LivingDaemon]:
        """Those that reported within the last 20 seconds, the oldest first."""
        t = self._t
        query = select(t).where(t.c.seen_at > now() - _LIVING_S).order_by(t.c.started_at)
        async with self._db.read() as connection:
            rows = (await connection.execute(query)).all()
        return [LivingDaemon(_report(row.report), row.started_at, row.seen_at) for row in rows]

    async def crm_outcomes(self, limit: int) -> Sequence[CrmOutcome]:
        """How the last attempts to open a ticket ended, the newest first; retried old tickets count."""
        a = self._db.tables.attempts
        tickets = or_(*(a.c.call_id.in_(newest.scalar_subquery()) for newest in self._tried_tickets()))
        query = (
            select(a.c.ended_at, a.c.result)
            .where(tickets, a.c.ended_at.is_not(None))
            .order_by(a.c.ended_at.desc())
            .limit(limit)
        )
        async with self._db.read() as connection:
            return [CrmOutcome(row.ended_at, row.result) for row in await connection.execute(query)]

    def _tried_tickets(self) -> Iterator[Select[Any]]:
        """Tickets whose attempts may be the last ones: the newest, and those decided last."""
        c = self._db.tables.calls
        tried = select(c.c.call_id).where(c.c.kind == ToolKind.TICKET, c.c.attempts > 0)
        yield tried.order_by(c.c.received_at.desc()).limit(_TICKETS_READ)
        # The condition of `ix_calls_payload`, which holds the tickets of the last weeks.
        decided = tried.where(
            or_(c.c.body.is_not(None), c.c.answer.is_not(None)), c.c.finished_at.is_not(None)
        )
        yield decided.order_by(c.c.finished_at.desc()).limit(_TICKETS_READ)


def _report(text: str) -> DaemonReport:
    fields = json.loads(text)
    return DaemonReport(**fields | {"keys": tuple(fields["keys"])})
