"""The first tables: providers, applications, deployments."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the three tables."""
    op.create_table(
        "providers",
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("secrets", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_providers"),
    )
    op.create_table(
        "applications",
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("provider", sa.String(63), nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("slug", sa.Text, nullable=False),
        sa.Column("branch", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("submodules", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_applications"),
        sa.ForeignKeyConstraint(["provider"], ["providers.name"], name="fk_applications_provider"),
        sa.UniqueConstraint("target", name="uq_applications_target"),
    )
    op.create_index("ix_applications_provider", "applications", ["provider"])
    op.create_table(
        "deployments",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("application", sa.String(63), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("commit", sa.Text),
        sa.Column("release", sa.Text),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("error_code", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("requested_by", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deployments"),
        sa.ForeignKeyConstraint(
            ["application"],
            ["applications.name"],
            name="fk_deployments_application",
            ondelete="CASCADE",
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_deployments_application_id", "deployments", ["application", "id"])
