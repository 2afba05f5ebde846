"""The outcome of a call, recorded with its answer, receipt and event in one transaction (contract §4-6)."""

from typing import Any

from sqlalchemy import Boolean, Float, String, Update, bindparam, case, func, not_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningUpdate

from worker.model import CallRecord, CallState, Outcome, ToolKind
from worker.personal import Personal
from worker.store.ledger.outbox import Outbox
from worker.store.ledger.rows import get, keeps_beside
from worker.store.sql import leases
from worker.store.sql.database import Database
from worker.store.sql.statements import prepared
from worker.store.sql.tables import Tables, now

_EVENTS = {
    CallState.DONE: "ticket.opened",
    CallState.FAILED: "ticket.failed",
    CallState.UNKNOWN: "ticket.unknown",
    CallState.NO_PROTOCOL: "ticket.no_protocol",
}
_IN_DOUBT = {CallState.UNKNOWN, CallState.NO_PROTOCOL}
_REPLACEABLE = {CallState.FAILED, *_IN_DOUBT}
_FIRST_CHECK_S = 60.0


class Outcomes:
    """Writes outcomes. `checks`: outcomes in doubt are looked up at the CRM later (`CRM_LOOKUP_URL`)."""

    def __init__(self, database: Database, outbox: Outbox, *, checks: bool) -> None:
        self._db = database
        self._outbox = outbox
        self._checks = checks
        self._tables = database.tables
        self._t = database.tables.calls

    async def finish(self, connection: AsyncConnection, before: CallRecord, outcome: Outcome) -> None:
        """Record an outcome for a call and its waiting calls, end its attempts and write the event."""
        checks_later = self._checks and outcome.state in _IN_DOUBT and _is_ticket(before)
        this = {"call_id": before.call_id}
        check = {"check_after_s": _FIRST_CHECK_S if checks_later else None}
        await _set_outcome(connection, self._tables, **this, **_outcome_values(outcome), **check)
        await self._pass_on(connection, before.call_id, outcome)
        await self._end_open_attempts(connection, before, outcome)
        if outcome.state is CallState.FAILED and outcome.certain:
            await self._give_receipt_back(connection, before.call_id)
        await self._put_event(connection, before, outcome)

    async def record_answer(
        self, connection: AsyncConnection, call_id: str, answer: Personal, *, success: bool
    ) -> None:
        """Record the answer, once. A better outcome afterwards changes only the outcome."""
        await _set_answer(connection, self._tables, call_id=call_id, answer=answer, answered_success=success)

    async def keep_extra_protocolo(self, connection: AsyncConnection, call_id: str, protocolo: str) -> None:
        """Keep the protocolo of a second (or third) ticket that one call has opened."""
        extra = self._t.c.extra_protocolo
        await connection.execute(
            update(self._t)
            .where(self._t.c.call_id == call_id, not_(keeps_beside(self._t, protocolo)))
            .values(extra_protocolo=func.coalesce(extra + ",", "") + protocolo)
        )

    async def _pass_on(self, connection: AsyncConnection, call_id: str, outcome: Outcome) -> None:
        """Record the outcome for the calls that waited for this one too, and for their waiting calls.

        A row that another transaction is changing is skipped: two calls must not wait for each other.
        """
        waiters = await _set_waiters_outcome(
            connection, self._tables, call_id=call_id, **_outcome_values(outcome)
        )
        for waiter in waiters.rows:
            await self._pass_on(connection, waiter.call_id, outcome)

    async def _end_open_attempts(
        self, connection: AsyncConnection, before: CallRecord, outcome: Outcome
    ) -> None:
        """End the open attempts. The outcome is the last one's; an earlier one was left by a dead process."""
        if before.attempts:
            done = "found" if outcome.from_lookup else "ok"  # only an answer measures the CRM's response time
            result = {"result": outcome.error or done, "certain": outcome.certain}
            this = {"call_id": before.call_id, "attempt": before.attempts}
            await _end_attempts(connection, self._tables, **this, **result)

    async def _give_receipt_back(self, connection: AsyncConnection, call_id: str) -> None:
        """Free the receipt of a call that certainly opened no ticket."""
        c = self._db.tables.conversations
        after = await get(connection, self._db.tables, call_id)
        if not after.maybe_sent:
            await connection.execute(
                update(c)
                .where(c.c.conversation_id == after.conversation_id, c.c.attachment_taken_by == call_id)
                .values(attachment_taken_by=None)
            )

    async def _put_event(self, connection: AsyncConnection, before: CallRecord, outcome: Outcome) -> None:
        """Write the ticket's event. `late`: the model got another answer before, or its run has ended."""
        if not _is_ticket(before):
            return
        event = {
            "call_id": before.call_id,
            "run_id": before.run_id,
            "conversation_id": before.conversation_id,
            "setor": before.setor,
            "motivo": before.motivo,
            "protocolo": outcome.protocolo,
            "error": outcome.error,
            "late": before.answered or before.run_gone,
        }
        await self._outbox.put(connection, before.conversation_id, _EVENTS[outcome.state], event)


def _outcome_values(outcome: Outcome) -> dict[str, str | None]:
    return {"state": outcome.state, "error": outcome.error, "protocolo": outcome.protocolo}


_OUTCOME_COLUMNS: dict[str, Any] = {
    "state": bindparam("state"),
    "error": bindparam("error"),
    "protocolo": bindparam("protocolo"),
}


@prepared
def _set_outcome(tables: Tables) -> Update:
    t = tables.calls
    return (
        update(t)
        .where(t.c.call_id == bindparam("call_id"))
        .values(
            **_OUTCOME_COLUMNS,
            finished_at=now(),
            due=now() + bindparam("check_after_s", type_=Float),  # plus NULL is NULL
            checks=0,
            retrying=False,
            **leases.GIVEN_BACK,
        )
    )


@prepared
def _set_answer(tables: Tables) -> Update:
    t = tables.calls
    answer: dict[str, Any] = {
        "answer": bindparam("answer"),
        "answered_success": bindparam("answered_success"),
    }
    unanswered = update(t).where(t.c.call_id == bindparam("call_id"), t.c.answered_at.is_(None))
    return unanswered.values(**answer, answered_at=now())


@prepared
def _set_waiters_outcome(tables: Tables) -> ReturningUpdate[Any]:
    t = tables.calls
    waiters = select(t.c.call_id).where(
        t.c.equal_to == bindparam("call_id"), t.c.idempotency_key.is_(None), t.c.state.in_(_REPLACEABLE)
    )
    changed = update(t).where(leases.locked(t.c.call_id, waiters, wait=False))
    return changed.values(**_OUTCOME_COLUMNS, finished_at=now()).returning(t.c.call_id)


@prepared
def _end_attempts(tables: Tables) -> Update:
    a = tables.attempts
    last = a.c.attempt == bindparam("attempt")
    return (
        update(a)
        .where(a.c.call_id == bindparam("call_id"), a.c.ended_at.is_(None))
        .values(
            ended_at=now(),
            result=case((last, bindparam("result", type_=String)), else_="abandoned"),
            certain=case((last, bindparam("certain", type_=Boolean)), else_=False),
        )
    )


def _is_ticket(call: CallRecord) -> bool:
    """True for a ticket call that did not wait for an equal call's ticket."""
    return call.kind is ToolKind.TICKET and not call.waits
