"""The repository of each application, by the git host's own identifier.

A name can change, and another repository can get it later. The identifier never changes. A record
is valid only for the provider and the names for which it was learned.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from deploycore.applications.application import Application
from deploycore.store.database import Database
from deploycore.store.lookup import find_row
from deploycore.store.named import Statements
from deploycore.store.reading import readable_records
from deploycore.store.records import RepositoryRecord

__all__ = ["Repositories", "find_repository", "put", "record_of"]


class Repositories:
    """The repositories of all applications. ``Store`` has an instance."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, definition: Application) -> RepositoryRecord | None:
        """Return the record of the repository that an application deploys now; ``None`` if there is
        none."""
        with self._database.reading_by_name() as statements:
            return find_repository(statements, definition)

    def list(self) -> list[RepositoryRecord]:
        """Return all records, by application."""
        with self._database.reading_by_name() as statements:
            rows = statements.run("repositories").rows
            return list(readable_records("repositories", rows, record_of))

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
        from deploycore.store.repository_renaming import rename

        with self._database.writing() as connection:
            return rename(connection, definition, name, host_id)

    def forget(self, application: str) -> None:
        """Delete an application's repository record. The next deployment uses the repository with
        its name.

        Raises:
            ConfigurationError: The application does not exist.
        """
        with self._database.writing_by_name() as statements:
            find_row(statements, "application", application)
            statements.run("remove repository", of=application)

    def _change(self, definition: Application, values: Mapping[str, object]) -> None:
        with self._database.writing_by_name() as statements:
            find_row(statements, "application", definition.name, locked=True)
            known = find_repository(statements, definition)
            name = definition.repository
            record = known or RepositoryRecord(definition.name, definition.provider, name)
            names = [each for each in (record.repository, *record.former_names) if each != name]
            put(statements, record, {"repository": name, "former_names": names, **values})


def record_of(row: Mapping[Any, Any]) -> RepositoryRecord:
    """Return the record of a row."""
    return RepositoryRecord(**{**row, "former_names": tuple(row["former_names"])})


def find_repository(statements: Statements, definition: Application) -> RepositoryRecord | None:
    """Return the record of the repository that an application deploys now."""
    rows = statements.run("repository", of=definition.name).rows
    # A damaged record is treated as missing, because the host sends the identifier again.
    found = next(readable_records("repositories", rows, record_of), None)
    return found if found is not None and found.is_of(definition) else None


def put(statements: Statements, record: RepositoryRecord, values: Mapping[str, object]) -> None:
    """Replace the row of an application, which is locked."""
    row = {**vars(record), "former_names": [*record.former_names], **values}
    statements.run("remove repository", of=record.application)
    statements.run("add repository", **row)
