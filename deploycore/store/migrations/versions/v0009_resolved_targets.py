"""What an application's target resolved to when it was written."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0007"


def upgrade() -> None:
    """Add the column; applications that are there get a value when they are next written."""
    op.add_column("applications", sa.Column("resolved_target", sa.Text))
    op.create_index("ix_applications_resolved_target", "applications", ["resolved_target"])
