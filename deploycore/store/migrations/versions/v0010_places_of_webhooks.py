"""For which repository each webhook is registered."""

import json
from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the columns; a webhook that is there belongs to what its application deploys now."""
    op.add_column("webhooks", sa.Column("provider", sa.String(63)))
    op.add_column("webhooks", sa.Column("repository", sa.Text))
    connection = op.get_bind()
    webhooks = sa.table("webhooks", *map(sa.column, ("application", "provider", "repository")))
    for name, provider, repository in list(_places(connection)):
        connection.execute(
            sa.update(webhooks)
            .where(webhooks.c.application == name)
            .values(provider=provider, repository=repository)
        )


def _places(connection: sa.Connection) -> Iterator[tuple[str, str, str]]:
    """Application, provider and repository of each webhook that a host has; read as bytes, since
    what is damaged in one row must not stop the migration."""
    is_postgresql = connection.dialect.name == "postgresql"
    read = "convert_to({}::text, 'UTF8')" if is_postgresql else "CAST({} AS BLOB)"
    columns = ", ".join(read.format(each) for each in ("a.name", "a.definition"))
    query = (
        f"SELECT {columns} FROM applications a JOIN webhooks w ON w.application = a.name"  # noqa: S608
        " WHERE w.hosts_id IS NOT NULL"
    )
    for name, definition in connection.execute(sa.text(query)):
        try:
            found = json.loads(bytes(definition))
            provider, repository = found["provider"], found["repository"]
            known = bytes(name).decode()
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
        if isinstance(provider, str) and isinstance(repository, str):
            yield known, provider, repository
