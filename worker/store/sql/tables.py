"""The tables. Times are seconds since the epoch by the database's clock; payload columns are encrypted."""

from collections.abc import Hashable
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    literal,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import TypeDecorator

from worker.model import CallState, EventState, RunState
from worker.personal import Personal
from worker.privacy import Vault
from worker.views import HandoffState

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class now(FunctionElement[float]):  # noqa: N801  # reads as the SQL function it is
    """The database's clock, in seconds since the epoch."""

    type = Float()
    inherit_cache = True


@compiles(now, "sqlite")
def _now_sqlite(_element: object, _compiler: object, **_: Any) -> str:
    # unixepoch('subsec') is NULL on SQLite 3.40, which Debian 12 ships.
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now, "postgresql")
def _now_postgresql(_element: object, _compiler: object, **_: Any) -> str:
    # Of the statement, not of the moment: a clock that moves within a statement cannot use an index.
    return "extract(epoch from statement_timestamp())::float8"


WATCHING = literal(RunState.WATCHING, String, literal_execute=True)
PENDING = literal(EventState.PENDING, String, literal_execute=True)
STUCK = literal(EventState.STUCK, String, literal_execute=True)
REQUESTED = literal(HandoffState.REQUESTED, String, literal_execute=True)
ACCEPTED = literal(HandoffState.ACCEPTED, String, literal_execute=True)
"""States written out: a partial index serves no query whose parameter might be another value."""

OPEN = tuple(state for state in CallState if state.open)
"""States of calls without an outcome yet."""

DEAD = (CallState.FAILED, CallState.UNKNOWN, CallState.NO_PROTOCOL)
"""What goes no further by itself; `ix_calls_dead` holds these, in this order."""


class Sealed(TypeDecorator[Personal]):
    """A payload column: `Personal` in Python, ciphertext in the database."""

    impl = LargeBinary
    cache_ok = True

    def __init__(self, vault: Vault) -> None:
        super().__init__()
        self.vault = vault

    def process_bind_param(self, value: Personal | None, dialect: Dialect) -> bytes | None:
        return None if value is None else self.vault.seal(value)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Personal | None:
        return None if value is None else self.vault.open(bytes(value))


def payload_columns(table: Table) -> list[Column[Any]]:
    """The encrypted columns of a table, which are its payload."""
    return [column for column in table.c if isinstance(column.type, Sealed)]


class Tables:
    """The schema of this version, its payload columns bound to the keys of one database."""

    def __init__(self, vault: Vault) -> None:
        self.metadata = MetaData(naming_convention=_NAMES)
        self.prepared: dict[Hashable, Any] = {}  # what worker/store/sql/statements.py made of them
        sealed = Sealed(vault)
        self.index_key = Table(
            "index_key",
            self.metadata,
            Column("id", Integer, primary_key=True, autoincrement=False),
            Column("wrapped", LargeBinary, nullable=False),
        )
        self.conversations = Table(
            "conversations",
            self.metadata,
            Column("conversation_id", String, primary_key=True),
            Column("thread_id", String, unique=True),
            Column("assistant", String),
            Column("document", sealed),
            Column("document_hash", String, index=True),
            Column("contact", sealed),
            Column("attachment_url", sealed),
            Column("attachment_at", Float),
            Column("attachment_taken_by", String),
            Column("created_at", Float, nullable=False),
            Column("updated_at", Float, nullable=False),
            Column("active_at", Float, nullable=False, index=True),
            Column("discover_due", Float, nullable=False),
        )
        told = text("document is not null or contact is not null or attachment_url is not null")
        Index(
            "ix_conversations_payload",
            self.conversations.c.active_at,
            sqlite_where=told,
            postgresql_where=told,
        )
        self.runs = Table(
            "runs",
            self.metadata,
            Column("run_id", String, primary_key=True),
            Column("platform", String, nullable=False),
            Column("conversation_id", String, nullable=False, index=True),
            Column("thread_id", String),
            Column("state", String, nullable=False),
            Column("reason", String),
            Column("platform_status", String),
            Column("continues_as", String),
            Column("registered_at", Float, nullable=False),
            Column("closed_at", Float),
            Column("due", Float, nullable=False),
            Column("owner", String),
            Column("lease_until", Float, nullable=False, server_default=text("0")),
            Column("lease_epoch", Integer, nullable=False, server_default=text("0")),
            Column("wake", Integer, nullable=False, server_default=text("0")),
            Column("submit_begun_at", Float),
            Column("rounds", Integer, nullable=False, server_default=text("0")),
        )
        watching = text("state = 'watching'")
        Index("ix_runs_due", self.runs.c.due, sqlite_where=watching, postgresql_where=watching)
        over = text("closed_at is not null")
        Index("ix_runs_closed_at", self.runs.c.closed_at, sqlite_where=over, postgresql_where=over)
        self.calls = Table(
            "calls",
            self.metadata,
            Column("call_key", String, primary_key=True),
            Column("call_id", String, nullable=False, unique=True),
            Column("platform_call_id", String, nullable=False),
            Column("run_id", String, nullable=False, index=True),
            Column("conversation_id", String, nullable=False),
            Column("tool", String, nullable=False),
            Column("kind", String, nullable=False, server_default=text("'other'")),
            Column("state", String, nullable=False),
            Column("error", String),
            Column("protocolo", String, index=True),
            Column("extra_protocolo", String),
            Column("setor", String),
            Column("motivo", String),
            Column("departamento", String),
            Column("exact", Boolean),
            Column("document_hash", String, index=True),
            Column("equal_key", String),
            Column("equal_to", String, index=True),
            Column("idempotency_key", String),
            Column("body", sealed),
            Column("answer", sealed),
            Column("owner", String),
            Column("lease_until", Float, nullable=False, server_default=text("0")),
            Column("due", Float),
            Column("checks", Integer, nullable=False, server_default=text("0")),
            Column("retry_from", Integer, nullable=False, server_default=text("0")),
            Column("retrying", Boolean, nullable=False, server_default=text("false")),
            Column("answered_success", Boolean, nullable=False, server_default=text("false")),
            Column("attempts", Integer, nullable=False, server_default=text("0")),
            Column("maybe_sent", Boolean, nullable=False, server_default=text("false")),
            Column("erased", Boolean, nullable=False, server_default=text("false")),
            Column("received_at", Float, nullable=False, index=True),
            Column("answered_at", Float),
            Column("finished_at", Float),
            Column("submitted_at", Float),
        )
        Index("ix_calls_idempotency_key", self.calls.c.idempotency_key)
        several = text("extra_protocolo is not null")
        Index(
            "ix_calls_extra_protocolo",
            self.calls.c.extra_protocolo,
            sqlite_where=several,
            postgresql_where=several,
        )
        kept = text("body is not null or answer is not null")
        Index("ix_calls_payload", self.calls.c.finished_at, sqlite_where=kept, postgresql_where=kept)
        waiting = text("due is not null")
        Index("ix_calls_due", self.calls.c.due, sqlite_where=waiting, postgresql_where=waiting)
        Index(
            "ix_calls_conversation",
            self.calls.c.conversation_id,
            self.calls.c.received_at,
            self.calls.c.equal_key,
        )
        untold = text("submitted_at is null")
        Index("ix_calls_untold", self.calls.c.conversation_id, sqlite_where=untold, postgresql_where=untold)
        dead = text("state in ('failed', 'unknown', 'no_protocol')")
        Index("ix_calls_dead", self.calls.c.received_at, sqlite_where=dead, postgresql_where=dead)
        self.attempts = Table(
            "attempts",
            self.metadata,
            Column("call_id", String, ForeignKey("calls.call_id"), primary_key=True),
            Column("attempt", Integer, primary_key=True, autoincrement=False),
            Column("begun_at", Float, nullable=False),
            Column("send_deadline", Float, nullable=False),
            Column("ended_at", Float),
            Column("result", String),
            Column("certain", Boolean),
        )
        self.handoffs = Table(
            "handoffs",
            self.metadata,
            Column("handoff_id", String, primary_key=True),
            Column("call_id", String, ForeignKey("calls.call_id"), nullable=False, unique=True),
            Column("conversation_id", String, nullable=False, index=True),
            Column("departamento", String, nullable=False),
            Column("motivo", sealed),
            Column("state", String, nullable=False),
            Column("requested_at", Float, nullable=False, index=True),
            Column("accepted_at", Float),
            Column("closed_at", Float),
            Column("returned_at", Float),
            Column("opens_at", Float),
            Column("due_at", Float),
            Column("overdue_at", Float),
        )
        requested = text("state = 'requested'")
        Index(
            "ix_handoffs_waiting",
            self.handoffs.c.requested_at,
            sqlite_where=requested,
            postgresql_where=requested,
        )
        Index(
            "ix_handoffs_due",
            self.handoffs.c.due_at,
            self.handoffs.c.requested_at,
            sqlite_where=requested,
            postgresql_where=requested,
        )
        accepted = text("state = 'accepted'")
        Index(
            "ix_handoffs_accepted",
            self.handoffs.c.requested_at,
            sqlite_where=accepted,
            postgresql_where=accepted,
        )
        self.outbox = Table(
            "outbox",
            self.metadata,
            Column("seq", Integer, primary_key=True),
            Column("event_id", String, nullable=False, unique=True),
            Column("conversation_id", String, nullable=False),
            Column("body", String, nullable=False),
            Column("state", String, nullable=False),
            Column("created_at", Float, nullable=False),
            Column("due", Float, nullable=False),
            Column("tries", Integer, nullable=False, server_default=text("0")),
            Column("result", String),
            Column("delivered_at", Float),
            Column("owner", String),
            Column("lease_until", Float, nullable=False, server_default=text("0")),
        )
        pending = text("state = 'pending'")
        Index(
            "ix_outbox_pending",
            self.outbox.c.conversation_id,
            self.outbox.c.seq,
            sqlite_where=pending,
            postgresql_where=pending,
        )
        Index("ix_outbox_due", self.outbox.c.due, sqlite_where=pending, postgresql_where=pending)
        stuck = text("state = 'stuck'")
        Index("ix_outbox_stuck", self.outbox.c.created_at, sqlite_where=stuck, postgresql_where=stuck)
        Index("ix_outbox_created_at", self.outbox.c.created_at)
        self.webhook_ids = Table(
            "webhook_ids",
            self.metadata,
            Column("webhook_id", String, primary_key=True),
            Column("received_at", Float, nullable=False, index=True),
        )
        self.access_log = Table(
            "access_log",
            self.metadata,
            Column("id", Integer, primary_key=True),
            Column("at", Float, nullable=False, index=True),
            Column("reader", String, nullable=False),
            Column("subject", String, nullable=False),
        )
        self.erasures = Table(
            "erasures",
            self.metadata,
            Column("erasure_id", String, primary_key=True),
            Column("conversation_id", String),
            Column("document_hash", String),
            Column("requested_by", String, nullable=False),
            Column("requested_at", Float, nullable=False),
            Column("done_at", Float),
            Column("report", String),
        )
        asked = text("done_at is null")
        Index(
            "ix_erasures_requested_at",
            self.erasures.c.requested_at,
            sqlite_where=asked,
            postgresql_where=asked,
        )
        self.upkeep = Table(
            "upkeep",
            self.metadata,
            Column("task", String, primary_key=True),
            Column("due", Float, nullable=False),
        )
