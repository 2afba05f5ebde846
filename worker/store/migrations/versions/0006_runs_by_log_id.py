"""A run whose id the log does not write is found by what the log writes instead."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("runs", sa.Column("log_id", sa.String(), nullable=True))
    written = sa.text("log_id is not null")
    op.create_index("ix_runs_log_id", "runs", ["log_id"], sqlite_where=written, postgresql_where=written)
