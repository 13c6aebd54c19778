"""Add an application, and what the rows of new and changed applications have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from deploycore.applications.application import Application
from deploycore.store.application_records import application_of
from deploycore.store.database import Database
from deploycore.store.lookup import find_rows, refuse_taken
from deploycore.store.named import Statements
from deploycore.store.reading import checksums
from deploycore.store.records import ApplicationRecord
from deploycore.store.targets import (
    Places,
    lock_targets,
    places_of,
    refuse_common_targets,
    stored_targets,
)

__all__ = ["add_application", "first_values", "poll_values", "prepared", "refuse_unknown_providers"]


class _OnlyChecked(Exception):
    """Nothing is to be written."""


def add_application(
    database: Database, definition: Application, *, dry_run: bool
) -> ApplicationRecord:
    """Store a new application; see ``Store.add_application``."""
    wanted = places_of([definition])
    values = prepared(definition, wanted[definition.name])
    try:
        with database.writing_by_name() as statements:
            lock_targets(statements)
            refuse_taken(statements, "application", definition.name)
            refuse_common_targets(wanted, stored_targets(statements, wanted))
            refuse_unknown_providers(statements, [definition], locked=True)
            (row,) = statements.run("add application", **first_values(), **values).rows
            # A damaged database may have that of an earlier application.
            statements.run("remove poll", of=definition.name)
            if definition.is_polled:
                now = statements.present()
                polled = {"due_at": now, "set_at": now, "seconds": 0.0, **poll_values(definition)}
                statements.run("add poll", application=definition.name, **polled)
            added = application_of(row)
            if dry_run:
                raise _OnlyChecked
    except _OnlyChecked:
        pass
    return added


def prepared(definition: Application, places: Places) -> dict[str, Any]:
    """Return the values to write for an application.

    Args:
        places: The directories of its target.
    """
    values = {
        "name": definition.name,
        "provider": definition.provider,
        "target": definition.target,
        "resolved_target": places.resolved,
        "definition": definition.as_dict(),
        "host": definition.host,
    }
    return values | checksums("applications", values)


def first_values() -> dict[str, Any]:
    """Return the values that each new application has."""
    at = datetime.now(UTC)
    values: dict[str, Any] = {"created_at": at, "changed_at": at, "secrets": {}, "revision": 1}
    return values | checksums("applications", {"secrets": {}})


def poll_values(definition: Application) -> dict[str, Any]:
    """Return the values of an application's poll that depend on its definition."""
    asked = (definition.provider, definition.repository, definition.ref)
    question = hashlib.sha256("\0".join(asked).encode()).hexdigest()
    return {"host": definition.host, "question": question}


def refuse_unknown_providers(
    statements: Statements, definitions: Sequence[Application], *, locked: bool = False
) -> None:
    """Raise an error if an application's provider, or one in ``credentials``, does not exist.

    Args:
        locked: Whether to lock the providers in ``credentials``. No foreign key prevents their
            removal before the application is written.
    """
    more = {name for each in definitions for name in each.credentials}
    # Sorted, so that two transactions lock them in the same order.
    names = sorted({*more, *(each.provider for each in definitions)})
    find_rows(statements, "provider", names, locked=more if locked else ())
