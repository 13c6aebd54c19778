"""What is known of a deployment, and the states that it may be in.

Plugins and observers import these names from ``deploycore.events``. They are apart from the events
because commands that only list deployments need no pydantic, which takes long to import.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

__all__ = [
    "FINAL_STATES",
    "DeploymentCause",
    "DeploymentKind",
    "DeploymentRecord",
    "DeploymentState",
]

DeploymentCause = Literal["", "push", "poll", "api", "cli", "rollback", "preview"]
"""Why a deployment was requested: by a webhook's push, by polling, by the REST API, by the command
line, for a pull request, or to roll back. Empty for a request by a Python program that states no
cause, and for a deployment that is recovered after a crash."""

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
"""``rolled_back``: it was live, did not work, and the former release is live again.
``superseded``: a newer one was asked for while it waited.
``skipped``: there was nothing to deploy, since nothing that matters has changed."""

FINAL_STATES: frozenset[DeploymentState] = frozenset(
    {"healthy", "failed", "cancelled", "rolled_back", "superseded", "skipped"}
)
"""The states in which a deployment has ended."""


@dataclass(frozen=True)
class DeploymentRecord:
    """One deployment of an application, or one rollback.

    Attributes:
        id: Grows with each deployment, and is never used again.
        ref: The branch, tag or commit that was asked for.
        commit: The full hash, once it is known.
        release: The name of the release directory, once it is known.
        previous: The release that was live when this one was about to be; ``None`` if none was.
        requested_by: Who or what asked for it; may be empty.
        requested_at: Timezone-aware, in UTC, as all times are.
        started_at: ``None`` while it waits for its turn.
        finished_at: ``None`` until it has come to an end.
        error_code: The ``code`` of the error that ended it.
        error: That error, as a sentence for people.
        author: Of the commit.
        subject: Of the commit.
        committed_at: When that was made.
        files: How many it has.
        bytes: What they hold together.
        seconds: How long each phase took, by its name.
        cancel_requested: Whether somebody asked for it to stop.
        revision: The application's, as it was deployed.
        unproved: Whether more had to be done, once it was live, to see that it works.
        host: The name of the machine that it runs, or waits, on; empty if that is not known.
        home: The data directory of the process that runs it, or waits with it.
        previous_commit: The commit of the release that was live before, if that is known.
        removed_at: When its application was removed; ``None`` while that is there.
        provider: The name of the configured provider. This field and the following ones are set
            in the records that observers receive; other records have the defaults.
        provider_kind: The kind of that provider.
        repository: The repository's full name, such as ``acme/shop``.
        commit_url: The commit's page, once the commit is known; ``None`` if the provider does not
            tell its address, and for rollbacks, which do not contact the host.
        cause: Why the deployment was requested. If several triggers led to it, the newest one's.
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
        """Whether it has come to an end."""
        return self.state in FINAL_STATES
