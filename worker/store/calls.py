"""The ledger: intents are committed before sending, outcomes before showing (contract §4, §6)."""

from sqlalchemy import ColumnElement, case, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.errors import CrmUnavailable, StoreError
from worker.model import CallRecord, CallState, Outcome, Run, ToolCall
from worker.personal import Personal
from worker.ports import Decide
from worker.store.admission import Admission, arrival, call_key
from worker.store.database import Database
from worker.store.equals import record, select_calls
from worker.store.schema import now


class Calls:
    """Implements `ports.Ledger`."""

    def __init__(self, database: Database, platform: str, receipt_fresh_s: float) -> None:
        self._db = database
        self._platform = platform
        self._t = database.tables.calls
        self._admission = Admission(database, receipt_fresh_s)

    async def admit(self, run: Run, call: ToolCall, decide: Decide) -> CallRecord:
        """Record a call, or find it recorded; see `ports.Ledger.admit`.

        Raises `Withdrawn` when a new call's run has another owner by now.
        """
        key = call_key(self._platform, run, call)
        async with self._db.write() as connection:
            await self._db.serialise(connection, run.conversation_id)
            known = await self._find(connection, self._t.c.call_key == key)
            if known is not None:
                return known
            conversation = await self._admission.conversation(connection, run)
            arrived = arrival(key, run, call)
            await self._admission.record(connection, arrived, decide(conversation), conversation)
            return await self._get(connection, arrived["call_id"])

    async def get(self, call_id: str) -> CallRecord:
        """Raises `StoreError` when there is no such call: whoever asks holds an id from the ledger."""
        async with self._db.read() as connection:
            return await self._get(connection, call_id)

    async def begin_attempt(self, call: CallRecord, attempt: int, send_window_s: float) -> bool:
        """Commit that attempt number `attempt` begins; False when the call moved on without us."""
        t = self._t
        async with self._db.write() as connection:
            mine = await connection.execute(
                update(t)
                .where(t.c.call_id == call.call_id, t.c.attempts == attempt - 1)
                .where(t.c.state.in_([CallState.RECEIVED, CallState.RUNNING]))
                .values(state=CallState.RUNNING, attempts=attempt)
            )
            if mine.rowcount != 1:
                return False
            await connection.execute(
                self._db.tables.attempts.insert().values(
                    call_id=call.call_id, attempt=attempt, begun_at=now(), send_deadline=now() + send_window_s
                )
            )
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

    async def settle(self, call_id: str, outcome: Outcome, answer: Personal, *, success: bool) -> CallRecord:
        """Record what became of a call; see `ports.Ledger.settle`."""
        async with self._db.write() as connection:
            before = await self._get(connection, call_id, lock=True)
            if before.state.open or _improves(before, outcome):
                await self._finish(connection, before, outcome)
                await self._give(connection, call_id, answer, success=success)
            elif outcome.protocolo not in (None, before.protocolo):
                await self._keep_beside(connection, call_id, outcome.protocolo)
            return await self._get(connection, call_id)

    async def answer_at_deadline(self, call_id: str, sent: Personal, unsent: Personal) -> CallRecord:
        """The run cannot wait any longer; see `ports.Ledger.answer_at_deadline`."""
        async with self._db.write() as connection:
            before = await self._get(connection, call_id, lock=True)
            if before.answer is None and (before.waits or before.maybe_sent):
                await self._give(connection, call_id, sent, success=False)
            elif before.answer is None:
                await self._finish(connection, before, Outcome(CallState.FAILED, CrmUnavailable.code))
                await self._give(connection, call_id, unsent, success=False)
            return await self._get(connection, call_id)

    # ------------------------------------------------------------------------------------------- outcomes

    async def _finish(self, connection: AsyncConnection, before: CallRecord, outcome: Outcome) -> None:
        await connection.execute(
            update(self._t)
            .where(self._t.c.call_id == before.call_id)
            .values(state=outcome.state, error=outcome.error, protocolo=outcome.protocolo, finished_at=now())
        )
        await self._end_open_attempts(connection, before, outcome)
        if outcome.state is CallState.FAILED and outcome.certain:
            await self._give_receipt_back(connection, before.call_id)

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
        after = await self._get(connection, call_id)
        if not after.maybe_sent:
            await connection.execute(
                update(c)
                .where(c.c.conversation_id == after.conversation_id, c.c.attachment_taken_by == call_id)
                .values(attachment_taken_by=None)
            )

    async def _give(
        self, connection: AsyncConnection, call_id: str, answer: Personal, *, success: bool
    ) -> None:
        """The answer is given once: a better outcome afterwards changes the outcome only."""
        await connection.execute(
            update(self._t)
            .where(self._t.c.call_id == call_id, self._t.c.answer.is_(None))
            .values(answer=answer, answered_success=success, answered_at=now())
        )

    async def _keep_beside(self, connection: AsyncConnection, call_id: str, protocolo: str | None) -> None:
        """A second ticket of one call: it was opened, so it is never thrown away, nor is a third."""
        extra = self._t.c.extra_protocolo
        await connection.execute(
            update(self._t)
            .where(self._t.c.call_id == call_id)
            .values(extra_protocolo=func.coalesce(extra + ",", "") + protocolo)
        )

    # -------------------------------------------------------------------------------------------- reading

    async def _get(self, connection: AsyncConnection, call_id: str, *, lock: bool = False) -> CallRecord:
        which = self._t.c.call_id == call_id
        if lock:
            # Apart from reading: a statement that waited for the lock sees other tables as they were before.
            await connection.execute(select(self._t.c.call_id).where(which).with_for_update())
        found = await self._find(connection, which)
        if found is None:
            raise StoreError("a recorded call is missing")
        return found

    async def _find(self, connection: AsyncConnection, which: ColumnElement[bool]) -> CallRecord | None:
        row = (await connection.execute(select_calls(self._db.tables).where(which))).first()
        return None if row is None else record(row)


def _improves(before: CallRecord, outcome: Outcome) -> bool:
    """A protocolo that turns up later completes a call that has none."""
    return (
        outcome.protocolo is not None and before.protocolo is None and before.state is not CallState.REJECTED
    )
