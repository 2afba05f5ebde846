"""What became of a call, recorded with its answer, receipt and event at once (contract §4-6)."""

from sqlalchemy import case, func, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.model import CallRecord, CallState, Outcome
from worker.personal import Personal
from worker.store import leasing
from worker.store.database import Database
from worker.store.outbox import Outbox
from worker.store.rows import get
from worker.store.schema import now

_EVENTS = {
    CallState.DONE: "ticket.opened",
    CallState.FAILED: "ticket.failed",
    CallState.UNKNOWN: "ticket.unknown",
    CallState.NO_PROTOCOL: "ticket.no_protocol",
}
_FIRST_CHECK_S = 60.0


class Outcomes:
    """Writes outcomes. `checks`: an open question is looked up again at the CRM (`CRM_LOOKUP_URL`)."""

    def __init__(self, database: Database, outbox: Outbox, *, checks: bool) -> None:
        self._db = database
        self._outbox = outbox
        self._checks = checks
        self._t = database.tables.calls

    async def finish(self, connection: AsyncConnection, before: CallRecord, outcome: Outcome) -> None:
        """Record an outcome, end what is open of its attempts, and tell the bot."""
        asks_again = self._checks and outcome.state in {CallState.UNKNOWN, CallState.NO_PROTOCOL}
        await connection.execute(
            update(self._t)
            .where(self._t.c.call_id == before.call_id)
            .values(
                state=outcome.state,
                error=outcome.error,
                protocolo=outcome.protocolo,
                finished_at=now(),
                due=now() + _FIRST_CHECK_S if asks_again else None,
                checks=0,
                retrying=False,
                **leasing.GIVEN_BACK,
            )
        )
        await self._end_open_attempts(connection, before, outcome)
        if outcome.state is CallState.FAILED and outcome.certain:
            await self._give_receipt_back(connection, before.call_id)
        await self._tell(connection, before, outcome)

    async def give(
        self, connection: AsyncConnection, call_id: str, answer: Personal, *, success: bool
    ) -> None:
        """The answer is given once: a better outcome afterwards changes the outcome only."""
        await connection.execute(
            update(self._t)
            .where(self._t.c.call_id == call_id, self._t.c.answer.is_(None))
            .values(answer=answer, answered_success=success, answered_at=now())
        )

    async def keep_beside(self, connection: AsyncConnection, call_id: str, protocolo: str | None) -> None:
        """A second ticket of one call: it was opened, so it is never thrown away, nor is a third."""
        extra = self._t.c.extra_protocolo
        await connection.execute(
            update(self._t)
            .where(self._t.c.call_id == call_id)
            .values(extra_protocolo=func.coalesce(extra + ",", "") + protocolo)
        )

    async def _end_open_attempts(
        self, connection: AsyncConnection, before: CallRecord, outcome: Outcome
    ) -> None:
        """The outcome is the last attempt's; an earlier one still open was left so by a process that died."""
        a = self._db.tables.attempts
        last = a.c.attempt == before.attempts
        await connection.execute(
            update(a)
            .where(a.c.call_id == before.call_id, a.c.ended_at.is_(None))
            .values(
                ended_at=now(),
                result=case((last, outcome.error or "ok"), else_="abandoned"),
                certain=case((last, outcome.certain), else_=False),
            )
        )

    async def _give_receipt_back(self, connection: AsyncConnection, call_id: str) -> None:
        """What surely opened nothing has not used the receipt."""
        c = self._db.tables.conversations
        after = await get(connection, self._db.tables, call_id)
        if not after.maybe_sent:
            await connection.execute(
                update(c)
                .where(c.c.conversation_id == after.conversation_id, c.c.attachment_taken_by == call_id)
                .values(attachment_taken_by=None)
            )

    async def _tell(self, connection: AsyncConnection, before: CallRecord, outcome: Outcome) -> None:
        """Events are of tickets, and of those that were sent: a call that took over another's emits none."""
        if before.setor is None or before.waits:
            return
        told = {
            "call_id": before.call_id,
            "run_id": before.run_id,
            "conversation_id": before.conversation_id,
            "setor": before.setor,
            "motivo": before.motivo,
            "protocolo": outcome.protocolo,
            "error": outcome.error,
            "late": before.answer is not None,
        }
        await self._outbox.put(connection, before.conversation_id, _EVENTS[outcome.state], told)
