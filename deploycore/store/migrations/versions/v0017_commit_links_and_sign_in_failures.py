"""The address of each commit's page, and failed attempts to sign in."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Add the columns and the table. The address is not known for former deployments."""
    for table in ("deployments", "removed_deployments"):
        op.add_column(table, sa.Column("commit_url", sa.Text))
    op.create_table(
        "sign_in_failures",
        sa.Column("sender", sa.String(64), nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("sender", name="pk_sign_in_failures"),
    )
    op.create_index("ix_sign_in_failures_at", "sign_in_failures", ["at"])
