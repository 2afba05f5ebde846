"""The ledger: intents are committed before sending, outcomes before showing (contract §4, §6)."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    Float,
    Insert,
    Integer,
    Select,
    Table,
    Update,
    and_,
    bindparam,
    case,
    exists,
    func,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningUpdate

from worker.errors import CrmUnavailable, Erased, Withdrawn
from worker.log_fields import hidden_call_id
from worker.model import CallRecord, CallState, Outcome, Run, RunState, Sent, ToolCall, ToolKind
from worker.personal import Personal
from worker.ports import LEASE_S, Decide
from worker.privacy import readable
from worker.store.ledger.admission import Admission, call_key, former_call_key, new_call_columns
from worker.store.ledger.outcomes import Outcomes
from worker.store.ledger.rows import find_by_key, get, keeps_beside, record, select_calls
from worker.store.personal_data.erasure import wipe
from worker.store.sql import leases
from worker.store.sql.database import Database
from worker.store.sql.statements import prepared
from worker.store.sql.tables import OPEN, Tables, now

_CHECK_AGAIN_S = (300.0, 900.0, 3600.0)
"""Delays of the lookups after the first one. The last delay repeats."""

_CHECK_FOR_S = 24 * 3600.0


class Calls:
    """Implements `ports.Ledger`: intents, attempts and outcomes; calls that outlive their process."""

    def __init__(self, database: Database, platform: str, admission: Admission, outcomes: Outcomes) -> None:
        self._db = database
        self._t = database.tables.calls
        self._platform = platform
        self._admission = admission
        self._outcomes = outcomes

    async def admit(
        self, run: Run, call: ToolCall, decide: Decide, *, kind: ToolKind, owner: str
    ) -> CallRecord:
        key = call_key(self._db.hasher, self._platform, run, call)
        former = former_call_key(self._platform, run, call)
        async with self._db.write() as connection:
            await self._db.serialise(connection, run.conversation_id)
            recorded = await find_by_key(connection, self._db.tables, key, former, call.tool)
            if recorded is not None:
                return await self._take_over(connection, recorded, owner)
            conversation = await self._admission.conversation(connection, run)
            log_id = hidden_call_id(self._db.hasher, call.platform_call_id)
            columns = new_call_columns(key, run, call, log_id, kind=kind, owner=owner)
            await self._admission.record(connection, columns, decide(conversation), conversation)
            return await get(connection, self._db.tables, columns["call_id"])

    async def get(self, call_id: str) -> CallRecord:
        """A recorded call. Raises `StoreError` when there is none: callers pass ids from the ledger."""
        async with self._db.read(brief=True) as connection:
            return await get(connection, self._db.tables, call_id)

    async def begin_attempt(
        self, call: CallRecord, attempt: int, *, owner: str, send_window_s: float
    ) -> bool:
        tables = self._db.tables
        async with self._db.write() as connection:
            this = {"call_id": call.call_id, "attempt": attempt}
            updated = await _count_attempt(connection, tables, **this, owner=owner)
            if updated.rowcount != 1:
                current = await get(connection, self._db.tables, call.call_id)
                if current.state is CallState.RECEIVED and current.body is None:
                    raise Erased("erased before it was sent")
                return False
            await _insert_attempt(connection, tables, **this, window_s=send_window_s)
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
        async with self._db.write() as connection:
            if outcome.from_lookup:
                await self._check_found(connection, call_id, outcome.protocolo or "")
            before = await get(connection, self._db.tables, call_id, lock=True)
            if before.state.open and outcome.protocolo is None and owner not in (None, before.owner):
                raise Withdrawn("the call has another owner")
            # A person may have requested a retry during the lookup. The retry then has precedence.
            awaited = before.state is CallState.UNKNOWN if checked else before.state.open
            if awaited or _improves(before, outcome):
                await self._outcomes.finish(connection, before, outcome)
                await self._outcomes.record_answer(connection, call_id, answer, success=success)
            elif outcome.protocolo is not None and outcome.protocolo != before.protocolo:
                await self._outcomes.keep_extra_protocolo(connection, call_id, outcome.protocolo)
            elif not before.answered and _is_outcome_of(before, outcome):
                await self._outcomes.record_answer(connection, call_id, answer, success=success)
            if before.erased:
                await wipe(connection, self._db.tables, self._t.c.call_id == call_id)
            return await get(connection, self._db.tables, call_id)

    async def inherit(self, call_id: str) -> CallRecord:
        tables = self._db.tables
        conversation = (await self.get(call_id)).conversation_id
        async with self._db.write() as connection:
            await self._db.serialise(connection, conversation)
            waiter = await get(connection, tables, call_id, lock=True)
            first = await get(connection, tables, waiter.equal_to or "")
            if not (waiter.waits and waiter.state.open and first.unsent):
                return waiter
            other = await _other_try(connection, tables, idempotency_key=first.idempotency_key)
            if other.rows:
                changed = {"equal_to": other.scalar()}
            else:
                changed = {
                    "idempotency_key": first.idempotency_key,
                    "body": readable(first.body),
                    "maybe_sent": first.maybe_sent,
                }
                await self._admission.pass_receipt_on(connection, waiter, first)
            t = tables.calls
            await connection.execute(update(t).where(t.c.call_id == call_id).values(**changed))
            return await get(connection, tables, call_id)

    async def answer_at_deadline(self, call_id: str, sent: Personal, unsent: Personal) -> CallRecord:
        async with self._db.write() as connection:
            before = await get(connection, self._db.tables, call_id, lock=True)
            if not before.state.open:
                return before
            if not before.answered and (before.waits or before.maybe_sent):
                await self._outcomes.record_answer(connection, call_id, sent, success=False)
            elif not before.answered:
                unopened = Outcome(CallState.FAILED, CrmUnavailable.code)
                await self._outcomes.finish(connection, before, unopened)
                await self._outcomes.record_answer(connection, call_id, unsent, success=False)
            if before.erased:
                await wipe(connection, self._db.tables, self._t.c.call_id == call_id)
            return await get(connection, self._db.tables, call_id)

    async def claim(self, owner: str, limit: int) -> Sequence[CallRecord]:
        """Claim due calls without an owner, also those whose run has ended.

        A call that was never sent belongs to its run's owner while the run is watched, and is not claimed.
        """
        t, lease = self._t, {"owner": owner, "lease_s": LEASE_S}
        rows = await leases.take(self._db, _any_due, _claim, room=limit, **lease)
        taken = [row.call_id for row in rows]
        if not taken:
            return ()
        async with self._db.read() as connection:
            calls = select_calls(self._db.tables).where(t.c.call_id.in_(taken)).order_by(t.c.due)
            return [record(row) for row in await connection.execute(calls)]

    async def renew(self, owner: str, call_ids: Iterable[str]) -> None:
        """Renew the leases of calls this process works on."""
        await leases.renew(self._db, self._t.c.call_id, call_ids, owner=owner, returning=[self._t.c.call_id])

    async def release(self, owner: str) -> None:
        """Give the leases of all calls back."""
        async with self._db.write() as connection:
            await leases.give_back(connection, self._t.c.call_id, owner)

    async def check_later(self, call: CallRecord) -> None:
        """Schedule the next try after an empty lookup or a defect, with growing delays, for a day.

        Not if a person has decided meanwhile.
        """
        t = self._t
        still = t.c.state.in_(OPEN) if call.state.open else t.c.state == call.state
        waits = [(t.c.checks == n, wait) for n, wait in enumerate(_CHECK_AGAIN_S)]
        next_check = now() + case(*waits, else_=_CHECK_AGAIN_S[-1])
        too_old = t.c.finished_at < now() - _CHECK_FOR_S
        async with self._db.write() as connection:
            await connection.execute(
                update(t)
                .where(t.c.call_id == call.call_id, still)
                .values(
                    due=case((too_old, None), else_=next_check), checks=t.c.checks + 1, **leases.GIVEN_BACK
                )
            )

    async def sent(self, call_id: str) -> Sent:
        """When the ticket's first attempt began, and for how long the CRM may still commit an attempt.

        The attempts of all calls with this idempotency key count: a retry of a failed ticket shares its key.
        """
        a, t, this = self._db.tables.attempts, self._t, self._t.alias("this")
        key = select(this.c.idempotency_key).where(this.c.call_id == call_id).scalar_subquery()
        of_ticket = a.c.call_id.in_(select(t.c.call_id).where(t.c.idempotency_key == key))
        query = select(func.min(a.c.begun_at), func.max(a.c.send_deadline) - now()).where(of_ticket)
        async with self._db.read(brief=True) as connection:
            first_at, settles_in_s = (await connection.execute(query)).one()
        return Sent(first_at, max(0.0, settles_in_s))

    async def held_by_another(self, call: CallRecord, protocolo: str) -> bool:
        """True if the protocolo belongs to another ticket, whose key differs from this call's."""
        async with self._db.read(brief=True) as connection:
            return await held_by_another(connection, self._t, call, protocolo)

    async def first_try(self, call: CallRecord) -> CallRecord:
        """The earliest call with this call's idempotency key, possibly the call itself."""
        t = self._t
        tries = select_calls(self._db.tables).where(t.c.idempotency_key == call.idempotency_key)
        async with self._db.read() as connection:
            first = await connection.execute(tries.order_by(t.c.received_at, t.c.call_id).limit(1))
            return record(first.one())

    async def _check_found(self, connection: AsyncConnection, call_id: str, protocolo: str) -> None:
        """Check that a ticket found by the lookup cannot be another call's.

        The lookup cannot tell two tickets with the same document, setor and motivo apart. Raises `Withdrawn`
        while the other call may still receive an answer, and when it has this protocolo.
        """
        await self._db.serialise(connection, protocolo)
        call = await get(connection, self._db.tables, call_id)
        # In this order: the second query sees an answer that is recorded between the two.
        if await in_flight_beside(connection, self._db.tables, call):
            raise Withdrawn("another ticket's answer is on its way")
        if await held_by_another(connection, self._t, call, protocolo):
            raise Withdrawn("another ticket has this protocolo")

    async def _take_over(self, connection: AsyncConnection, recorded: CallRecord, owner: str) -> CallRecord:
        """The recorded call. This process holds it if it is unanswered and no other lease is valid."""
        if recorded.answered:
            return recorded
        tables = self._db.tables
        await _hold_call(connection, tables, call_id=recorded.call_id, owner=owner, lease_s=LEASE_S)
        return await get(connection, tables, recorded.call_id)


@prepared
def _hold_call(tables: Tables) -> Update:
    t = tables.calls
    unheld = update(t).where(t.c.call_id == bindparam("call_id"), leases.unheld(t))
    return unheld.values(**leases.HELD)


@prepared
def _other_try(tables: Tables) -> Select[Any]:
    """The first call with this key that has not failed."""
    t = tables.calls
    tries = select(t.c.call_id).where(t.c.idempotency_key == bindparam("idempotency_key"))
    return tries.where(t.c.state != CallState.FAILED).order_by(t.c.received_at).limit(1)


@prepared
def _count_attempt(tables: Tables) -> Update:
    """Count one more attempt of a call that this owner still holds."""
    t = tables.calls
    return (
        update(t)
        .where(t.c.call_id == bindparam("call_id"), t.c.owner == bindparam("owner"))
        .where(t.c.attempts == bindparam("attempt", type_=Integer) - 1)
        .where(t.c.state.in_(OPEN), t.c.body.is_not(None))
        .values(state=CallState.RUNNING, attempts=bindparam("attempt", type_=Integer))
    )


@prepared
def _insert_attempt(tables: Tables) -> Insert:
    return tables.attempts.insert().values(
        call_id=bindparam("call_id"),
        attempt=bindparam("attempt"),
        begun_at=now(),
        send_deadline=now() + bindparam("window_s", type_=Float),
    )


def _is_outcome_of(before: CallRecord, outcome: Outcome) -> bool:
    """True if this outcome is recorded already: a person decided the call before it was answered."""
    recorded = (before.state, before.error, before.protocolo)
    return recorded == (outcome.state, outcome.error, outcome.protocolo)


def _improves(before: CallRecord, outcome: Outcome) -> bool:
    """True if the outcome brings the protocolo that the call lacks."""
    return (
        outcome.protocolo is not None and before.protocolo is None and before.state is not CallState.REJECTED
    )


def _due(tables: Tables) -> Select[Any]:
    t, r = tables.calls, tables.runs
    watched = exists().where(r.c.run_id == t.c.run_id, r.c.state == RunState.WATCHING)
    its_runs = and_(t.c.state == CallState.RECEIVED, not_(t.c.retrying), watched)
    unowned = select(t.c.call_id).where(t.c.due <= now(), leases.unheld(t), not_(its_runs))
    # What a newer version wrote is left to it.
    readable = and_(t.c.state.in_(list(CallState)), t.c.kind.in_(list(ToolKind)))
    return unowned.where(readable).order_by(t.c.due)


_any_due = leases.any_of(_due)


@prepared
def _claim(tables: Tables) -> ReturningUpdate[Any]:
    t = tables.calls
    return leases.taking(t.c.call_id, _due(tables)).values(**leases.HELD).returning(t.c.call_id)


async def held_by_another(
    connection: AsyncConnection, calls: Table, call: CallRecord, protocolo: str
) -> bool:
    """See `Calls.held_by_another`; inside the caller's transaction.

    A call without a key has the protocolo of the ticket that it waited for, and calls with one key are one
    ticket. Two calls with equal content, more than ten minutes apart, are two tickets.
    """
    has_protocolo = or_(calls.c.protocolo == protocolo, keeps_beside(calls, protocolo))
    query = select(calls.c.call_id).where(has_protocolo, calls.c.idempotency_key != call.idempotency_key)
    return (await connection.execute(query.limit(1))).first() is not None


async def in_flight_beside(connection: AsyncConnection, tables: Tables, call: CallRecord) -> bool:
    """True while another ticket that the lookup cannot tell from this one has an attempt in flight."""
    t, a, this = tables.calls, tables.attempts, tables.calls.alias("this")
    document_hash = select(this.c.document_hash).where(this.c.call_id == call.call_id).scalar_subquery()
    query = (
        select(a.c.call_id)
        .join(t, t.c.call_id == a.c.call_id)
        .where(t.c.document_hash == document_hash, t.c.setor == call.setor, t.c.motivo == call.motivo)
        .where(t.c.idempotency_key != call.idempotency_key)
        .where(a.c.ended_at.is_(None), a.c.send_deadline > now())
    )
    return (await connection.execute(query.limit(1))).first() is not None
