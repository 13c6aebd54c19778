"""The repository of each application, by the git host's own identifier.

A name can change, and another repository can get it later. The identifier never changes. A record
is valid only for the provider and the names for which it was learned.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from deploycore.applications.application import Application
from deploycore.store.applications import readable_application
from deploycore.store.database import Database
from deploycore.store.deploy_keys import rename_keys
from deploycore.store.lookup import named_row
from deploycore.store.polls import schedule
from deploycore.store.reading import checksums, read_records
from deploycore.store.records import RepositoryRecord
from deploycore.store.tables import applications, closed_pull_requests, repositories, webhooks

__all__ = ["Repositories", "find_repository", "record_of"]

_FORMER_NAMES_MOST = 10


class Repositories:
    """The repositories of all applications. ``Store`` has an instance."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, definition: Application) -> RepositoryRecord | None:
        """Return the record of the repository that an application deploys now; ``None`` if there is
        none."""
        with self._database.reading() as connection:
            return find_repository(connection, definition)

    def list(self) -> list[RepositoryRecord]:
        """Return all records, by application."""
        query = select(repositories).order_by(repositories.c.application)
        with self._database.reading() as connection:
            return list(read_records(connection, repositories, query, record_of))

    def learn(self, definition: Application, host_id: str) -> None:
        """Record the host's identifier of an application's repository, which was found by its name.

        This clears the notes about deliveries and about other repositories with this name.

        Raises:
            ConfigurationError: The application does not exist.
        """
        values = {
            "host_id": host_id,
            "told_name": None,
            "other_host_id": None,
            "ignored_name": None,
            "ignored_at": None,
        }
        self._change(definition, values)

    def note_told_name(self, definition: Application, name: str) -> None:
        """Record the name that a signed delivery has for the repository with the known
        identifier."""
        self._change(definition, {"told_name": name})

    def note_other(self, definition: Application, host_id: str) -> None:
        """Record that another repository has the name of an application's repository."""
        self._change(definition, {"other_host_id": host_id})

    def note_ignored(self, definition: Application, name: str) -> None:
        """Record that a delivery was ignored that may be about the renamed repository."""
        self._change(definition, {"ignored_name": name, "ignored_at": datetime.now(UTC)})

    def rename(self, definition: Application, name: str, host_id: str) -> bool:
        """Change an application's repository to the name that the host has for it now.

        The revision stays the same, because the same code is deployed.

        Args:
            definition: The definition with the previous name.
            name: The new name as ``owner/slug``. The host has confirmed it.

        Returns:
            Whether the name was changed; ``False`` if the application was changed in the meantime.

        Raises:
            ConfigurationError: The application does not exist.
            StoreError: The form of its record is unknown.
        """
        with self._database.writing() as connection:
            row = named_row(connection, "application", applications, definition.name, locked=True)
            stored = dict(row["definition"] or {})
            now = (stored.get("provider"), stored.get("repository"))
            if now != (definition.provider, definition.repository):
                return False
            known = find_repository(connection, definition)
            names = (definition.repository, *(known.former_names if known else ()))
            at = datetime.now(UTC)
            values: dict[str, Any] = {"definition": stored | {"repository": name}}
            values |= checksums(applications, {**row, **values})
            connection.execute(
                update(applications)
                .where(applications.c.name == definition.name)
                .values(changed_at=at, **values)
            )
            # The repository is a part of what is asked.
            schedule(connection, [readable_application({**row, **values}).definition])
            _rename_closed(connection, definition, name)
            _rename_webhook(connection, definition, name)
            noted = {
                "repository": name,
                "host_id": host_id,
                "former_names": [each for each in names if each != name][:_FORMER_NAMES_MOST],
                "renamed_at": at,
            }
            _put(connection, RepositoryRecord(definition.name, definition.provider, name), noted)
            return True

    def forget(self, application: str) -> None:
        """Delete an application's repository record. The next deployment uses the repository with
        its name.

        Raises:
            ConfigurationError: The application does not exist.
        """
        with self._database.writing() as connection:
            named_row(connection, "application", applications, application)
            connection.execute(
                delete(repositories).where(repositories.c.application == application)
            )

    def _change(self, definition: Application, values: Mapping[str, object]) -> None:
        with self._database.writing() as connection:
            named_row(connection, "application", applications, definition.name, locked=True)
            known = find_repository(connection, definition)
            name = definition.repository
            record = known or RepositoryRecord(definition.name, definition.provider, name)
            names = [each for each in (record.repository, *record.former_names) if each != name]
            _put(connection, record, {"repository": name, "former_names": names, **values})


def record_of(row: Mapping[Any, Any]) -> RepositoryRecord:
    """Return the record of a row."""
    return RepositoryRecord(**{**row, "former_names": tuple(row["former_names"])})


def find_repository(connection: Connection, definition: Application) -> RepositoryRecord | None:
    """Return the record of the repository that an application deploys now."""
    query = select(repositories).where(repositories.c.application == definition.name)
    # A record that is damaged is as good as none: the host tells the identifier again.
    found = next(read_records(connection, repositories, query, record_of), None)
    return found if found is not None and found.is_of(definition) else None


def _put(connection: Connection, record: RepositoryRecord, values: Mapping[str, object]) -> None:
    """Replace the row of an application, which is locked."""
    row = {**vars(record), "former_names": [*record.former_names], **values}
    connection.execute(delete(repositories).where(repositories.c.application == record.application))
    connection.execute(insert(repositories).values(row))


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
