"""The REST API's statuses of commits, and its deployments.

Sources:
https://docs.github.com/en/rest/commits/statuses
https://docs.github.com/en/rest/deployments/deployments
https://docs.github.com/en/rest/deployments/statuses
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from deploycore.testing.messages import Answer, Request, json_answer
from deploycore.testing.sandbox import Repository
from deploycore.testing.webhooks import ShownDeployment, ShownStatus
from deploycore_github.sandbox.validation import body_of, invalid, unprocessable

__all__ = ["Deployment", "DeploymentsApi", "StatusesApi"]

DESCRIPTION_MOST = 140
STATUSES_MOST = 1000
_STATES = {
    "pending": "in_progress",
    "success": "successful",
    "failure": "failed",
    "error": "stopped",
}
_DEPLOYMENT_STATES = {
    **_STATES,
    "queued": "in_progress",
    "in_progress": "in_progress",
    "inactive": "successful",  # it was successful until another one replaced it
}


class StatusesApi:
    """Answers ``/repos/{owner}/{repo}/statuses/{sha}``.

    Args:
        has_commit: Returns whether a commit exists.
        show: Stores a status that is shown.
    """

    def __init__(
        self,
        has_commit: Callable[[Repository, str], bool],
        show: Callable[[Repository, str, ShownStatus], None],
    ) -> None:
        self._has_commit = has_commit
        self._show = show
        self._lock = threading.Lock()
        self._count: Counter[tuple[str, str, str]] = Counter()

    def add(self, request: Request, repository: Repository, sha: str) -> Answer:
        """``POST``. A previous status with the same context is kept, but not shown any more."""
        body = body_of(request)
        if not self._has_commit(repository, sha):
            raise unprocessable(f"No commit found for SHA: {sha}")
        state, context = body.get("state"), str(body.get("context") or "default")
        if state not in _STATES:
            raise invalid("Status", "state is not included in the list", field="state")
        description, url = _described(body, "Status"), _linked(body, "target_url", "Status")
        with self._lock:
            self._count[repository.full_name, sha, context] += 1
            if self._count[repository.full_name, sha, context] > STATUSES_MOST:
                said = "This SHA and context has reached the maximum number of statuses."
                raise invalid("Status", said)
        shown = ShownStatus(context, _STATES[state], description=description, url=url)
        self._show(repository, sha, shown)
        told = {"state": state, "context": context, "description": description, "target_url": url}
        return json_answer(told, 201)


@dataclass(frozen=True)
class Deployment:
    """A deployment as a row.

    Attributes:
        sha: The commit that ``ref`` pointed to.
        payload: The payload of the client that created it.
        statuses: State, description and address of the log; the oldest first.
    """

    number: int
    repository: str
    sha: str
    ref: str
    environment: str
    description: str
    payload: Any
    statuses: tuple[tuple[str, str, str], ...] = ()

    @property
    def is_live(self) -> bool:
        return bool(self.statuses) and self.statuses[-1][0] == "success"

    def shape(self, request: Request) -> dict[str, Any]:
        """Return the deployment as GitHub sends it."""
        return {
            "url": f"{request.origin}/api/v3/repos/{self.repository}/deployments/{self.number}",
            "id": self.number,
            "sha": self.sha,
            "ref": self.ref,
            "task": "deploy",
            "payload": self.payload,
            "environment": self.environment,
            "description": self.description,
        }


class DeploymentsApi:
    """Handles the requests below ``/repos/{owner}/{repo}/deployments``.

    Args:
        resolve: Returns the commit of a branch, tag or hash; ``None`` if there is none.
    """

    def __init__(self, resolve: Callable[[Repository, str], str | None]) -> None:
        self._resolve = resolve
        self._lock = threading.Lock()
        self._rows: dict[int, Deployment] = {}

    def of(self, repository: Repository, query: Mapping[str, str]) -> Sequence[Deployment]:
        """List the deployments that match a query, the newest first."""
        asked = {name: query[name] for name in ("sha", "ref", "environment") if name in query}
        with self._lock:
            rows = [row for row in self._rows.values() if row.repository == repository.full_name]
        return [
            row
            for row in reversed(rows)
            if all(getattr(row, name) == value for name, value in asked.items())
        ]

    def add(self, request: Request, repository: Repository) -> Answer:
        """``POST``. Merges and required checks are not implemented: a request that does not turn
        off both is rejected."""
        body = body_of(request)
        ref = body.get("ref")
        sha = self._resolve(repository, ref) if isinstance(ref, str) else None
        if sha is None:
            raise unprocessable(f"No ref found for: {ref}")
        if body.get("auto_merge", True) or body.get("required_contexts") != []:
            raise invalid("Deployment", "this sandbox neither merges nor checks")
        with self._lock:
            row = Deployment(
                number=1 + len(self._rows),
                repository=repository.full_name,
                sha=sha,
                ref=str(ref),
                environment=str(body.get("environment") or "production"),
                description=str(body.get("description") or ""),
                payload=body.get("payload", {}),
            )
            self._rows[row.number] = row
        return json_answer(row.shape(request), 201)

    def add_status(self, request: Request, repository: Repository, number: str) -> Answer | None:
        """``POST`` to a deployment's statuses. Return ``None`` if the deployment does not exist.

        A success makes earlier deployments to the environment inactive, unless the environment is
        production.
        """
        body = body_of(request)
        state = body.get("state")
        if state not in _DEPLOYMENT_STATES:
            raise invalid("DeploymentStatus", "state is not included in the list", field="state")
        description = _described(body, "DeploymentStatus")
        told = (state, description, _linked(body, "log_url", "DeploymentStatus"))
        with self._lock:
            row = self._rows.get(int(number)) if number.isdecimal() else None
            if row is None or row.repository != repository.full_name:
                return None
            if state == "success" and body.get("auto_inactive", True):
                self._retire(row)
            self._rows[row.number] = replace(row, statuses=(*row.statuses, told))
        return json_answer({"state": state, "description": description, "log_url": told[2]}, 201)

    def shown(self, repository: str, commit: str) -> Sequence[ShownDeployment]:
        """Return the deployments of a commit, the oldest first."""
        with self._lock:
            return [
                _shown(row)
                for row in self._rows.values()
                if (row.repository, row.sha) == (repository, commit)
            ]

    def _retire(self, newer: Deployment) -> None:
        if newer.environment == "production":
            return
        place = (newer.repository, newer.environment)
        for row in list(self._rows.values()):
            if (row.repository, row.environment) == place and row.is_live:
                ended = (*row.statuses, ("inactive", "", ""))
                self._rows[row.number] = replace(row, statuses=ended)


def _shown(row: Deployment) -> ShownDeployment:
    state, description, url = row.statuses[-1] if row.statuses else ("queued", "", "")
    return ShownDeployment(row.environment, _DEPLOYMENT_STATES[state], description, url)


def _described(body: Mapping[str, Any], resource: str) -> str:
    description = body.get("description") or ""
    if not isinstance(description, str) or len(description) > DESCRIPTION_MOST:
        said = f"description is too long (maximum is {DESCRIPTION_MOST} characters)"
        raise invalid(resource, said, field="description")
    return description


def _linked(body: Mapping[str, Any], field: str, resource: str) -> str:
    url = body.get(field) or ""
    if url and urlsplit(str(url)).scheme not in ("http", "https"):
        raise invalid(resource, f"{field} must use http(s) scheme", field=field)
    return str(url)
