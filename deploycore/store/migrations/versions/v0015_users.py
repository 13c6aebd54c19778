"""Users of the dashboard, their sessions and one-time links, and the audit log."""

from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Add the tables; there are no users yet."""
    _add_users()
    _add_sessions()
    _add_links()
    _add_audit()


def _add_users() -> None:
    op.create_table(
        "users",
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("password", sa.Text),
        sa.Column("issuer", sa.Text),
        sa.Column("subject", sa.Text),
        sa.Column("disabled", sa.Boolean, nullable=False),
        _time("created_at"),
        _time("changed_at"),
        sa.Column("signed_in_at", sa.DateTime(timezone=True)),
        sa.Column("identity_checksum", sa.String(64)),
        sa.PrimaryKeyConstraint("name", name="pk_users"),
        sa.UniqueConstraint("issuer", "subject", name="uq_users_issuer"),
    )


def _add_sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("user", sa.String(63), nullable=False),
        _time("created_at"),
        _time("seen_at"),
        _time("expires_at"),
        sa.Column("browser", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.UniqueConstraint("digest", name="uq_sessions_digest"),
        sa.ForeignKeyConstraint(
            ["user"], ["users.name"], name="fk_sessions_user", ondelete="CASCADE"
        ),
        sqlite_autoincrement=True,
    )
    for column in ("user", "expires_at"):
        op.create_index(f"ix_sessions_{column}", "sessions", [column])


def _add_links() -> None:
    op.create_table(
        "sign_in_links",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("user", sa.String(63)),
        _time("created_at"),
        _time("expires_at"),
        sa.Column("used_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("digest", name="pk_sign_in_links"),
        sa.ForeignKeyConstraint(
            ["user"], ["users.name"], name="fk_sign_in_links_user", ondelete="CASCADE"
        ),
    )
    for column in ("user", "expires_at"):
        op.create_index(f"ix_sign_in_links_{column}", "sign_in_links", [column])


def _add_audit() -> None:
    texts = ("actor", "operation", "kind", "subject", "outcome", "request", "address")
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer, nullable=False),
        _time("at"),
        *(sa.Column(name, sa.Text, nullable=False) for name in texts),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_at", "audit", ["at"])
    for column in ("actor", "operation", "subject"):
        op.create_index(f"ix_audit_{column}_id", "audit", [column, "id"])


def _time(name: str) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False)
