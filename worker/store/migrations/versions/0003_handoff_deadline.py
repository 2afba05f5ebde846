"""Hand-offs have opening hours, a deadline and a way back to the bot (contract §12)."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    for name in ("returned_at", "opens_at", "due_at", "overdue_at"):
        op.add_column("handoffs", sa.Column(name, sa.Float(), nullable=True))
    op.create_index(
        "ix_handoffs_due",
        "handoffs",
        ["due_at", "requested_at"],
        unique=False,
        sqlite_where=sa.text("state = 'requested'"),
        postgresql_where=sa.text("state = 'requested'"),
    )
