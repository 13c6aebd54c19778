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
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

__all__ = ["REVISION", "applications", "deployments", "metadata", "providers"]

REVISION = "0002"
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
    Index(None, "application", "id"),
    Index(None, "application", "release"),
    # What has ended is nearly all; who asks for the rest must not read it.
    Index(None, "state", "application"),
    sqlite_autoincrement=True,  # the number of a removed deployment must not return
)
