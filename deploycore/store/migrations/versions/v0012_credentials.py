"""Credentials that are replaced, and tokens that change by themselves."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the columns and the table; what is there has not been changed yet."""
    for column in (
        sa.Column("generation", sa.Integer, nullable=False, server_default="1"),
        sa.Column("changed_at", sa.DateTime(timezone=True)),
        sa.Column("former_secrets", sa.JSON),
        sa.Column("former_until", sa.DateTime(timezone=True)),
        sa.Column("former_checksum", sa.String(64)),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
    ):
        op.add_column("providers", column)
    op.create_table(
        "provider_tokens",
        sa.Column("provider", sa.String(63), nullable=False),
        sa.Column("key", sa.String(63), nullable=False),
        sa.Column("token", sa.Text),
        sa.Column("former", sa.Text),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("lifetime", sa.Float),
        sa.Column("renewed_at", sa.DateTime(timezone=True)),
        sa.Column("leased_until", sa.DateTime(timezone=True)),
        sa.Column("leased_at", sa.DateTime(timezone=True)),
        sa.Column("token_checksum", sa.String(64)),
        sa.PrimaryKeyConstraint("provider", "key", name="pk_provider_tokens"),
        sa.ForeignKeyConstraint(
            ["provider"],
            ["providers.name"],
            name="fk_provider_tokens_provider",
            ondelete="CASCADE",
        ),
    )
