"""A call is found by the platform's id of it, and by what the log writes instead of that id."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_OLDER_DAEMONS_S = 86_400.0
"""For so long, daemons of an older version may still record rows without `log_id`: see `store/log_ids.py`."""


def upgrade() -> None:
    op.add_column("calls", sa.Column("log_id", sa.String(), nullable=True))
    _partial("ix_calls_log_id", "log_id", "log_id is not null")
    _partial("ix_calls_platform_call_id", "platform_call_id", "length(platform_call_id) <= 256")
    sqlite = op.get_bind().dialect.name == "sqlite"
    now = "(julianday('now') - 2440587.5) * 86400.0" if sqlite else "extract(epoch from now())::float8"
    task = sa.table("upkeep", sa.column("task"), sa.column("due"))
    until: sa.ColumnElement[float] = sa.literal_column(now) + _OLDER_DAEMONS_S
    op.execute(task.insert().from_select(["task", "due"], sa.select(sa.literal("log_ids"), until)))


def _partial(name: str, column: str, where: str) -> None:
    op.create_index(name, "calls", [column], sqlite_where=sa.text(where), postgresql_where=sa.text(where))
