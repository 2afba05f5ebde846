"""What became of a call, recorded with its answer, receipt and event at once (contract §4-6)."""

from sqlalchemy import case, func, not_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.model import CallRecord, CallState, Outcome
from worker.personal import Personal
from worker.store import leasing
from worker.store.database import Database
from worker.store.outbox import Outbox
from worker.store.rows import get, keeps_beside
from worker.store.schema import now

_EVENTS = {
    CallState.DONE: "ticket.opened",
    CallState.FAILED: "ticket.failed",
    CallState.UNKNOWN: "ticket.unknown",
    CallState.NO_PROTOCOL: "ticket.no_protocol",
}
_IN_DOUBT = {CallState.UNKNOWN, CallState.NO_PROTOCOL}
_MENDABLE = {CallState.FAILED, *_IN_DOUBT}
_FIRST_CHECK_S = 60.0


class Outcomes:
    """Writes outcomes. `checks`: an open question is looked up again at the CRM (`CRM_LOOKUP_URL`)."""

    def __init__(self, database: Database, outbox: Outbox, *, checks: bool) -> None:
        self._db = database
        self._outbox = outbox
        self._checks = checks
        self._t = database.tables.calls

    async def finish(self, connection: AsyncConnection, before: CallRecord, outcome: Outcome) -> None:
        """Record an outcome for a call and those that took it over, end its attempts, and tell the bot."""
        asks_again = self._checks and outcome.state in _IN_DOUBT and _is_ticket(before)
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
        await self._pass_on(connection, before.call_id, outcome)
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
            .where(self._t.c.call_id == call_id, self._t.c.answered_at.is_(None))
            .values(answer=answer, answered_success=success, answered_at=now())
        )

    async def keep_beside(self, connection: AsyncConnection, call_id: str, protocolo: str) -> None:
        """A second ticket of one call: it was opened, so it is never thrown away, nor is a third."""
        extra = self._t.c.extra_protocolo
        await connection.execute(
            update(self._t)
            .where(self._t.c.call_id == call_id, not_(keeps_beside(self._t, protocolo)))
            .values(extra_protocolo=func.coalesce(extra + ",", "") + protocolo)
        )

    async def _pass_on(self, connection: AsyncConnection, call_id: str, outcome: Outcome) -> None:
        """Calls that took over what became of this one take over what becomes of it now, and so on.

        A row that somebody is changing is left as it was: two calls must not wait for each other.
        """
        t = self._t
        waited = select(t.c.call_id).where(
            t.c.equal_to == call_id, t.c.idempotency_key.is_(None), t.c.state.in_(_MENDABLE)
        )
        passed = await connection.execute(
            update(t)
            .where(leasing.locked(t.c.call_id, waited, wait=False))
            .values(state=outcome.state, error=outcome.error, protocolo=outcome.protocolo, finished_at=now())
            .returning(t.c.call_id)
        )
        for waiter in passed.scalars().all():
            await self._pass_on(connection, waiter, outcome)

    async def _end_open_attempts(
        self, connection: AsyncConnection, before: CallRecord, outcome: Outcome
    ) -> None:
        """The outcome is the last attempt's; an earlier one still open was left so by a process that died."""
        a = self._db.tables.attempts
        last = a.c.attempt == before.attempts
        done = "found" if outcome.found else "ok"  # only an answer tells how long the CRM took
        await connection.execute(
            update(a)
            .where(a.c.call_id == before.call_id, a.c.ended_at.is_(None))
            .values(
                ended_at=now(),
                result=case((last, outcome.error or done), else_="abandoned"),
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
        """An event for each ticket. `late`: the model was answered otherwise, or will not be any more."""
        if not _is_ticket(before):
            return
        told = {
            "call_id": before.call_id,
            "run_id": before.run_id,
            "conversation_id": before.conversation_id,
            "setor": before.setor,
            "motivo": before.motivo,
            "protocolo": outcome.protocolo,
            "error": outcome.error,
            "late": before.answered or before.run_gone,
        }
        await self._outbox.put(connection, before.conversation_id, _EVENTS[outcome.state], told)


def _is_ticket(call: CallRecord) -> bool:
    """Not another tool's call, and not one that only waited for an equal one's ticket."""
    return call.setor is not None and not call.waits
