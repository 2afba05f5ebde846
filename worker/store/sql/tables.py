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
LOST = literal(RunState.LOST, String, literal_execute=True)
REQUESTED = literal(HandoffState.REQUESTED, String, literal_execute=True)
ACCEPTED = literal(HandoffState.ACCEPTED, String, literal_execute=True)
"""States written out: a partial index serves no query whose parameter might be another value."""

NO_CODES = literal("", String, literal_execute=True)
"""`reply_checks.codes` of a clean reply, written out as in the index on suspect ones."""

SHORT_ID = "length(platform_call_id) <= 256"
"""Condition of the index on the platform's call ids: an entry has at most 2,700 bytes. Queries repeat it."""

OPEN = tuple(state for state in CallState if state.open)
"""States of calls without an outcome yet."""

DEAD = (CallState.FAILED, CallState.UNKNOWN, CallState.NO_PROTOCOL)
"""States in which a call needs a person. `ix_calls_dead` lists them in this order."""


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


def _partial(name: str, where: str, *columns: Column[Any]) -> None:
    """An index of the rows for which `where` holds. Its option has another name on each kind of database.

    Only the name of the one in use is passed: for the other's, SQLAlchemy would import that dialect.
    """
    option: dict[str, Any] = {f"{columns[0].table.metadata.info['backend']}_where": text(where)}
    Index(name, *columns, **option)


def _dismissal() -> tuple[Column[Any], ...]:
    """Who dismissed the row (it needs no person), when and why; NULL for a row that was not dismissed."""
    return Column("dismissed_reason", String), Column("dismissed_by", String), Column("dismissed_at", Float)


class Tables:
    """The schema of this version, its payload columns bound to the keys of one database."""

    def __init__(self, vault: Vault, backend: str) -> None:
        """`backend`: `sqlite` or `postgresql`."""
        self.metadata = MetaData(naming_convention=_NAMES, info={"backend": backend})
        self.prepared: dict[Hashable, Any] = {}  # compiled by worker/store/sql/statements.py
        sealed = Sealed(vault)
        self.index_key = _index_key(self.metadata)
        self.conversations = _conversations(self.metadata, sealed)
        self.runs = _runs(self.metadata)
        self.calls = _calls(self.metadata, sealed)
        self.attempts = _attempts(self.metadata)
        self.handoffs = _handoffs(self.metadata, sealed)
        self.outbox = _outbox(self.metadata)
        self.reply_checks = _reply_checks(self.metadata)
        self.webhook_ids = _webhook_ids(self.metadata)
        self.access_log = _access_log(self.metadata)
        self.erasures = _erasures(self.metadata)
        self.daemons = _daemons(self.metadata)
        self.upkeep = _upkeep(self.metadata)


def _index_key(metadata: MetaData) -> Table:
    return Table(
        "index_key",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("wrapped", LargeBinary, nullable=False),
    )


def _conversations(metadata: MetaData, sealed: Sealed) -> Table:
    table = Table(
        "conversations",
        metadata,
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
        Column("log_id", String, index=True),
    )
    _partial(
        "ix_conversations_payload",
        "document is not null or contact is not null or attachment_url is not null",
        table.c.active_at,
    )
    return table


def _runs(metadata: MetaData) -> Table:
    table = Table(
        "runs",
        metadata,
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
        Column("log_id", String),
        *_dismissal(),
    )
    _partial("ix_runs_log_id", "log_id is not null", table.c.log_id)
    Index("ix_runs_registered_at", table.c.registered_at)
    _partial("ix_runs_reason", "reason is not null", table.c.reason, table.c.registered_at)
    _partial("ix_runs_lost", "state = 'lost'", table.c.registered_at)
    _partial("ix_runs_watching", "state = 'watching'", table.c.registered_at)
    _partial("ix_runs_due", "state = 'watching'", table.c.due)
    _partial("ix_runs_closed_at", "closed_at is not null", table.c.closed_at)
    return table


def _calls(metadata: MetaData, sealed: Sealed) -> Table:
    table = Table(
        "calls",
        metadata,
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
        Column("log_id", String),
        *_dismissal(),
    )
    _partial("ix_calls_log_id", "log_id is not null", table.c.log_id)
    _partial("ix_calls_platform_call_id", SHORT_ID, table.c.platform_call_id)
    for name in ("setor", "motivo", "tool"):
        Index(f"ix_calls_{name}", table.c[name], table.c.received_at)
    _partial("ix_calls_open", "state in ('received', 'running')", table.c.received_at)
    _partial("ix_calls_rejected", "state = 'rejected'", table.c.received_at)
    _partial(
        "ix_calls_needs_person",
        "state in ('failed', 'unknown', 'no_protocol') and dismissed_at is null",
        table.c.received_at,
    )
    Index("ix_calls_idempotency_key", table.c.idempotency_key)
    _partial("ix_calls_extra_protocolo", "extra_protocolo is not null", table.c.extra_protocolo)
    _partial("ix_calls_payload", "body is not null or answer is not null", table.c.finished_at)
    _partial("ix_calls_due", "due is not null", table.c.due)
    Index(
        "ix_calls_conversation",
        table.c.conversation_id,
        table.c.received_at,
        table.c.equal_key,
    )
    _partial("ix_calls_untold", "submitted_at is null", table.c.conversation_id)
    _partial("ix_calls_dead", "state in ('failed', 'unknown', 'no_protocol')", table.c.received_at)
    return table


def _attempts(metadata: MetaData) -> Table:
    return Table(
        "attempts",
        metadata,
        Column("call_id", String, ForeignKey("calls.call_id"), primary_key=True),
        Column("attempt", Integer, primary_key=True, autoincrement=False),
        Column("begun_at", Float, nullable=False),
        Column("send_deadline", Float, nullable=False),
        Column("ended_at", Float),
        Column("result", String),
        Column("certain", Boolean),
    )


def _handoffs(metadata: MetaData, sealed: Sealed) -> Table:
    table = Table(
        "handoffs",
        metadata,
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
    _partial("ix_handoffs_waiting", "state = 'requested'", table.c.requested_at)
    _partial(
        "ix_handoffs_due",
        "state = 'requested'",
        table.c.due_at,
        table.c.requested_at,
    )
    _partial("ix_handoffs_accepted", "state = 'accepted'", table.c.requested_at)
    return table


def _outbox(metadata: MetaData) -> Table:
    table = Table(
        "outbox",
        metadata,
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
    _partial("ix_outbox_pending", "state = 'pending'", table.c.conversation_id, table.c.seq)
    _partial("ix_outbox_due", "state = 'pending'", table.c.due)
    _partial("ix_outbox_stuck", "state = 'stuck'", table.c.created_at)
    _partial("ix_outbox_waiting", "state = 'pending'", table.c.created_at)
    _partial("ix_outbox_discarded", "state = 'discarded'", table.c.created_at)
    Index("ix_outbox_conversation", table.c.conversation_id, table.c.created_at)
    Index("ix_outbox_created_at", table.c.created_at)
    return table


def _reply_checks(metadata: MetaData) -> Table:
    table = Table(
        "reply_checks",
        metadata,
        Column("check_id", Integer, primary_key=True),
        Column("conversation_id", String, nullable=False, index=True),
        Column("run_id", String, index=True),
        Column("source", String, nullable=False),
        # Comma-separated, empty when nothing was found.
        Column("codes", String, nullable=False),
        Column("checked_at", Float, nullable=False, index=True),
    )
    _partial("ix_reply_checks_suspect", "codes <> ''", table.c.checked_at)
    return table


def _webhook_ids(metadata: MetaData) -> Table:
    return Table(
        "webhook_ids",
        metadata,
        Column("webhook_id", String, primary_key=True),
        Column("received_at", Float, nullable=False, index=True),
    )


def _access_log(metadata: MetaData) -> Table:
    return Table(
        "access_log",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("at", Float, nullable=False, index=True),
        Column("reader", String, nullable=False),
        Column("subject", String, nullable=False),
    )


def _erasures(metadata: MetaData) -> Table:
    table = Table(
        "erasures",
        metadata,
        Column("erasure_id", String, primary_key=True),
        Column("conversation_id", String),
        Column("document_hash", String),
        Column("requested_by", String, nullable=False),
        Column("requested_at", Float, nullable=False),
        Column("done_at", Float),
        Column("report", String),
    )
    _partial("ix_erasures_requested_at", "done_at is null", table.c.requested_at)
    return table


def _daemons(metadata: MetaData) -> Table:
    return Table(
        "daemons",
        metadata,
        Column("owner", String, primary_key=True),
        Column("started_at", Float, nullable=False),
        Column("seen_at", Float, nullable=False),
        Column("report", String, nullable=False),
    )


def _upkeep(metadata: MetaData) -> Table:
    return Table(
        "upkeep",
        metadata,
        Column("task", String, primary_key=True),
        Column("due", Float, nullable=False),
    )
