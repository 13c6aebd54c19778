"""The record of a deployment, and its states.

Plugins and observers import these names from ``deploycore.events``. They have a module of their own
because commands that only list deployments do not need pydantic, which takes long to import.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from deploycore.records import record

__all__ = [
    "FINAL_STATES",
    "DeploymentCause",
    "DeploymentKind",
    "DeploymentRecord",
    "DeploymentState",
    "state_name",
]

DeploymentCause = Literal["", "push", "poll", "api", "cli", "rollback", "preview"]
"""Why a deployment was requested: by a webhook (``push``), by polling, over the REST API, on the
command line, for a pull request, or as a rollback. It is empty if a Python program gives no cause,
and for a deployment that is recovered after a crash."""

DeploymentKind = Literal["deploy", "rollback"]
"""Whether a deployment deploys a commit or rolls back to a release."""

DeploymentState = Literal[
    "queued",
    "authenticating",
    "resolving",
    "fetching",
    "building",
    "activating",
    "healthy",
    "failed",
    "cancelled",
    "rolled_back",
    "superseded",
    "skipped",
]
"""The state of a deployment. ``rolled_back``: the release was live and did not work, and the
previous release is live again. ``superseded``: while the deployment waited, a newer one was
requested. ``skipped``: there was nothing to deploy."""

FINAL_STATES: frozenset[DeploymentState] = frozenset(
    {"healthy", "failed", "cancelled", "rolled_back", "superseded", "skipped"}
)
"""The states in which a deployment has ended."""

_NAMES = {"cancelled": "canceled"}


def state_name(state: str) -> str:
    """Return the name of a state for people. Stored values and JSON have the state itself."""
    return _NAMES.get(state, state)


@record
class DeploymentRecord:
    """One deployment of an application, or one rollback.

    Attributes:
        id: The number of the deployment. Numbers grow, and are never used again.
        ref: The requested branch, tag or commit.
        commit: The full hash of the commit; ``None`` until it is known.
        release: The name of the release directory; ``None`` until it is known.
        previous: The release that was live before the switch; ``None`` if there was none.
        requested_by: The person or program that requested the deployment; may be empty.
        requested_at: When it was requested. All times are in UTC, with a time zone.
        started_at: When it started; ``None`` while it waits.
        finished_at: When it ended; ``None`` until then.
        error_code: The ``code`` of the error that ended the deployment.
        error: The message of that error.
        author: The author of the commit.
        subject: The first line of the commit's message.
        committed_at: When the commit was created.
        files: The number of files in the commit.
        bytes: The size of these files together.
        seconds: The duration of each phase, by the name of the phase.
        cancel_requested: Whether somebody requested that the deployment stops.
        revision: The revision of the application's definition that was deployed.
        unproved: Whether steps or a health check were still to run after the switch.
        host: The name of the machine that runs the deployment; empty if it is unknown.
        home: The data directory of the process that runs the deployment.
        previous_commit: The commit of ``previous``, if it is known.
        removed_at: When the application was removed; ``None`` if it was not.
        provider: The name of the configured provider. This field and the following ones are set
            in the records that observers receive; other records have the defaults.
        provider_kind: The kind of that provider.
        repository: The repository's full name, such as ``acme/shop``.
        commit_url: The address of the commit's page; ``None`` if the commit or the address is not
            known. Other records have it too.
        cause: Why the deployment was requested. If it settles several triggers, it is the cause
            of the newest one.
        pull_request: The number of the pull request that a preview is for.
        log: The path of its log on the machine that runs it: a file of JSON lines.
    """

    id: int
    application: str
    kind: DeploymentKind
    state: DeploymentState
    ref: str
    commit: str | None
    release: str | None
    previous: str | None
    requested_by: str
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error_code: str | None
    error: str | None
    author: str | None
    subject: str | None
    committed_at: datetime | None
    files: int | None
    bytes: int | None
    seconds: Mapping[str, float]
    cancel_requested: bool
    revision: int | None
    unproved: bool
    host: str
    home: str
    previous_commit: str | None = None
    removed_at: datetime | None = None
    provider: str = ""
    provider_kind: str = ""
    repository: str = ""
    commit_url: str | None = None
    cause: DeploymentCause = ""
    pull_request: int | None = None
    log: str = ""

    @property
    def is_finished(self) -> bool:
        """Whether the deployment has ended."""
        return self.state in FINAL_STATES
