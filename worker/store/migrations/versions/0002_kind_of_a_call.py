"""Calls say what kind of tool they call: ticket, hand-off or other."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("calls", sa.Column("kind", sa.String(), server_default=sa.text("'other'"), nullable=False))
    op.execute("update calls set kind = 'ticket' where tool = 'abrir_ticket_crm'")
    op.execute("update calls set kind = 'handoff' where tool = 'transferir_para_humano'")
