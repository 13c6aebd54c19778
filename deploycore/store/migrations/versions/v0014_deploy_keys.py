"""SSH keys of applications and providers that were made here."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add the table; no key was made yet."""
    op.create_table(
        "deploy_keys",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("application", sa.String(63)),
        sa.Column("provider", sa.String(63), nullable=False),
        sa.Column("repository", sa.Text),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("public_key", sa.Text, nullable=False),
        sa.Column("secret", sa.Text),
        sa.Column("registered", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("secret_checksum", sa.String(64)),
        sa.PrimaryKeyConstraint("id", name="pk_deploy_keys"),
        sa.ForeignKeyConstraint(
            ["application"],
            ["applications.name"],
            name="fk_deploy_keys_application",
            ondelete="CASCADE",
        ),
        sqlite_autoincrement=True,
    )
    for column in ("application", "provider"):
        op.create_index(f"ix_deploy_keys_{column}", "deploy_keys", [column])
