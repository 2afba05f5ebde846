"""What became of a call, recorded with its answer, receipt and event at once (contract §4-6)."""

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
_MENDABLE = {CallState.FAILED, *_IN_DOUBT}
_FIRST_CHECK_S = 60.0


class Outcomes:
    """Writes outcomes. `checks`: an open question is looked up again at the CRM (`CRM_LOOKUP_URL`)."""

    def __init__(self, database: Database, outbox: Outbox, *, checks: bool) -> None:
        self._db = database
        self._outbox = outbox
        self._checks = checks
        self._tables = database.tables
        self._t = database.tables.calls

    async def finish(self, connection: AsyncConnection, before: CallRecord, outcome: Outcome) -> None:
        """Record an outcome for a call and those that took it over, end its attempts, and tell the bot."""
        asks_again = self._checks and outcome.state in _IN_DOUBT and _is_ticket(before)
        this = {"this_call": before.call_id}
        again = {"again_s": _FIRST_CHECK_S if asks_again else None}
        await _finished(connection, self._tables, **this, **_became(outcome), **again)
        await self._pass_on(connection, before.call_id, outcome)
        await self._end_open_attempts(connection, before, outcome)
        if outcome.state is CallState.FAILED and outcome.certain:
            await self._give_receipt_back(connection, before.call_id)
        await self._tell(connection, before, outcome)

    async def give(
        self, connection: AsyncConnection, call_id: str, answer: Personal, *, success: bool
    ) -> None:
        """The answer is given once: a better outcome afterwards changes the outcome only."""
        await _given(connection, self._tables, this_call=call_id, given=answer, success=success)

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
        passed = await _passed_on(connection, self._tables, this_call=call_id, **_became(outcome))
        for waiter in passed.rows:
            await self._pass_on(connection, waiter.call_id, outcome)

    async def _end_open_attempts(
        self, connection: AsyncConnection, before: CallRecord, outcome: Outcome
    ) -> None:
        """The outcome is the last attempt's; an earlier one still open was left so by a process that died."""
        if before.attempts:
            done = "found" if outcome.found else "ok"  # only an answer tells how long the CRM took
            told = {"told": outcome.error or done, "sure": outcome.certain}
            this = {"this_call": before.call_id, "last": before.attempts}
            await _attempts_ended(connection, self._tables, **this, **told)

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


def _became(outcome: Outcome) -> dict[str, str | None]:
    return {"outcome": outcome.state, "why": outcome.error, "number": outcome.protocolo}


_BECAME: dict[str, Any] = {
    "state": bindparam("outcome"),
    "error": bindparam("why"),
    "protocolo": bindparam("number"),
}


@prepared
def _finished(tables: Tables) -> Update:
    t = tables.calls
    return (
        update(t)
        .where(t.c.call_id == bindparam("this_call"))
        .values(
            **_BECAME,
            finished_at=now(),
            due=now() + bindparam("again_s", type_=Float),  # plus NULL is NULL
            checks=0,
            retrying=False,
            **leases.GIVEN_BACK,
        )
    )


@prepared
def _given(tables: Tables) -> Update:
    t = tables.calls
    answer: dict[str, Any] = {"answer": bindparam("given"), "answered_success": bindparam("success")}
    ungiven = update(t).where(t.c.call_id == bindparam("this_call"), t.c.answered_at.is_(None))
    return ungiven.values(**answer, answered_at=now())


@prepared
def _passed_on(tables: Tables) -> ReturningUpdate[Any]:
    t = tables.calls
    waited = select(t.c.call_id).where(
        t.c.equal_to == bindparam("this_call"), t.c.idempotency_key.is_(None), t.c.state.in_(_MENDABLE)
    )
    left = update(t).where(leases.locked(t.c.call_id, waited, wait=False))
    return left.values(**_BECAME, finished_at=now()).returning(t.c.call_id)


@prepared
def _attempts_ended(tables: Tables) -> Update:
    a = tables.attempts
    last = a.c.attempt == bindparam("last")
    return (
        update(a)
        .where(a.c.call_id == bindparam("this_call"), a.c.ended_at.is_(None))
        .values(
            ended_at=now(),
            result=case((last, bindparam("told", type_=String)), else_="abandoned"),
            certain=case((last, bindparam("sure", type_=Boolean)), else_=False),
        )
    )


def _is_ticket(call: CallRecord) -> bool:
    """Not another tool's call, and not one that only waited for an equal one's ticket."""
    return call.kind is ToolKind.TICKET and not call.waits
