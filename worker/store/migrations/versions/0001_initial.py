"""The first schema: conversations, runs with leases, the ledger of calls, hand-offs, keys, upkeep."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "access_log",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("reader", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=("pk_access_log")),
    )
    op.create_index(("ix_access_log_at"), "access_log", ["at"], unique=False)
    op.create_table(
        "calls",
        sa.Column("call_key", sa.String(), nullable=False),
        sa.Column("call_id", sa.String(), nullable=False),
        sa.Column("platform_call_id", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("conversation_id", sa.String(), nullable=False),
        sa.Column("tool", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("protocolo", sa.String(), nullable=True),
        sa.Column("extra_protocolo", sa.String(), nullable=True),
        sa.Column("setor", sa.String(), nullable=True),
        sa.Column("motivo", sa.String(), nullable=True),
        sa.Column("departamento", sa.String(), nullable=True),
        sa.Column("exact", sa.Boolean(), nullable=True),
        sa.Column("document_hash", sa.String(), nullable=True),
        sa.Column("equal_key", sa.String(), nullable=True),
        sa.Column("equal_to", sa.String(), nullable=True),
        sa.Column("idempotency_key", sa.String(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
        sa.Column("owner", sa.String(), nullable=True),
        sa.Column("lease_until", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("due", sa.Float(), nullable=True),
        sa.Column("checks", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("retry_from", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("retrying", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("answered_success", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("maybe_sent", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("erased", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("received_at", sa.Float(), nullable=False),
        sa.Column("answered_at", sa.Float(), nullable=True),
        sa.Column("finished_at", sa.Float(), nullable=True),
        sa.Column("submitted_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("call_key", name=("pk_calls")),
        sa.UniqueConstraint("call_id", name=("uq_calls_call_id")),
    )
    op.create_index(
        "ix_calls_conversation", "calls", ["conversation_id", "received_at", "equal_key"], unique=False
    )
    op.create_index(
        "ix_calls_dead",
        "calls",
        ["received_at"],
        unique=False,
        sqlite_where=sa.text("state in ('failed', 'unknown', 'no_protocol')"),
        postgresql_where=sa.text("state in ('failed', 'unknown', 'no_protocol')"),
    )
    op.create_index(("ix_calls_document_hash"), "calls", ["document_hash"], unique=False)
    op.create_index(
        "ix_calls_due",
        "calls",
        ["due"],
        unique=False,
        sqlite_where=sa.text("due is not null"),
        postgresql_where=sa.text("due is not null"),
    )
    op.create_index(("ix_calls_equal_to"), "calls", ["equal_to"], unique=False)
    op.create_index(
        "ix_calls_extra_protocolo",
        "calls",
        ["extra_protocolo"],
        unique=False,
        sqlite_where=sa.text("extra_protocolo is not null"),
        postgresql_where=sa.text("extra_protocolo is not null"),
    )
    op.create_index("ix_calls_idempotency_key", "calls", ["idempotency_key"], unique=False)
    op.create_index(
        "ix_calls_payload",
        "calls",
        ["finished_at"],
        unique=False,
        sqlite_where=sa.text("body is not null or answer is not null"),
        postgresql_where=sa.text("body is not null or answer is not null"),
    )
    op.create_index(("ix_calls_protocolo"), "calls", ["protocolo"], unique=False)
    op.create_index(("ix_calls_received_at"), "calls", ["received_at"], unique=False)
    op.create_index(("ix_calls_run_id"), "calls", ["run_id"], unique=False)
    op.create_index(
        "ix_calls_untold",
        "calls",
        ["conversation_id"],
        unique=False,
        sqlite_where=sa.text("submitted_at is null"),
        postgresql_where=sa.text("submitted_at is null"),
    )
    op.create_table(
        "conversations",
        sa.Column("conversation_id", sa.String(), nullable=False),
        sa.Column("thread_id", sa.String(), nullable=True),
        sa.Column("assistant", sa.String(), nullable=True),
        sa.Column("document", sa.LargeBinary(), nullable=True),
        sa.Column("document_hash", sa.String(), nullable=True),
        sa.Column("contact", sa.LargeBinary(), nullable=True),
        sa.Column("attachment_url", sa.LargeBinary(), nullable=True),
        sa.Column("attachment_at", sa.Float(), nullable=True),
        sa.Column("attachment_taken_by", sa.String(), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.Column("active_at", sa.Float(), nullable=False),
        sa.Column("discover_due", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("conversation_id", name=("pk_conversations")),
        sa.UniqueConstraint("thread_id", name=("uq_conversations_thread_id")),
    )
    op.create_index(("ix_conversations_active_at"), "conversations", ["active_at"], unique=False)
    op.create_index(("ix_conversations_document_hash"), "conversations", ["document_hash"], unique=False)
    op.create_index(
        "ix_conversations_payload",
        "conversations",
        ["active_at"],
        unique=False,
        sqlite_where=sa.text("document is not null or contact is not null or attachment_url is not null"),
        postgresql_where=sa.text("document is not null or contact is not null or attachment_url is not null"),
    )
    op.create_table(
        "erasures",
        sa.Column("erasure_id", sa.String(), nullable=False),
        sa.Column("conversation_id", sa.String(), nullable=True),
        sa.Column("document_hash", sa.String(), nullable=True),
        sa.Column("requested_by", sa.String(), nullable=False),
        sa.Column("requested_at", sa.Float(), nullable=False),
        sa.Column("done_at", sa.Float(), nullable=True),
        sa.Column("report", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("erasure_id", name=("pk_erasures")),
    )
    op.create_index(
        "ix_erasures_requested_at",
        "erasures",
        ["requested_at"],
        unique=False,
        sqlite_where=sa.text("done_at is null"),
        postgresql_where=sa.text("done_at is null"),
    )
    op.create_table(
        "index_key",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=("pk_index_key")),
    )
    op.create_table(
        "outbox",
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("conversation_id", sa.String(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("due", sa.Float(), nullable=False),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("result", sa.String(), nullable=True),
        sa.Column("delivered_at", sa.Float(), nullable=True),
        sa.Column("owner", sa.String(), nullable=True),
        sa.Column("lease_until", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=("pk_outbox")),
        sa.UniqueConstraint("event_id", name=("uq_outbox_event_id")),
    )
    op.create_index("ix_outbox_created_at", "outbox", ["created_at"], unique=False)
    op.create_index(
        "ix_outbox_due",
        "outbox",
        ["due"],
        unique=False,
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "ix_outbox_pending",
        "outbox",
        ["conversation_id", "seq"],
        unique=False,
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "ix_outbox_stuck",
        "outbox",
        ["created_at"],
        unique=False,
        sqlite_where=sa.text("state = 'stuck'"),
        postgresql_where=sa.text("state = 'stuck'"),
    )
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("platform", sa.String(), nullable=False),
        sa.Column("conversation_id", sa.String(), nullable=False),
        sa.Column("thread_id", sa.String(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("platform_status", sa.String(), nullable=True),
        sa.Column("continues_as", sa.String(), nullable=True),
        sa.Column("registered_at", sa.Float(), nullable=False),
        sa.Column("closed_at", sa.Float(), nullable=True),
        sa.Column("due", sa.Float(), nullable=False),
        sa.Column("owner", sa.String(), nullable=True),
        sa.Column("lease_until", sa.Float(), server_default=sa.text("0"), nullable=False),
        sa.Column("lease_epoch", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("wake", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("submit_begun_at", sa.Float(), nullable=True),
        sa.Column("rounds", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=("pk_runs")),
    )
    op.create_index(
        "ix_runs_closed_at",
        "runs",
        ["closed_at"],
        unique=False,
        sqlite_where=sa.text("closed_at is not null"),
        postgresql_where=sa.text("closed_at is not null"),
    )
    op.create_index(("ix_runs_conversation_id"), "runs", ["conversation_id"], unique=False)
    op.create_index(
        "ix_runs_due",
        "runs",
        ["due"],
        unique=False,
        sqlite_where=sa.text("state = 'watching'"),
        postgresql_where=sa.text("state = 'watching'"),
    )
    op.create_table(
        "upkeep",
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("due", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("task", name=("pk_upkeep")),
    )
    op.create_table(
        "webhook_ids",
        sa.Column("webhook_id", sa.String(), nullable=False),
        sa.Column("received_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("webhook_id", name=("pk_webhook_ids")),
    )
    op.create_index(("ix_webhook_ids_received_at"), "webhook_ids", ["received_at"], unique=False)
    op.create_table(
        "attempts",
        sa.Column("call_id", sa.String(), nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("begun_at", sa.Float(), nullable=False),
        sa.Column("send_deadline", sa.Float(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.Column("result", sa.String(), nullable=True),
        sa.Column("certain", sa.Boolean(), nullable=True),
        sa.ForeignKeyConstraint(["call_id"], ["calls.call_id"], name=("fk_attempts_call_id")),
        sa.PrimaryKeyConstraint("call_id", "attempt", name=("pk_attempts")),
    )
    op.create_table(
        "handoffs",
        sa.Column("handoff_id", sa.String(), nullable=False),
        sa.Column("call_id", sa.String(), nullable=False),
        sa.Column("conversation_id", sa.String(), nullable=False),
        sa.Column("departamento", sa.String(), nullable=False),
        sa.Column("motivo", sa.LargeBinary(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("requested_at", sa.Float(), nullable=False),
        sa.Column("accepted_at", sa.Float(), nullable=True),
        sa.Column("closed_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["call_id"], ["calls.call_id"], name=("fk_handoffs_call_id")),
        sa.PrimaryKeyConstraint("handoff_id", name=("pk_handoffs")),
        sa.UniqueConstraint("call_id", name=("uq_handoffs_call_id")),
    )
    op.create_index(
        "ix_handoffs_accepted",
        "handoffs",
        ["requested_at"],
        unique=False,
        sqlite_where=sa.text("state = 'accepted'"),
        postgresql_where=sa.text("state = 'accepted'"),
    )
    op.create_index(("ix_handoffs_conversation_id"), "handoffs", ["conversation_id"], unique=False)
    op.create_index(("ix_handoffs_requested_at"), "handoffs", ["requested_at"], unique=False)
    op.create_index(
        "ix_handoffs_waiting",
        "handoffs",
        ["requested_at"],
        unique=False,
        sqlite_where=sa.text("state = 'requested'"),
        postgresql_where=sa.text("state = 'requested'"),
    )
