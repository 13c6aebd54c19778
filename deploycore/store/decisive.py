"""The few deployments that decide which releases stay and where a rollback goes.

An application that is deployed every minute has a long history. Each query here reads only what
its index leads to, however much there is of it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, ScalarSelect, select, union_all

from deploycore.store.tables import deployments

__all__ = ["decisive_events"]


def decisive_events(of: ColumnElement[bool]) -> CompoundSelect[Any]:
    """Query for the ids of the last healthy rollback to each release, of the last healthy
    deployment or rollback of each commit, and of the rollbacks from these commits since then.

    Args:
        of: Selects the deployments that made the releases.
    """
    last_of_release = select(_last_healthy("release", kind="rollback")).where(of)
    last_of_commit = select(_last_healthy("commit")).where(of)
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
    """The id of the last healthy event with the same value in a column."""
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
