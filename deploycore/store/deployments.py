"""Deployments in the store: requests, changes of state, and queries.

One statement changes a state, and names the states that it may follow. If two processes try at
once, one succeeds and the other gets an error.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    Connection,
    RowMapping,
    Select,
    case,
    delete,
    func,
    insert,
    select,
    true,
    update,
)

from deploycore.deployment_records import state_name
from deploycore.errors import ConfigurationError, DeploycoreError, StoreError
from deploycore.store.columns import Damaged
from deploycore.store.database import Database, chunks
from deploycore.store.decisive import decisive_events
from deploycore.store.lookup import named_row
from deploycore.store.reading import as_record, first_readable, read_record, read_records
from deploycore.store.records import DeploymentKind, DeploymentRecord, ReleaseHistory
from deploycore.store.removed import count_removed, find_removed, list_removed
from deploycore.store.states import FINAL_STATES, DeploymentState, may_precede
from deploycore.store.tables import applications, deployments

__all__ = ["Deployments"]

_FORGOTTEN_AT_ONCE = 100
_UNFINISHED = may_precede("failed")
_DEPLOYMENT = as_record(DeploymentRecord, deployments)


class Deployments:
    """The deployments of all applications; see ``Store``, which has them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def request(
        self,
        application: str,
        *,
        ref: str,
        requested_by: str = "",
        kind: DeploymentKind = "deploy",
        home: str = "",
    ) -> DeploymentRecord:
        """Record a request for a deployment. It supersedes the application's queued deployments.

        Args:
            ref: The branch, tag or commit to deploy; for a rollback, the release.
            requested_by: The person or program that asked for it; may be empty.
            home: The data directory of this process.

        Raises:
            ConfigurationError: The application does not exist.
        """
        at = datetime.now(UTC)
        values = {
            "application": application,
            "kind": kind,
            "state": "queued",
            "ref": ref,
            "requested_by": requested_by,
            "requested_at": at,
            "seconds": {},
            "cancel_requested": False,
            "unproved": False,
            "host": socket.gethostname(),
            "home": home,
        }
        with self._database.writing() as connection:
            # Locked, so that of two concurrent requests one is the newer one for both.
            named_row(connection, "application", applications, application, locked=True)
            asked = insert(deployments).values(values).returning(*deployments.c)
            record = _record(connection.execute(asked).mappings().one())
            waiting = (deployments.c.state == "queued") & (deployments.c.application == application)
            connection.execute(
                update(deployments)
                .where(waiting & (deployments.c.id < record.id))
                .values(
                    state="superseded",
                    finished_at=at,
                    error_code="superseded",
                    error=f"Deployment {record.id} was requested while this one was queued.",
                )
            )
            return record

    def advance(
        self,
        deployment: int,
        state: DeploymentState,
        *,
        error: DeploycoreError | None = None,
        **known: Any,
    ) -> DeploymentRecord:
        """Record that a deployment enters a state, before the state's work begins.

        Args:
            deployment: The deployment's id.
            error: What ended it; its code and message are stored.
            known: Other fields of the record that are known now.

        Raises:
            StoreError: The deployment is in a state that this one cannot follow.
        """
        now = datetime.now(UTC)
        values: dict[str, Any] = {**known, "state": state}
        if state in FINAL_STATES:
            values["finished_at"] = now
        else:
            # Set once, when it is no longer queued.
            values["started_at"] = case(
                (deployments.c.started_at.is_(None), now), else_=deployments.c.started_at
            )
        if error is not None:
            values |= {"error_code": error.code, "error": error.message}
        return self._update(deployment, may_precede(state), values)

    def note_error(self, deployment: int, error: DeploycoreError) -> DeploymentRecord:
        """Record why a release that is being activated will be taken back.

        Raises:
            StoreError: The deployment is not being activated.
        """
        values = {"error_code": error.code, "error": error.message}
        return self._update(deployment, ["activating"], values)

    def request_cancellation(self, deployment: int) -> DeploymentRecord:
        """Ask a deployment to stop: a queued one ends now, a running one soon, by its own process.

        Raises:
            ConfigurationError: The deployment does not exist, or it has already ended.
        """
        waits = deployments.c.state == "queued"
        values = {
            "cancel_requested": True,
            "state": case((waits, "cancelled"), else_=deployments.c.state),
            "finished_at": case((waits, datetime.now(UTC)), else_=deployments.c.finished_at),
            "error_code": case((waits, "cancelled"), else_=deployments.c.error_code),
            "error": case(
                (waits, "It was canceled while it was queued."), else_=deployments.c.error
            ),
        }
        with self._database.writing() as connection:
            row = _changed(connection, deployment, _UNFINISHED, values)
            if row is not None:
                return _record(row)
            found = _get(connection, deployment)
        raise ConfigurationError(
            f"Deployment {deployment} has already ended: it is {state_name(found.state)}.",
            hint=f"See the deployment: deploycore show {deployment}",
            deployment=deployment,
        )

    def get(self, deployment: int) -> DeploymentRecord:
        """Get the deployment of an id.

        Raises:
            ConfigurationError: The deployment does not exist.
        """
        with self._database.reading() as connection:
            return _get(connection, deployment)

    def find(self, ids: Sequence[int]) -> dict[int, DeploymentRecord]:
        """Find deployments by their ids. Those that do not exist or are damaged are left out."""
        found: dict[int, DeploymentRecord] = {}
        with self._database.reading() as connection:
            for some in chunks(ids):
                query = select(deployments).where(deployments.c.id.in_(some))
                found |= {each.id: each for each in _records(connection, query)}
        return found

    def list(
        self,
        application: str | None = None,
        *,
        kind: DeploymentKind | None = None,
        state: DeploymentState | None = None,
        before: int | None = None,
        limit: int | None = None,
    ) -> list[DeploymentRecord]:
        """List deployments, the newest first.

        Args:
            application: Only deployments of this application.
            kind: Only deployments of this kind.
            state: Only deployments in this state.
            before: Only deployments with a smaller id than this one.
            limit: Maximum number of deployments (default: all).

        Raises:
            ConfigurationError: The application does not exist.
        """
        query = select(deployments).order_by(deployments.c.id.desc()).limit(limit)
        if kind is not None:
            query = query.where(deployments.c.kind == kind)
        if state is not None:
            query = query.where(deployments.c.state == state)
        if before is not None:
            query = query.where(deployments.c.id < before)
        with self._database.reading() as connection:
            if application is not None:
                named_row(connection, "application", applications, application)
                query = query.where(deployments.c.application == application)
            return list(_records(connection, query))

    def history(
        self,
        application: str | None = None,
        *,
        state: DeploymentState | None = None,
        before: int | None = None,
        limit: int | None = None,
    ) -> Sequence[DeploymentRecord]:
        """List deployments, those of removed applications included, the newest first.

        Args:
            application: Only deployments of present or removed applications of this name.
            state, before, limit: As for ``list``.

        Raises:
            ConfigurationError: There is neither such an application nor a history of one.
        """
        with self._database.reading() as connection:
            removed = list_removed(connection, application, state=state, before=before, limit=limit)
            is_known = application is not None and count_removed(connection, application) > 0
        try:
            present = self.list(application, state=state, before=before, limit=limit)
        except ConfigurationError:
            if not is_known:
                raise
            present = []
        found = sorted(present + removed, key=lambda each: each.id, reverse=True)
        return found if limit is None else found[:limit]

    def count(self, application: str) -> tuple[int, int]:
        """Count an application's deployments, and those of removed applications of its name."""
        query = select(func.count()).where(deployments.c.application == application)
        with self._database.reading() as connection:
            return int(connection.scalar(query) or 0), count_removed(connection, application)

    def unfinished(self, application: str | None = None) -> Sequence[DeploymentRecord]:
        """List deployments that have not ended, the oldest first."""
        query = select(deployments).where(deployments.c.state.in_(_UNFINISHED))
        if application is not None:
            query = query.where(deployments.c.application == application)
        # Sorted here: to return them in order, a database may read the whole history.
        with self._database.reading() as connection:
            return sorted(_records(connection, query), key=lambda each: each.id)

    def of_releases(self, application: str, releases: Sequence[str]) -> dict[str, DeploymentRecord]:
        """Map the names of releases to the deployments that made them."""
        found: list[DeploymentRecord] = []
        if not releases:
            return {}
        with self._database.reading() as connection:
            for some in chunks(releases):
                query = select(deployments).where(
                    deployments.c.application == application,
                    deployments.c.kind == "deploy",
                    deployments.c.release.in_(some),
                )
                found += _records(connection, query)
        found.sort(key=lambda each: each.id)  # as above
        return {record.release: record for record in found if record.release}

    def release_history(self, application: str, releases: Sequence[str]) -> ReleaseHistory:
        """Get what decides which of these releases stay, and which one a rollback goes to."""
        made = self.of_releases(application, releases)
        return self._history(application, made, [each.id for each in made.values()])

    def commit_history(self, application: str, commit: str) -> ReleaseHistory:
        """Get the same for one commit; empty if the commit was never live."""
        newest = (
            select(deployments.c.id)
            .where(
                deployments.c.application == application,
                deployments.c.commit == commit,
                deployments.c.state == "healthy",
            )
            .order_by(deployments.c.id.desc())
            .limit(1)
        )
        with self._database.reading() as connection:
            found = connection.scalar(newest)
        return self._history(application, {}, [] if found is None else [found])

    def _history(
        self, application: str, made: Mapping[str, DeploymentRecord], ids: Sequence[int]
    ) -> ReleaseHistory:
        events = {each.id: each for each in made.values() if each.state == "healthy"}
        with self._database.reading() as connection:
            for some in chunks(ids):
                # Two statements: as one, PostgreSQL may read all deployments to join them.
                decisive = set(connection.scalars(decisive_events(deployments.c.id.in_(some))))
                query = select(deployments).where(deployments.c.id.in_(decisive - {None}))
                events |= {each.id: each for each in _records(connection, query)}
        named = {each.release for each in events.values()}
        named |= {each.previous for each in events.values()}
        unknown = sorted(name for name in named if name is not None and name not in made)
        found = {**self.of_releases(application, unknown), **made}
        return ReleaseHistory(found, [events[number] for number in sorted(events)])

    def count_by_state(self) -> dict[DeploymentState, int]:
        """Count the deployments in each state; states without deployments are left out."""
        query = select(deployments.c.state, func.count()).group_by(deployments.c.state)
        with self._database.reading() as connection:
            rows = connection.execute(query)
            return {row[0]: row[1] for row in rows if not isinstance(row[0], Damaged)}

    def is_cancelled(self, deployment: int) -> bool:
        """Whether a deployment was asked to stop."""
        query = select(deployments.c.cancel_requested).where(deployments.c.id == deployment)
        with self._database.reading() as connection:
            return connection.scalar(query) is True

    def forget(
        self, application: str, *, days: int, before: int, but: Sequence[str]
    ) -> Sequence[int]:
        """Delete deployments that ended long ago, at most a hundred at a time.

        Args:
            days: Minimum age in days.
            before: Only deployments with a smaller id, even if the clock is wrong.
            but: Names of releases whose deployments stay.

        Returns:
            The ids of the deleted deployments.
        """
        long_ago = datetime.now(UTC) - timedelta(days=days)
        # Only the oldest are read, so that the cost does not grow with the history.
        old = (
            select(deployments.c.id, deployments.c.finished_at)
            .where(deployments.c.application == application)
            .where(func.coalesce(deployments.c.release.not_in(but), true()))
            # A rollback's record stays as long as the release that it went back from.
            .where(
                (deployments.c.kind != "rollback")
                | func.coalesce(deployments.c.previous.not_in(but), true())
            )
            .order_by(deployments.c.id)
            .limit(_FORGOTTEN_AT_ONCE)
        )
        with self._database.reading() as connection:
            found = connection.execute(old).all()
        gone = [
            each.id
            for each in found
            if each.finished_at  # which is there, and can be read
            and each.finished_at < long_ago
            and each.id < before
        ]
        if gone:
            with self._database.writing() as connection:
                connection.execute(delete(deployments).where(deployments.c.id.in_(gone)))
        return gone

    def _update(
        self, deployment: int, before: Sequence[DeploymentState], values: dict[str, Any]
    ) -> DeploymentRecord:
        with self._database.writing() as connection:
            row = _changed(connection, deployment, before, values)
            if row is not None:
                return _record(row)
            query = select(deployments.c.state).where(deployments.c.id == deployment)
            found = first_readable(connection, query) or "removed"
        raise StoreError(
            f"Deployment {deployment} is {found}, and cannot become"
            f" {values.get('state', 'another')}.",
            hint="Another process may have ended it. See the list: deploycore deployments",
            deployment=deployment,
            state=found,
        )


def _changed(
    connection: Connection, deployment: int, before: Sequence[str], values: dict[str, Any]
) -> RowMapping | None:
    statement = (
        update(deployments)
        .where(deployments.c.id == deployment, deployments.c.state.in_(before))
        .values(values)
        .returning(*deployments.c)
    )
    return connection.execute(statement).mappings().one_or_none()


def _get(connection: Connection, deployment: int) -> DeploymentRecord:
    query = select(deployments).where(deployments.c.id == deployment)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        removed = find_removed(connection, deployment)
        if removed is not None:
            return removed
        raise ConfigurationError(
            f"There is no deployment {deployment}.",
            hint="List the deployments: deploycore deployments",
            deployment=deployment,
        )
    return _record(row)


def _record(row: RowMapping) -> DeploymentRecord:
    return read_record(deployments, row, _DEPLOYMENT)


def _records(connection: Connection, query: Select[Any]) -> Iterator[DeploymentRecord]:
    return read_records(connection, deployments, query, _DEPLOYMENT)
