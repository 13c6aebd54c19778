"""Commit statuses and deployments: how GitHub shows the deployment of a commit.

Sources:
https://docs.github.com/en/rest/commits/statuses
https://docs.github.com/en/rest/deployments/deployments
https://docs.github.com/en/rest/deployments/statuses
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from deploycore.events import CommitState, CommitStatus, DeploymentStatus
from deploycore.http import AnswerModel, HttpClient, parse_items

__all__ = [
    "DeploymentAnswer",
    "commit_status",
    "deployment",
    "deployment_status",
    "find_deployment",
]

_STATES: dict[CommitState, str] = {
    "in_progress": "pending",
    "successful": "success",
    "failed": "failure",
    "stopped": "error",
}
_DEPLOYMENT_STATES: dict[CommitState, str] = {**_STATES, "in_progress": "in_progress"}
MOST_CHARACTERS = 140
_NUMBER = "deploycore"


class DeploymentAnswer(AnswerModel):
    """An item of ``GET /repos/{owner}/{repo}/deployments``.

    Attributes:
        payload: The payload of the client that created it: an object, or a text that may contain
            one.
    """

    id: Annotated[int, Field(ge=1)]
    payload: Any = None

    def is_for(self, number: int) -> bool:
        """Whether it is deploycore's deployment with this number."""
        payload = self.payload
        if isinstance(payload, str):
            try:
                payload = json.loads(payload)
            except (ValueError, RecursionError):
                return False
        return isinstance(payload, Mapping) and payload.get(_NUMBER) == number


def commit_status(status: CommitStatus) -> dict[str, str]:
    """The body of a status. GitHub shows the newest status of each context."""
    body = {
        "state": _STATES[status.state],
        "context": status.key,
        "description": _cut(status.description or status.name),
        "target_url": status.url,
    }
    return {field: value for field, value in body.items() if value}


def deployment(status: DeploymentStatus) -> dict[str, Any]:
    """The body that creates a deployment.

    By default, GitHub would merge the default branch into the commit, and reject commits with
    unsuccessful checks. deploycore's own status is such a check.
    """
    return {
        "ref": status.commit,
        "environment": status.environment,
        "auto_merge": False,
        "required_contexts": [],
        "description": f"{status.ref} by deploycore" if status.ref else "by deploycore",
        "payload": {_NUMBER: status.deployment},
    }


def deployment_status(status: DeploymentStatus) -> dict[str, str]:
    """The body that sets the state of a deployment."""
    body = {
        "state": _DEPLOYMENT_STATES[status.state],
        "description": _cut(status.description),
        "log_url": status.url,
    }
    return {field: value for field, value in body.items() if value}


def find_deployment(
    http: HttpClient, path: str, status: DeploymentStatus
) -> DeploymentAnswer | None:
    """Find the deployment that an earlier report added, among the newest hundred of the commit."""
    asked: dict[str, str | int] = {
        "sha": status.commit,
        "environment": status.environment,
        "per_page": 100,
    }
    known = parse_items(
        DeploymentAnswer, http.get_json(path, params=asked), what="a page of deployments"
    )
    return next((each for each in known if each.is_for(status.deployment)), None)


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MOST_CHARACTERS else line[: MOST_CHARACTERS - 1] + "…"
