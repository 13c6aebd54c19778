"""The history of removed applications.

Their deployments are moved to a separate table and keep their numbers. A new application with the
same name starts with an empty history, but people can still find the previous one.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, literal, select

from deploycore.store.definitions import history
from deploycore.store.reading import as_record, read_records
from deploycore.store.records import DeploymentRecord
from deploycore.store.states import DeploymentState
from deploycore.store.tables import deployments, removed_deployments

__all__ = [
    "count_removed",
    "forget_removed",
    "list_removed",
    "move_to_removed",
]

_DEPLOYMENT = as_record(DeploymentRecord, removed_deployments)


def move_to_removed(connection: Connection, application: str, at: datetime) -> None:
    """Move all deployments of an application that is being removed.

    Args:
        at: The time of the removal.
    """
    names = [each.name for each in deployments.c]
    moved = select(*deployments.c, literal(at, removed_deployments.c.removed_at.type)).where(
        deployments.c.application == application
    )
    connection.execute(insert(removed_deployments).from_select([*names, "removed_at"], moved))


def forget_removed(connection: Connection, application: str) -> int:
    """Delete the history of all removed applications with a name; return the number of
    deployments."""
    is_its = removed_deployments.c.application == application
    return connection.execute(delete(removed_deployments).where(is_its)).rowcount


def count_removed(connection: Connection, application: str) -> int:
    """Return the number of deployments of removed applications with a name."""
    query = select(func.count()).where(removed_deployments.c.application == application)
    return int(connection.scalar(query) or 0)


def list_removed(
    connection: Connection,
    application: str | None,
    *,
    state: DeploymentState | None,
    before: int | None,
    limit: int | None,
) -> list[DeploymentRecord]:
    """List deployments of removed applications, the newest first; see ``Deployments.history``."""
    table = removed_deployments.c
    query = history(removed_deployments, limit=limit)
    if application is not None:
        query = query.where(table.application == application)
    if state is not None:
        query = query.where(table.state == state)
    if before is not None:
        query = query.where(table.id < before)
    return list(read_records(connection, removed_deployments, query, _DEPLOYMENT))
