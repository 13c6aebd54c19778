"""Find the few deployments that decide which releases are kept and where a rollback goes.

An application that is deployed every minute has a long history. The queries here use an index, so
they do not read the whole history.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, ScalarSelect, select, union_all

from deploycore.store.tables import deployments

__all__ = ["decisive_events"]


def decisive_events(of: ColumnElement[bool]) -> CompoundSelect[Any]:
    """Return a query for the ids of the decisive events.

    These are the last healthy rollback to each release, the last healthy deployment or rollback of
    each commit, and later rollbacks from these commits.

    Args:
        of: Selects the deployments that created the releases.
    """
    last_of_release = select(_last_healthy("release", kind="rollback").label("id")).where(of)
    last_of_commit = select(_last_healthy("commit").label("id")).where(of)
    left = deployments.alias("left_commit")
    withdrawals = (
        select(left.c.id)
        .join(
            deployments,
            (left.c.application == deployments.c.application)
            & (left.c.previous_commit == deployments.c.commit),
        )
        .where(
            of,
            left.c.kind == "rollback",
            left.c.state == "healthy",
            left.c.id > _last_healthy("commit"),
        )
    )
    return union_all(last_of_release, last_of_commit, withdrawals)


def _last_healthy(column: str, **also: str) -> ScalarSelect[Any]:
    """Return the id of the last healthy event with the same value in a column."""
    last = deployments.alias("last")
    return (
        select(last.c.id)
        .where(
            last.c.application == deployments.c.application,
            last.c[column] == deployments.c[column],
            last.c.state == "healthy",
            *(last.c[name] == value for name, value in also.items()),
        )
        .order_by(last.c.id.desc())
        .limit(1)
        .correlate(deployments)
        .scalar_subquery()
    )
