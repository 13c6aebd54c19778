"""When deliveries may have been missed, and how the git host identifies repositories."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_AT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the tables and columns."""
    op.add_column("polls", sa.Column("requested_at", _AT))
    op.add_column("polls", sa.Column("not_before", _AT))
    op.create_index("ix_polls_requested_at", "polls", ["requested_at"])
    reception = op.create_table(
        "reception",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("seen_at", _AT),
        sa.PrimaryKeyConstraint("id", name="pk_reception"),
    )
    op.bulk_insert(reception, [{"id": 1, "seen_at": None}])
    op.create_table(
        "repositories",
        sa.Column("application", sa.String(63), nullable=False),
        sa.Column("provider", sa.String(63), nullable=False),
        sa.Column("repository", sa.Text, nullable=False),
        sa.Column("host_id", sa.Text),
        sa.Column("former_names", sa.JSON, nullable=False),
        sa.Column("renamed_at", _AT),
        sa.Column("told_name", sa.Text),
        sa.Column("other_host_id", sa.Text),
        sa.Column("ignored_name", sa.Text),
        sa.Column("ignored_at", _AT),
        sa.PrimaryKeyConstraint("application", name="pk_repositories"),
        sa.ForeignKeyConstraint(
            ["application"],
            ["applications.name"],
            name="fk_repositories_application",
            ondelete="CASCADE",
        ),
    )
