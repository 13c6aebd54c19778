"""What deploys by itself: triggers, workers and their claims, webhooks, tokens, polls,
previews."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_AT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "triggers",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("application", sa.String(63), nullable=False),
        sa.Column("cause", sa.String(16), nullable=False),
        sa.Column("ref", sa.Text, nullable=False),
        sa.Column("commit", sa.Text),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("delivery", sa.Text),
        sa.Column("digest", sa.String(64)),
        sa.Column("received_at", _AT, nullable=False),
        sa.Column("not_before", _AT, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("settled_at", _AT),
        sa.Column("deployment", sa.Integer),
        sa.Column("error_code", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_triggers"),
        _of_application("triggers"),
        sa.UniqueConstraint("application", "delivery", name="uq_triggers_application_delivery"),
        sa.UniqueConstraint("application", "digest", name="uq_triggers_application_digest"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_triggers_settled_at_application", "triggers", ["settled_at", "application"])
    op.create_table(
        "workers",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("process", sa.Integer, nullable=False),
        sa.Column("started_at", _AT, nullable=False),
        sa.Column("seen_at", _AT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workers"),
    )
    op.create_table(
        "claims",
        sa.Column("application", sa.String(63), nullable=False),
        sa.Column("worker", sa.String(36), nullable=False),
        sa.Column("claimed_at", _AT, nullable=False),
        sa.Column("expires_at", _AT, nullable=False),
        sa.PrimaryKeyConstraint("application", name="pk_claims"),
        _of_application("claims"),
    )
    op.create_table(
        "webhooks",
        sa.Column("application", sa.String(63), nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("former", sa.Text),
        sa.Column("former_until", _AT),
        sa.Column("hosts_id", sa.Text),
        sa.Column("url", sa.Text),
        sa.Column("created_at", _AT, nullable=False),
        sa.Column("delivered_at", _AT),
        sa.PrimaryKeyConstraint("application", name="pk_webhooks"),
        _of_application("webhooks"),
    )
    op.create_table(
        "polls",
        sa.Column("application", sa.String(63), nullable=False),
        sa.Column("due_at", _AT, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("commit", sa.Text),
        sa.PrimaryKeyConstraint("application", name="pk_polls"),
        _of_application("polls"),
    )
    op.create_table(
        "previews",
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("parent", sa.String(63), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("within", sa.Text, nullable=False),
        sa.Column("host", sa.Text),
        sa.Column("created_at", _AT, nullable=False),
        sa.Column("ended_at", _AT),
        sa.Column("removed_at", _AT),
        sa.PrimaryKeyConstraint("name", name="pk_previews"),
    )
    op.create_index("ix_previews_parent", "previews", ["parent"])
    op.create_table(
        "closed_pull_requests",
        sa.Column("parent", sa.String(63), nullable=False),
        sa.Column("provider", sa.String(63), nullable=False),
        sa.Column("repository", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("merged", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint(
            "parent", "provider", "repository", "number", name="pk_closed_pull_requests"
        ),
        _of_application("closed_pull_requests", "parent"),
    )
    op.create_table(
        "tokens",
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("created_at", _AT, nullable=False),
        sa.Column("expires_at", _AT),
        sa.Column("used_at", _AT),
        sa.PrimaryKeyConstraint("name", name="pk_tokens"),
        sa.UniqueConstraint("digest", name="uq_tokens_digest"),
    )


def _of_application(table: str, column: str = "application") -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column],
        ["applications.name"],
        name=f"fk_{table}_{column}",
        ondelete="CASCADE",
    )
