"""Checks of replies: when, of which run, and what was found; never a word of the reply."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "reply_checks",
        sa.Column("check_id", sa.Integer(), nullable=False),
        sa.Column("conversation_id", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("codes", sa.String(), nullable=False),
        sa.Column("checked_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("check_id", name=op.f("pk_reply_checks")),
    )
    op.create_index(op.f("ix_reply_checks_conversation_id"), "reply_checks", ["conversation_id"])
    op.create_index(op.f("ix_reply_checks_run_id"), "reply_checks", ["run_id"])
    op.create_index(op.f("ix_reply_checks_checked_at"), "reply_checks", ["checked_at"])
    suspect = sa.text("codes <> ''")
    op.create_index(
        "ix_reply_checks_suspect",
        "reply_checks",
        ["checked_at"],
        sqlite_where=suspect,
        postgresql_where=suspect,
    )
