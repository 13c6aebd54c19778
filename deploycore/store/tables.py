"""The tables as this version of the code uses them.

A change here needs a migration in ``migrations/versions`` and its number in ``REVISION``;
tests compare the three. Column names are the field names of the records.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

__all__ = [
    "REVISION",
    "applications",
    "claims",
    "closed_pull_requests",
    "deployments",
    "metadata",
    "polls",
    "previews",
    "providers",
    "removed_deployments",
    "tokens",
    "triggers",
    "webhooks",
    "workers",
]

REVISION = "0007"
"""The newest migration: what the version table of an up-to-date database says."""

NAME_LENGTH = 63


class UtcDateTime(TypeDecorator[datetime]):
    """Times in UTC, aware on both sides; SQLite would keep them without their zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            return value.replace(tzinfo=UTC)
        return value and value.astimezone(UTC)


class PathText(TypeDecorator[Path]):
    """Paths, as text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Path | None, dialect: Dialect) -> str | None:
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Path | None:
        return None if value is None else Path(value)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

providers = Table(
    "providers",
    metadata,
    Column("name", String(NAME_LENGTH), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("settings", JSON, nullable=False),
    Column("secrets", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

applications = Table(
    "applications",
    metadata,
    Column("name", String(NAME_LENGTH), primary_key=True),
    Column("provider", ForeignKey(providers.c.name), nullable=False, index=True),
    Column("target", PathText, nullable=False, unique=True),
    Column("definition", JSON, nullable=False),
    Column("secrets", JSON, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("changed_at", UtcDateTime, nullable=False),
)

deployments = Table(
    "deployments",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("application", ForeignKey(applications.c.name, ondelete="CASCADE"), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("ref", Text, nullable=False),
    Column("commit", Text),
    Column("release", Text),
    Column("previous", Text),
    Column("requested_by", Text, nullable=False),
    Column("requested_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("error_code", Text),
    Column("error", Text),
    Column("author", Text),
    Column("subject", Text),
    Column("committed_at", UtcDateTime),
    Column("files", BigInteger),
    Column("bytes", BigInteger),
    Column("seconds", JSON, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("revision", Integer),
    Column("unproved", Boolean, nullable=False),
    Column("host", Text, nullable=False),
    Column("home", Text, nullable=False),
    Column("previous_commit", Text),
    Index(None, "application", "id"),
    Index(None, "application", "release"),
    # What has ended is nearly all; who asks for the rest must not read it.
    Index(None, "state", "application"),
    sqlite_autoincrement=True,  # the number of a removed deployment must not return
)

# The history of removed applications. It is kept apart, so that nothing that an application does
# can take a deployment of a former one of the same name for its own.
removed_deployments = Table(
    "removed_deployments",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("application", String(NAME_LENGTH), nullable=False),
    *(
        Column(each.name, each.type, nullable=each.nullable)
        for each in deployments.c
        if each.name not in ("id", "application")
    ),
    Column("removed_at", UtcDateTime, nullable=False),
    Index(None, "application", "id"),
)

# Why an application is to be looked at: what a webhook, a poll or a person said. It stays until
# a deployment that began after it has come to an end.
triggers = Table(
    "triggers",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("application", ForeignKey(applications.c.name, ondelete="CASCADE"), nullable=False),
    Column("cause", String(16), nullable=False),
    Column("ref", Text, nullable=False),
    Column("commit", Text),
    Column("actor", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    # What tells a delivery from others: the host's identifier, and a digest of its body. Who
    # sends again what was sent before meets the former one.
    Column("delivery", Text),
    Column("digest", String(64)),
    Column("received_at", UtcDateTime, nullable=False),
    Column("not_before", UtcDateTime, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("settled_at", UtcDateTime),
    Column("deployment", Integer),
    Column("error_code", Text),
    Column("force", Boolean, nullable=False),
    UniqueConstraint("application", "delivery", name="uq_triggers_application_delivery"),
    UniqueConstraint("application", "digest", name="uq_triggers_application_digest"),
    Index(None, "settled_at", "application"),
    sqlite_autoincrement=True,
)

# Processes that work on triggers, each with a sign of life.
workers = Table(
    "workers",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("host", Text, nullable=False),
    Column("process", Integer, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
)

# Which worker has an application in hand: one at a time in the whole fleet.
claims = Table(
    "claims",
    metadata,
    Column("application", ForeignKey(applications.c.name, ondelete="CASCADE"), primary_key=True),
    Column("worker", String(36), nullable=False),
    Column("claimed_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)

# The secrets of an application's webhook: the present one, and the former one for a while; without
# an end to that, until the host is known to have the present one.
webhooks = Table(
    "webhooks",
    metadata,
    Column("application", ForeignKey(applications.c.name, ondelete="CASCADE"), primary_key=True),
    Column("secret", Text, nullable=False),
    Column("former", Text),
    Column("former_until", UtcDateTime),
    Column("hosts_id", Text),
    Column("url", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("delivered_at", UtcDateTime),
)

# When the git host is asked for news of an application, and what it said the last time.
polls = Table(
    "polls",
    metadata,
    Column("application", ForeignKey(applications.c.name, ondelete="CASCADE"), primary_key=True),
    Column("due_at", UtcDateTime, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("commit", Text),
)

# Applications that were made for pull requests. They refer to no application, since they stay
# until the directory is gone too.
previews = Table(
    "previews",
    metadata,
    Column("name", String(NAME_LENGTH), primary_key=True),
    Column("parent", String(NAME_LENGTH), nullable=False, index=True),
    Column("number", BigInteger, nullable=False),
    Column("target", PathText, nullable=False),
    Column("within", PathText, nullable=False),
    Column("host", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("removed_at", UtcDateTime),
)

# Pull requests that have come to their end: what is told of them later must not bring them back.
# Another repository of the same application counts its own anew.
closed_pull_requests = Table(
    "closed_pull_requests",
    metadata,
    Column("parent", ForeignKey(applications.c.name, ondelete="CASCADE"), primary_key=True),
    Column("provider", String(NAME_LENGTH), primary_key=True),
    Column("repository", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("merged", Boolean, nullable=False),
)

# Who may use the server's API: digests of tokens, never the tokens.
tokens = Table(
    "tokens",
    metadata,
    Column("name", String(NAME_LENGTH), primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("used_at", UtcDateTime),
)
