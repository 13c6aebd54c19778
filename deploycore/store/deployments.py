"""Deployments in the store: requests, changes of state, and queries.

One statement changes a state, and names the states that it may follow. If two processes try at
once, one succeeds and the other gets an error.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from deploycore.deployment_records import state_name
from deploycore.errors import ConfigurationError, DeploycoreError, StoreError
from deploycore.store.database import Database, chunks
from deploycore.store.lookup import find_row
from deploycore.store.named import Row, Statements, StatementsOfEngine
from deploycore.store.reading import as_record, read_record, readable_records
from deploycore.store.records import DeploymentKind, DeploymentRecord, ReleaseHistory
from deploycore.store.states import FINAL_STATES, DeploymentState, may_precede
from deploycore.store.values import Damaged

__all__ = ["Deployments"]

_DEPLOYMENT = as_record(DeploymentRecord, "deployments")
_REMOVED = as_record(DeploymentRecord, "removed_deployments")


class Deployments:
    """The deployments of all applications. ``Store`` has an instance."""

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
        with self._database.writing_by_name() as statements:
            # The row is locked, so that two concurrent requests agree on which of them is the newer
            # one.
            find_row(statements, "application", application, locked=True)
            (row,) = statements.run("add deployment", **values).rows
            record = _record(row)
            statements.run(
                "supersede deployments",
                of=application,
                number=record.id,
                at=at,
                reason=f"Deployment {record.id} was requested while this one was queued.",
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
            values["started_at"] = now  # set once, when it is no longer queued
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
        from deploycore.store.deployment_queries import cancelled

        with self._database.writing() as connection:
            row = cancelled(connection, deployment)
            if row is not None:
                return _record(row)
            found = _get(StatementsOfEngine(connection), deployment)
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
        with self._database.reading_by_name() as statements:
            return _get(statements, deployment)

    def find(self, ids: Sequence[int]) -> dict[int, DeploymentRecord]:
        """Find deployments by their ids. Those that do not exist or are damaged are left out."""
        found: dict[int, DeploymentRecord] = {}
        with self._database.reading_by_name() as statements:
            for some in chunks(ids):
                rows = statements.run("deployments by number", numbers=some).rows
                found |= {each.id: each for each in _records(rows)}
        return found

    def _newest(self, application: str | None, limit: int) -> list[DeploymentRecord]:
        with self._database.reading_by_name() as statements:
            if application is None:
                return list(_records(statements.run("deployments", limit=limit).rows))
            find_row(statements, "application", application)
            found = statements.run("deployments of one", of=application, limit=limit)
            return list(_records(found.rows))

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
        if limit is not None and (kind, state, before) == (None, None, None):
            return self._newest(application, limit)
        from deploycore.store.deployment_queries import listed

        with self._database.reading() as connection:
            return listed(
                connection, application, kind=kind, state=state, before=before, limit=limit
            )

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
        from deploycore.store.deployment_queries import removed_ones

        with self._database.reading() as connection:
            removed, is_known = removed_ones(
                connection, application, state=state, before=before, limit=limit
            )
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
        from deploycore.store.deployment_queries import count

        with self._database.reading() as connection:
            return count(connection, application)

    def unfinished(self, application: str | None = None) -> Sequence[DeploymentRecord]:
        """List deployments that have not ended, the oldest first."""
        with self._database.reading_by_name() as statements:
            if application is None:
                found = statements.run("unfinished deployments")
            else:
                found = statements.run("unfinished deployments of one", of=application)
            # Sorted here, because a database may read the whole history to return them in order.
            return sorted(_records(found.rows), key=lambda each: each.id)

    def of_releases(self, application: str, releases: Sequence[str]) -> dict[str, DeploymentRecord]:
        """Map the names of releases to the deployments that made them."""
        found: list[DeploymentRecord] = []
        if not releases:
            return {}
        with self._database.reading_by_name() as statements:
            for some in chunks(releases):
                made = statements.run("deployments of releases", of=application, releases=some)
                found += _records(made.rows)
        found.sort(key=lambda each: each.id)  # for the same reason as above
        return {record.release: record for record in found if record.release}

    def release_history(self, application: str, releases: Sequence[str]) -> ReleaseHistory:
        """Get what decides which of these releases stay, and which one a rollback goes to."""
        made = self.of_releases(application, releases)
        return self._history(application, made, [each.id for each in made.values()])

    def commit_history(self, application: str, commit: str) -> ReleaseHistory:
        """Get the same for one commit; empty if the commit was never live."""
        with self._database.reading_by_name() as statements:
            found = statements.run("live deployment of commit", of=application, hash=commit).value
        return self._history(application, {}, [] if found is None else [found])

    def _history(
        self, application: str, made: Mapping[str, DeploymentRecord], ids: Sequence[int]
    ) -> ReleaseHistory:
        events = {each.id: each for each in made.values() if each.state == "healthy"}
        with self._database.reading_by_name() as statements:
            for some in chunks(ids):
                # Two statements, because PostgreSQL may read all deployments to join them in one.
                decisive = {*statements.run("decisive events", numbers=some).values} - {None}
                rows = statements.run("deployments by number", numbers=[*decisive]).rows
                events |= {each.id: each for each in _records(rows)}
        named = {each.release for each in events.values()}
        named |= {each.previous for each in events.values()}
        unknown = sorted(name for name in named if name is not None and name not in made)
        found = {**self.of_releases(application, unknown), **made}
        return ReleaseHistory(found, [events[number] for number in sorted(events)])

    def count_by_state(self) -> dict[DeploymentState, int]:
        """Count the deployments in each state; states without deployments are left out."""
        from deploycore.store.deployment_queries import count_by_state

        with self._database.reading() as connection:
            return count_by_state(connection)

    def is_cancelled(self, deployment: int) -> bool:
        """Whether a deployment was asked to stop."""
        with self._database.reading_by_name() as statements:
            return statements.run("cancellation of deployment", number=deployment).value is True

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
        with self._database.reading_by_name() as statements:
            found = statements.run("old deployments", of=application, kept=but).rows
        gone = [
            each["id"]
            for each in found
            if each["finished_at"]  # the row exists, and can be read
            and each["finished_at"] < long_ago
            and each["id"] < before
        ]
        if gone:
            with self._database.writing_by_name() as statements:
                statements.run("remove deployments", numbers=gone)
        return gone

    def _update(
        self, deployment: int, before: Sequence[DeploymentState], values: dict[str, Any]
    ) -> DeploymentRecord:
        with self._database.writing_by_name() as statements:
            row = statements.change(
                "change deployment", values, number=deployment, states=before
            ).row
            if row is not None:
                return _record(row)
            state = statements.run("state of deployment", number=deployment).value
        found = "removed" if state is None or isinstance(state, Damaged) else state
        raise StoreError(
            f"Deployment {deployment} is {found}, and cannot become"
            f" {values.get('state', 'another')}.",
            hint="Another process may have ended it. See the list: deploycore deployments",
            deployment=deployment,
            state=found,
        )


def _get(statements: Statements, deployment: int) -> DeploymentRecord:
    row = statements.run("deployment", number=deployment).row
    if row is not None:
        return _record(row)
    removed = statements.run("removed deployment", number=deployment).row
    if removed is not None:
        return read_record("removed_deployments", removed, _REMOVED)
    raise ConfigurationError(
        f"There is no deployment {deployment}.",
        hint="List the deployments: deploycore deployments",
        deployment=deployment,
    )


def _record(row: Row) -> DeploymentRecord:
    return read_record("deployments", row, _DEPLOYMENT)


def _records(rows: Iterable[Row]) -> Iterator[DeploymentRecord]:
    return readable_records("deployments", rows, _DEPLOYMENT)
