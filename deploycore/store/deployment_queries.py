"""Queries and changes of deployments that only SQLAlchemy can build; see ``Deployments``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, case, func, select, update

from deploycore.store.definitions import history
from deploycore.store.lookup import named_row
from deploycore.store.reading import as_record, read_records
from deploycore.store.records import DeploymentKind, DeploymentRecord
from deploycore.store.removed import count_removed, list_removed
from deploycore.store.states import DeploymentState, may_precede
from deploycore.store.tables import deployments
from deploycore.store.values import Damaged

__all__ = [
    "cancelled",
    "count",
    "count_by_state",
    "listed",
    "removed_ones",
]

_DEPLOYMENT = as_record(DeploymentRecord, deployments)


def cancelled(connection: Connection, deployment: int) -> Mapping[Any, Any] | None:
    """Ask a deployment to stop; see ``Deployments.request_cancellation``.

    Returns:
        Its row; ``None`` if the deployment does not exist or has ended.
    """
    c = deployments.c
    waits = c.state == "queued"
    values = {
        "cancel_requested": True,
        "state": case((waits, "cancelled"), else_=c.state),
        "finished_at": case((waits, datetime.now(UTC)), else_=c.finished_at),
        "error_code": case((waits, "cancelled"), else_=c.error_code),
        "error": case((waits, "It was canceled while it was queued."), else_=c.error),
    }
    statement = (
        update(deployments)
        .where(c.id == deployment, c.state.in_(may_precede("failed")))
        .values(values)
        .returning(*c)
    )
    return connection.execute(statement).mappings().one_or_none()


def listed(
    connection: Connection,
    application: str | None,
    *,
    kind: DeploymentKind | None,
    state: DeploymentState | None,
    before: int | None,
    limit: int | None,
) -> list[DeploymentRecord]:
    """List deployments, the newest first; see ``Deployments.list``."""
    query = history(deployments, limit=limit)
    if kind is not None:
        query = query.where(deployments.c.kind == kind)
    if state is not None:
        query = query.where(deployments.c.state == state)
    if before is not None:
        query = query.where(deployments.c.id < before)
    if application is not None:
        named_row(connection, "application", application)
        query = query.where(deployments.c.application == application)
    return list(read_records(connection, deployments, query, _DEPLOYMENT))


def removed_ones(
    connection: Connection,
    application: str | None,
    *,
    state: DeploymentState | None,
    before: int | None,
    limit: int | None,
) -> tuple[list[DeploymentRecord], bool]:
    """List deployments of removed applications, the newest first; see ``Deployments.history``.

    Returns:
        The deployments, and whether there is a history of a removed application of this name.
    """
    found = list_removed(connection, application, state=state, before=before, limit=limit)
    return found, application is not None and count_removed(connection, application) > 0


def count(connection: Connection, application: str) -> tuple[int, int]:
    """Count deployments; see ``Deployments.count``."""
    query = select(func.count()).where(deployments.c.application == application)
    return int(connection.scalar(query) or 0), count_removed(connection, application)


def count_by_state(connection: Connection) -> dict[DeploymentState, int]:
    """Count the deployments in each state; see ``Deployments.count_by_state``."""
    rows = connection.execute(
        select(deployments.c.state, func.count()).group_by(deployments.c.state)
    )
    return {row[0]: row[1] for row in rows if not isinstance(row[0], Damaged)}
