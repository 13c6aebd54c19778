"""Change the name of an application's repository everywhere."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, select, update

from deploycore.applications.application import Application
from deploycore.store.application_records import readable_application
from deploycore.store.deploy_keys import rename_keys
from deploycore.store.lookup import named_row
from deploycore.store.named import StatementsOfEngine
from deploycore.store.polls import schedule
from deploycore.store.reading import checksums
from deploycore.store.records import RepositoryRecord
from deploycore.store.repositories import find_repository, put
from deploycore.store.tables import applications, closed_pull_requests, webhooks

__all__ = ["rename"]

_FORMER_NAMES_MOST = 10


def rename(connection: Connection, definition: Application, name: str, host_id: str) -> bool:
    """Change an application's repository to a new name; see ``Repositories.rename``."""
    statements = StatementsOfEngine(connection)
    row = named_row(connection, "application", definition.name, locked=True)
    stored = dict(row["definition"] or {})
    now = (stored.get("provider"), stored.get("repository"))
    if now != (definition.provider, definition.repository):
        return False
    known = find_repository(statements, definition)
    names = (definition.repository, *(known.former_names if known else ()))
    at = datetime.now(UTC)
    values: dict[str, Any] = {"definition": stored | {"repository": name}}
    values |= checksums(applications, {**row, **values})
    connection.execute(
        update(applications)
        .where(applications.c.name == definition.name)
        .values(changed_at=at, **values)
    )
    # The repository is a part of the request for a poll.
    schedule(connection, [readable_application({**row, **values}).definition])
    _rename_closed(connection, definition, name)
    _rename_webhook(connection, definition, name)
    noted = {
        "repository": name,
        "host_id": host_id,
        "former_names": [each for each in names if each != name][:_FORMER_NAMES_MOST],
        "renamed_at": at,
    }
    put(statements, RepositoryRecord(definition.name, definition.provider, name), noted)
    return True


def _rename_closed(connection: Connection, definition: Application, name: str) -> None:
    """Change the repository's name in the records of closed pull requests."""
    table = closed_pull_requests.c
    is_ours = (table.parent == definition.name) & (table.provider == definition.provider)
    known = select(table.number).where(is_ours, table.repository == name)
    numbers = connection.scalars(known).all()
    moved = is_ours & (table.repository == definition.repository) & table.number.not_in(numbers)
    connection.execute(update(closed_pull_requests).where(moved).values(repository=name))


def _rename_webhook(connection: Connection, definition: Application, name: str) -> None:
    """Change the repository's name in the record of its webhook."""
    is_its = (
        (webhooks.c.application == definition.name)
        & (webhooks.c.provider == definition.provider)
        & (webhooks.c.repository == definition.repository)
    )
    connection.execute(update(webhooks).where(is_its).values(repository=name))
    rename_keys(connection, definition, name)
