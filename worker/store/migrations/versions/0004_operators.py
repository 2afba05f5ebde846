"""What operators find and finish: dismissals, filters on indexes, ids as the log writes them."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("conversations", sa.Column("log_id", sa.String(), nullable=True))
    op.create_index("ix_conversations_log_id", "conversations", ["log_id"])
    for table in ("runs", "calls"):
        op.add_column(table, sa.Column("dismissed_reason", sa.String(), nullable=True))
        op.add_column(table, sa.Column("dismissed_by", sa.String(), nullable=True))
        op.add_column(table, sa.Column("dismissed_at", sa.Float(), nullable=True))
    op.create_table(
        "daemons",
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=False),
        sa.Column("report", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("owner", name="pk_daemons"),
    )
    for column in ("setor", "motivo", "tool"):
        op.create_index(f"ix_calls_{column}", "calls", [column, "received_at"])
    _partial("ix_calls_open", "calls", ["received_at"], "state in ('received', 'running')")
    _partial("ix_calls_rejected", "calls", ["received_at"], "state = 'rejected'")
    needs_person = "state in ('failed', 'unknown', 'no_protocol') and dismissed_at is null"
    _partial("ix_calls_needs_person", "calls", ["received_at"], needs_person)
    op.create_index("ix_runs_registered_at", "runs", ["registered_at"])
    _partial("ix_runs_reason", "runs", ["reason", "registered_at"], "reason is not null")
    _partial("ix_runs_lost", "runs", ["registered_at"], "state = 'lost'")
    _partial("ix_runs_watching", "runs", ["registered_at"], "state = 'watching'")
    _partial("ix_outbox_waiting", "outbox", ["created_at"], "state = 'pending'")
    _partial("ix_outbox_discarded", "outbox", ["created_at"], "state = 'discarded'")
    op.create_index("ix_outbox_conversation", "outbox", ["conversation_id", "created_at"])


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
