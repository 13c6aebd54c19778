"""Which warning was given of credentials that expire."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the column; no warning was given yet."""
    op.add_column("providers", sa.Column("expiry_warned", sa.Integer))
