"""The history of removed applications, what was live before, and deployments that are forced."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_AT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the columns and the table."""
    op.add_column("deployments", sa.Column("previous_commit", sa.Text))
    op.add_column(
        "triggers", sa.Column("force", sa.Boolean, nullable=False, server_default=sa.false())
    )
    op.create_table(
        "removed_deployments",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("application", sa.String(63), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("ref", sa.Text, nullable=False),
        sa.Column("commit", sa.Text),
        sa.Column("release", sa.Text),
        sa.Column("previous", sa.Text),
        sa.Column("requested_by", sa.Text, nullable=False),
        sa.Column("requested_at", _AT, nullable=False),
        sa.Column("started_at", _AT),
        sa.Column("finished_at", _AT),
        sa.Column("error_code", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("author", sa.Text),
        sa.Column("subject", sa.Text),
        sa.Column("committed_at", _AT),
        sa.Column("files", sa.BigInteger),
        sa.Column("bytes", sa.BigInteger),
        sa.Column("seconds", sa.JSON, nullable=False),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("revision", sa.Integer),
        sa.Column("unproved", sa.Boolean, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("home", sa.Text, nullable=False),
        sa.Column("previous_commit", sa.Text),
        sa.Column("removed_at", _AT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_removed_deployments"),
    )
    op.create_index(
        "ix_removed_deployments_application_id", "removed_deployments", ["application", "id"]
    )
