"""Recording new calls. The committed intent, with body and key, permits sending (contract §4, §6)."""

import json
import secrets
from datetime import tzinfo
from typing import Any

from sqlalchemy import Float, Insert, Select, Update, and_, bindparam, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.errors import Isolated, Withdrawn
from worker.model import (
    Attendance,
    CallRecord,
    CallState,
    Conversation,
    Intent,
    Rejection,
    Run,
    ToolCall,
    ToolKind,
)
from worker.personal import Personal
from worker.ports import LEASE_S
from worker.privacy import Hasher, readable
from worker.store.ledger.equal_calls import earlier_equal
from worker.store.ledger.outbox import Outbox
from worker.store.sql.database import Database
from worker.store.sql.statements import prepared
from worker.store.sql.tables import Tables, now
from worker.times import rfc3339
from worker.views import HandoffState

_Columns = dict[str, Any]


_LONGEST_ID = 256
"""The key holds a longer id as its hash: an index entry has at most 2,700 bytes."""


def call_key(hasher: Hasher, platform: str, run: Run, call: ToolCall) -> str:
    """The identity of a platform's call, also across restarts.

    It holds the call's ids and its content (name and canonical arguments), because several servers restart
    their call ids in each round.
    """
    ids = (_short(hasher, call.turn_id), _short(hasher, call.platform_call_id))
    return json.dumps([platform, run.ref.run_id, *ids, hasher.digest("call", call.content)])


def former_call_key(platform: str, run: Run, call: ToolCall) -> str:
    """The key under which versions up to 0.1 recorded the call: without its content."""
    return json.dumps([platform, run.ref.run_id, call.turn_id, call.platform_call_id])


def _short(hasher: Hasher, platform_id: str | None) -> str | None:
    if platform_id is None or (platform_id.isascii() and len(platform_id) <= _LONGEST_ID):
        return platform_id
    return "#" + hasher.digest("platform id", platform_id)


class Admission:
    """Writes new calls, inside the transaction of `Calls.admit`, which lets one in at a time."""

    def __init__(self, database: Database, outbox: Outbox, receipt_fresh_s: float, zone: tzinfo) -> None:
        """`zone` is TIMEZONE, in which events give times."""
        self._db = database
        self._outbox = outbox
        self._receipt_fresh_s = receipt_fresh_s
        self._zone = zone

    async def conversation(self, connection: AsyncConnection, run: Run) -> Conversation | None:
        """The run's conversation in its current state; None when it is unknown.

        Raises `Withdrawn` when the run has another owner, `Isolated` when its thread does not belong to this
        conversation.
        """
        await self._check_owner(connection, run)
        ids = {"thread_id": run.ref.thread_id, "conversation_id": run.conversation_id}
        result = await _conversation_row(connection, self._db.tables, **ids, fresh_s=self._receipt_fresh_s)
        row = result.first()
        if row is None:
            return None
        if row.elsewhere or row.thread_id not in (None, run.ref.thread_id):
            raise Isolated("the thread is another conversation's")
        return Conversation(
            conversation_id=row.conversation_id,
            thread_id=row.thread_id,
            document=row.document,
            contact=row.contact,
            receipt_url=row.attachment_url if row.fresh else None,
            read_at=row.read_at,
        )

    async def _check_owner(self, connection: AsyncConnection, run: Run) -> None:
        epoch = await _epoch(connection, self._db.tables, run_id=run.ref.run_id)
        if epoch.scalar() != run.epoch:
            raise Withdrawn("the run has another owner")

    async def record(
        self,
        connection: AsyncConnection,
        columns: _Columns,
        decision: Intent | Rejection,
        conversation: Conversation | None,
    ) -> None:
        """Insert the call: rejected, handed off, new, waiting for an equal call, or the next try of one."""
        if isinstance(decision, Rejection):
            row = columns | _rejection_columns(decision) | {"erased": conversation is None}
        else:
            row = columns | self._intent_columns(columns, decision, conversation)
            row |= await self._decide_by_equal(connection, row, decision)
        await _insert_call(connection, self._db.tables, **row)
        if isinstance(decision, Intent) and row["state"] == CallState.DONE:
            await self._hand_off(connection, row, decision)

    def _intent_columns(
        self, columns: _Columns, intent: Intent, conversation: Conversation | None
    ) -> _Columns:
        digest = self._db.hasher.digest
        document = conversation.document if conversation else None
        return {
            "setor": intent.setor,
            "motivo": intent.motivo,
            "departamento": intent.departamento,
            "exact": intent.exact,
            "document_hash": digest("document", document.reveal()) if document else None,
            "equal_key": digest("equal", columns["conversation_id"], columns["tool"], *intent.equal_on),
        }

    async def _decide_by_equal(self, connection: AsyncConnection, row: _Columns, intent: Intent) -> _Columns:
        """The columns that depend on an earlier equal call and its state."""
        equal = await earlier_equal(connection, self._db.tables, row)
        if equal is None:
            return await self._on_its_own(connection, row, intent)
        if equal.state is not CallState.FAILED:
            return {"equal_to": equal.call_id}
        # An erased or unreadable body cannot be sent, so the new one is: ticket and key stay the same.
        body = readable(equal.body) or intent.body
        if body == intent.body:
            await self._take_receipt(connection, row, intent)
        return {
            "equal_to": equal.call_id,
            "idempotency_key": equal.idempotency_key,
            "body": body,
            "maybe_sent": equal.maybe_sent,
        }

    async def _on_its_own(self, connection: AsyncConnection, row: _Columns, intent: Intent) -> _Columns:
        if intent.answer is not None:
            done = {"body": intent.body, "state": CallState.DONE}
            return done | _answer_columns(intent.answer, success=True)
        await self._take_receipt(connection, row, intent)
        key = self._db.hasher.digest("idempotency", row["call_key"])[:40]
        return {"body": intent.body, "idempotency_key": f"tw-{key}"}

    async def _take_receipt(self, connection: AsyncConnection, row: _Columns, intent: Intent) -> None:
        if intent.uses_receipt:
            ids = {"conversation_id": row["conversation_id"], "call_id": row["call_id"]}
            await _mark_receipt_taken(connection, self._db.tables, **ids)

    async def pass_receipt_on(
        self, connection: AsyncConnection, waiter: CallRecord, first: CallRecord
    ) -> None:
        """Mark the receipt as used by `waiter` if the body that it takes over holds it and no call has it."""
        c = self._db.tables.conversations
        this = c.c.conversation_id == waiter.conversation_id
        receipt_url = readable((await connection.execute(select(c.c.attachment_url).where(this))).scalar())
        body = readable(first.body)
        if receipt_url is not None and body is not None and receipt_url.reveal() in body.reveal():
            not_taken = c.c.attachment_taken_by.is_(None)
            await connection.execute(
                update(c).where(this, not_taken).values(attachment_taken_by=waiter.call_id)
            )

    async def _hand_off(self, connection: AsyncConnection, row: _Columns, intent: Intent) -> None:
        times = intent.attendance
        handoff = {
            "handoff_id": f"ho_{secrets.token_hex(12)}",
            "call_id": row["call_id"],
            "conversation_id": row["conversation_id"],
            "departamento": intent.departamento,
        }
        await connection.execute(
            self._db.tables.handoffs.insert().values(
                **handoff,
                motivo=intent.body,
                state=HandoffState.REQUESTED,
                requested_at=times.requested_at if times else now(),
                opens_at=times.opens_at if times else None,
                due_at=times.due_at if times else None,
            )
        )
        event = handoff | {"run_id": row["run_id"], "opens_at": self._opening(times)}
        await self._outbox.put(connection, row["conversation_id"], "handoff.requested", event)

    def _opening(self, times: Attendance | None) -> str | None:
        opens_at = times.opens_at if times else None
        return None if opens_at is None else rfc3339(opens_at, self._zone)


@prepared
def _conversation_row(tables: Tables) -> Select[Any]:
    """A conversation, whether its receipt may be used, and whether another conversation has the thread."""
    c, other = tables.conversations, tables.conversations.alias("other")
    oldest = now() - bindparam("fresh_s", type_=Float)
    fresh = and_(c.c.attachment_taken_by.is_(None), c.c.attachment_at >= oldest)
    # A run without a thread must not match the conversations that have none.
    elsewhere = exists().where(
        other.c.thread_id.is_not(None),
        other.c.thread_id == bindparam("thread_id"),
        other.c.conversation_id != bindparam("conversation_id"),
    )
    query = select(c, fresh.label("fresh"), elsewhere.label("elsewhere"), now().label("read_at"))
    return query.where(c.c.conversation_id == bindparam("conversation_id"))


@prepared
def _epoch(tables: Tables) -> Select[Any]:
    return select(tables.runs.c.lease_epoch).where(tables.runs.c.run_id == bindparam("run_id"))


@prepared
def _mark_receipt_taken(tables: Tables) -> Update:
    c = tables.conversations
    this = update(c).where(c.c.conversation_id == bindparam("conversation_id"))
    return this.values(attachment_taken_by=bindparam("call_id"))


_WORDS = ("error", "setor", "motivo", "departamento", "exact", "document_hash", "equal_key", "equal_to")
_BYTES = ("idempotency_key", "body", "answer")
_FLAGS = ("answered_success", "maybe_sent", "erased")
_UNDECIDED = dict.fromkeys((*_WORDS, *_BYTES)) | dict.fromkeys(_FLAGS, False)
"""Default values of the columns that a decision sets."""

_REQUIRED = (
    "call_key",
    "call_id",
    "platform_call_id",
    "run_id",
    "conversation_id",
    "tool",
    "kind",
    "state",
    "owner",
    "log_id",
)


@prepared
def _insert_call(tables: Tables) -> Insert:
    """Insert a call. `due_s`, `lease_s`, `answered_s`: seconds from now; None leaves the column unset."""
    due, answered = (now() + bindparam(name, type_=Float) for name in ("due_s", "answered_s"))
    return tables.calls.insert().values(
        **{name: bindparam(name) for name in (*_REQUIRED, *_UNDECIDED)},
        received_at=now(),
        due=due,
        lease_until=func.coalesce(now() + bindparam("lease_s", type_=Float), 0),
        answered_at=answered,
        finished_at=answered,
    )


def new_call_columns(
    key: str, run: Run, call: ToolCall, log_id: str | None, *, kind: ToolKind, owner: str
) -> _Columns:
    """The columns of every new call before the decision: received, held by `owner` and due.

    `log_id`: what the log writes instead of the platform's id of the call.
    """
    return _UNDECIDED | {
        "due_s": 0.0,
        "answered_s": None,
        "owner": owner,
        "lease_s": LEASE_S,
        "call_key": key,
        "call_id": f"tc_{secrets.token_hex(12)}",
        "platform_call_id": call.platform_call_id,
        "log_id": log_id,
        "run_id": run.ref.run_id,
        "conversation_id": run.conversation_id,
        "tool": call.tool,
        "kind": kind,
        "state": CallState.RECEIVED,
    }


def _rejection_columns(rejection: Rejection) -> _Columns:
    return {
        "state": rejection.state,
        "error": rejection.code,
        "setor": rejection.setor,
        "exact": rejection.exact,
    } | _answer_columns(rejection.answer, success=False)


def _answer_columns(answer: Personal, *, success: bool) -> _Columns:
    return {
        "answer": answer,
        "answered_success": success,
        "answered_s": 0.0,
        "due_s": None,
        "owner": None,
        "lease_s": None,
    }
