"""The ledger: intents are committed before sending, outcomes before showing (contract §4, §6)."""

from sqlalchemy import Float, Insert, Integer, Update, bindparam, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.errors import CrmUnavailable, Erased, Withdrawn
from worker.model import CallRecord, CallState, Outcome, Run, ToolCall
from worker.personal import Personal
from worker.ports import Decide
from worker.store.ledger.admission import Admission, arrival, call_key
from worker.store.ledger.outcomes import Outcomes
from worker.store.ledger.recovery import Recovery, held_by_another, in_flight_beside
from worker.store.ledger.rows import find_by_key, get
from worker.store.personal_data.erasure import wipe
from worker.store.sql import leases
from worker.store.sql.database import Database
from worker.store.sql.statements import prepared
from worker.store.sql.tables import OPEN, Tables, now


class Calls(Recovery):
    """Implements `ports.Ledger`."""

    def __init__(self, database: Database, platform: str, admission: Admission, outcomes: Outcomes) -> None:
        super().__init__(database)
        self._platform = platform
        self._admission = admission
        self._outcomes = outcomes

    async def admit(
        self, run: Run, call: ToolCall, decide: Decide, *, owner: str, lease_s: float
    ) -> CallRecord:
        """Record a call, or find it recorded; see `ports.Ledger.admit`.

        Raises `Withdrawn` when a new call's run has another owner by now.
        """
        key = call_key(self._platform, run, call)
        async with self._db.write() as connection:
            await self._db.serialise(connection, run.conversation_id)
            known = await find_by_key(connection, self._db.tables, key)
            if known is not None:
                return await self._taken_over(connection, known, owner, lease_s)
            conversation = await self._admission.conversation(connection, run)
            arrived = arrival(key, run, call, owner=owner, lease_s=lease_s)
            await self._admission.record(connection, arrived, decide(conversation), conversation)
            return await get(connection, self._db.tables, arrived["call_id"])

    async def get(self, call_id: str) -> CallRecord:
        """Raises `StoreError` when there is no such call: whoever asks holds an id from the ledger."""
        async with self._db.read(brief=True) as connection:
            return await get(connection, self._db.tables, call_id)

    async def begin_attempt(
        self, call: CallRecord, attempt: int, *, owner: str, send_window_s: float
    ) -> bool:
        """Commit that attempt number `attempt` begins; False when the call moved on without us.

        Raises `Erased` when what was to be sent has gone before the first one.
        """
        tables = self._db.tables
        async with self._db.write() as connection:
            this = {"this_call": call.call_id, "number": attempt}
            mine = await _counted(connection, tables, **this, by=owner)
            if mine.rowcount != 1:
                left = await get(connection, self._db.tables, call.call_id)
                if left.state is CallState.RECEIVED and left.body is None:
                    raise Erased("erased before it was sent")
                return False
            await _begun(connection, tables, **this, window_s=send_window_s)
            return True

    async def end_attempt(self, call_id: str, attempt: int, *, certain: bool, detail: str) -> None:
        """Commit that an attempt has failed."""
        a = self._db.tables.attempts
        async with self._db.write() as connection:
            await connection.execute(
                update(a)
                .where(a.c.call_id == call_id, a.c.attempt == attempt, a.c.ended_at.is_(None))
                .values(ended_at=now(), result=detail, certain=certain)
            )

    async def settle(
        self,
        call_id: str,
        outcome: Outcome,
        answer: Personal,
        *,
        success: bool,
        checked: bool = False,
        owner: str | None = None,
    ) -> CallRecord:
        """Record what became of a call; see `ports.Ledger.settle`."""
        async with self._db.write() as connection:
            if outcome.found:
                await self._check_found(connection, call_id, outcome.protocolo or "")
            before = await get(connection, self._db.tables, call_id, lock=True)
            if before.state.open and outcome.protocolo is None and owner not in (None, before.owner):
                raise Withdrawn("the call has another owner")
            # A person may have asked for another try while the CRM was asked: that is what goes on then.
            awaited = before.state is CallState.UNKNOWN if checked else before.state.open
            if awaited or _improves(before, outcome):
                await self._outcomes.finish(connection, before, outcome)
                await self._outcomes.give(connection, call_id, answer, success=success)
            elif outcome.protocolo is not None and outcome.protocolo != before.protocolo:
                await self._outcomes.keep_beside(connection, call_id, outcome.protocolo)
            if before.erased:
                await wipe(connection, self._db.tables, self._t.c.call_id == call_id)
            return await get(connection, self._db.tables, call_id)

    async def answer_at_deadline(self, call_id: str, sent: Personal, unsent: Personal) -> CallRecord:
        """The run cannot wait any longer; see `ports.Ledger.answer_at_deadline`."""
        async with self._db.write() as connection:
            before = await get(connection, self._db.tables, call_id, lock=True)
            if not before.answered and (before.waits or before.maybe_sent):
                await self._outcomes.give(connection, call_id, sent, success=False)
            elif not before.answered:
                unopened = Outcome(CallState.FAILED, CrmUnavailable.code)
                await self._outcomes.finish(connection, before, unopened)
                await self._outcomes.give(connection, call_id, unsent, success=False)
            if before.erased:
                await wipe(connection, self._db.tables, self._t.c.call_id == call_id)
            return await get(connection, self._db.tables, call_id)

    async def _check_found(self, connection: AsyncConnection, call_id: str, protocolo: str) -> None:
        """Of two tickets that look alike to the CRM, only one can be the one that was found.

        Raises `Withdrawn` while the other's answer may still be on its way, and when it has this protocolo.
        """
        await self._db.serialise(connection, protocolo)
        call = await get(connection, self._db.tables, call_id)
        # In this order: an answer that is recorded between the two questions is seen by the second.
        if await in_flight_beside(connection, self._db.tables, call):
            raise Withdrawn("another ticket's answer is on its way")
        if await held_by_another(connection, self._t, call, protocolo):
            raise Withdrawn("another ticket has this protocolo")

    async def _taken_over(
        self, connection: AsyncConnection, known: CallRecord, owner: str, lease_s: float
    ) -> CallRecord:
        """A known call that is still to be answered, held by this process unless a living one holds it."""
        if known.answered:
            return known
        tables = self._db.tables
        await _held(connection, tables, this_call=known.call_id, by=owner, lease_s=lease_s)
        return await get(connection, tables, known.call_id)


@prepared
def _held(tables: Tables) -> Update:
    t = tables.calls
    unheld = update(t).where(t.c.call_id == bindparam("this_call"), leases.unheld(t))
    return unheld.values(**leases.HELD)


@prepared
def _counted(tables: Tables) -> Update:
    """One more attempt of a call that is still to be made by us."""
    t = tables.calls
    return (
        update(t)
        .where(t.c.call_id == bindparam("this_call"), t.c.owner == bindparam("by"))
        .where(t.c.attempts == bindparam("number", type_=Integer) - 1)
        .where(t.c.state.in_(OPEN), t.c.body.is_not(None))
        .values(state=CallState.RUNNING, attempts=bindparam("number", type_=Integer))
    )


@prepared
def _begun(tables: Tables) -> Insert:
    return tables.attempts.insert().values(
        call_id=bindparam("this_call"),
        attempt=bindparam("number"),
        begun_at=now(),
        send_deadline=now() + bindparam("window_s", type_=Float),
    )


def _improves(before: CallRecord, outcome: Outcome) -> bool:
    """A protocolo that turns up later completes a call that has none."""
    return (
        outcome.protocolo is not None and before.protocolo is None and before.state is not CallState.REJECTED
    )
