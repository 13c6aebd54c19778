"""Rows of applications, written several at a time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from deploycore.applications.application import Application
from deploycore.errors import ConfigurationError
from deploycore.store.application_records import application_of
from deploycore.store.database import chunks
from deploycore.store.named import StatementsOfEngine
from deploycore.store.new_applications import first_values, prepared, refuse_unknown_providers
from deploycore.store.polls import schedule
from deploycore.store.reading import damage_in
from deploycore.store.records import ApplicationRecord
from deploycore.store.states import may_precede
from deploycore.store.tables import applications, deployments
from deploycore.store.targets import Places

__all__ = [
    "NOWHERE",
    "drop_deployments",
    "make_way",
    "put",
    "put_all",
    "refuse_unfinished",
]

NOWHERE = Path("/nowhere")
"""A path that is no application's target."""

_WRITTEN = (
    "provider",
    "target",
    "resolved_target",
    "definition",
    "definition_checksum",
    "host",
    "changed_at",
)


def put(connection: Connection, definition: Application, places: Places) -> ApplicationRecord:
    """Write one application, new or changed.

    Raises:
        ConfigurationError: Its provider does not exist.
    """
    refuse_unknown_providers(StatementsOfEngine(connection), [definition], locked=True)
    is_this = applications.c.name == definition.name
    known = connection.scalars(select(applications.c.name).where(is_this)).all()
    put_all(connection, [prepared(definition, places)], known)
    schedule(connection, [definition])
    row = connection.execute(select(applications).where(is_this)).mappings().one()
    return application_of(row)


def put_all(
    connection: Connection, values: Sequence[Mapping[str, Any]], known: Collection[str]
) -> None:
    """Write applications.

    Args:
        values: The results of ``prepared`` for new and changed applications.
        known: The names of the applications that exist.
    """
    at = datetime.now(UTC)
    changed = [
        {"named": each["name"], **each, "changed_at": at}
        for each in values
        if each["name"] in known
    ]
    first = first_values()
    new = [{**first, **each} for each in values if each["name"] not in known]
    if changed:
        is_this = applications.c.name == bindparam("named")
        columns: dict[str, Any] = {name: bindparam(name) for name in _WRITTEN}
        columns["revision"] = applications.c.revision + 1
        connection.execute(update(applications).where(is_this).values(columns), changed)
    if new:
        connection.execute(insert(applications), new)


def refuse_other_revisions(connection: Connection, wanted: Mapping[str, int]) -> None:
    """Refuse to overwrite a change that was made meanwhile. The rows are locked until the
    transaction ends.

    Args:
        wanted: The revision of each application; 0 if it must not exist.

    Raises:
        ConfigurationError: One has another revision.
    """
    for name, revision in wanted.items():
        is_this = applications.c.name == name
        query = select(applications.c.revision).where(is_this).with_for_update()
        if (connection.scalar(query) or 0) != revision:
            raise ConfigurationError(
                f"The application {name!r} was changed meanwhile.",
                hint="Load it again, and make the change once more.",
                application=name,
            )


def make_way(connection: Connection, names: Sequence[str]) -> None:
    """Clear the targets of applications that will get other targets.

    Raises:
        ConfigurationError: One of them is being deployed.
    """
    for some in chunks(names):
        unfinished = select(deployments.c.application).where(
            deployments.c.application.in_(some), deployments.c.state.in_(may_precede("failed"))
        )
        found = connection.scalar(unfinished.limit(1))
        if found is not None:
            refuse_unfinished(connection, found, "cannot get another target")
    if names:
        away = [{"named": name, "away": NOWHERE / name} for name in names]
        is_this = applications.c.name == bindparam("named")
        moved = update(applications).where(is_this)
        connection.execute(moved.values(target=bindparam("away"), resolved_target=None), away)


def refuse_unfinished(
    connection: Connection, name: str, what: str, *, allow_damaged: bool = False
) -> list[int]:
    """Raise an error if an application has a deployment that has not ended.

    Args:
        what: The operation, for the middle of the error's sentence.
        allow_damaged: Whether to ignore damaged records.

    Returns:
        The deployments whose damaged records were ignored.

    Raises:
        ConfigurationError: A deployment has not ended, as far as its record can be read.
    """
    readable, damaged = _unfinished(connection, name)
    if readable:
        found = readable[0]
        raise ConfigurationError(
            f"The application {name!r} {what}: deployment {found} has not ended.",
            hint=f"Wait for it, or: deploycore cancel {found}. If its process has died:"
            " deploycore recover",
            application=name,
            deployment=found,
        )
    if damaged and not allow_damaged:
        found = damaged[0]
        raise ConfigurationError(
            f"The application {name!r} {what}: deployment {found} has not ended, and its record is"
            " damaged.",
            hint="Restore a backup of the database. Or make sure that no process deploys the"
            f" application, and remove it: deploycore app remove {name} --force (over REST:"
            f" DELETE /api/v1/applications/{name}?force=true)",
            application=name,
            deployment=found,
        )
    return damaged


def drop_deployments(connection: Connection, ids: Sequence[int]) -> None:
    """Delete records of deployments."""
    for some in chunks(ids):
        connection.execute(delete(deployments).where(deployments.c.id.in_(some)))


def _unfinished(connection: Connection, name: str) -> tuple[list[int], list[int]]:
    """Return the deployments that have not ended: those that can be read, and damaged ones."""
    found: tuple[list[int], list[int]] = ([], [])
    query = select(deployments).where(
        deployments.c.application == name, deployments.c.state.in_(may_precede("failed"))
    )
    for row in connection.execute(query).mappings():
        found[damage_in(deployments, row) is not None].append(row["id"])
    return sorted(found[0]), sorted(found[1])
