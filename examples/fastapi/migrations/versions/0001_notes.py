"""The first table."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make it."""
    op.create_table(
        "notes",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("file", sa.Text, nullable=False, server_default=""),
        sa.Column("at", sa.DateTime, nullable=False, server_default=sa.func.now()),
    )
