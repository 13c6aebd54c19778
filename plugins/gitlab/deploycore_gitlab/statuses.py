"""Commit statuses and deployments: how GitLab shows the deployment of a commit.

The functions have no side effects: they convert deploycore's statuses to GitLab's.

Sources: https://docs.gitlab.com/api/commits/#set-commit-pipeline-status and
https://docs.gitlab.com/api/deployments/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from deploycore.events import CommitState, CommitStatus, DeploymentStatus
from deploycore.http import AnswerModel, HttpClient, parse_items
from deploycore.models import CommitHash, NonEmpty
from pydantic import Field

__all__ = [
    "STATES",
    "DeploymentAnswer",
    "commit_status",
    "new_deployment",
    "present_deployment",
    "report_deployment",
]

_NEWEST_DEPLOYMENTS = 20
"""Number of an environment's deployments to search for the running one."""

STATES: dict[CommitState, str] = {
    "in_progress": "running",
    "successful": "success",
    "failed": "failed",
    "stopped": "canceled",
}
_UNFINISHED = ("created", "running", "blocked")
_MOST_CHARACTERS = 255
_TAGS = "refs/tags/"


class DeploymentAnswer(AnswerModel):
    """A deployment of ``GET /projects/:id/deployments``.

    Attributes:
        deployable: The job that deploys, if GitLab's own CI/CD does. Such a deployment is not
            deploycore's, and must not be changed.
    """

    id: Annotated[int, Field(ge=1)]
    sha: CommitHash
    status: NonEmpty
    deployable: dict[str, object] | None = None

    @property
    def is_finished(self) -> bool:
        return self.status not in _UNFINISHED


def commit_status(status: CommitStatus) -> dict[str, str]:
    """The body of a status. Statuses of one name replace each other, so the name is the key.

    An address that is too long for GitLab is left out, because a part of it would be useless.
    """
    body = {
        "state": STATES[status.state],
        "name": status.key,
        "description": _cut(status.description),
        "target_url": status.url if len(status.url) <= _MOST_CHARACTERS else "",
        "ref": status.ref.removeprefix(_TAGS),
    }
    return {field: value for field, value in body.items() if value}


def report_deployment(http: HttpClient, path: str, status: DeploymentStatus) -> None:
    """Add a deployment, or change the state of the one that is running.

    Args:
        path: The path of the project's deployments.
    """
    params: dict[str, str | int] = {
        "environment": status.environment,
        "order_by": "id",
        "sort": "desc",
        "per_page": _NEWEST_DEPLOYMENTS,
    }
    page = http.get_json(path, params=params)
    newest = parse_items(DeploymentAnswer, page, what="a page of deployments")
    present = present_deployment(newest, status)
    if present is None:
        http.send_json("POST", path, body=new_deployment(status))
    elif present.status != STATES[status.state]:
        http.send_json("PUT", f"{path}/{present.id}", body={"status": STATES[status.state]})


def new_deployment(status: DeploymentStatus) -> dict[str, Any]:
    """The body that creates a deployment. GitLab requires a ref and accepts a hash."""
    return {
        "environment": status.environment,
        "sha": status.commit,
        "ref": status.ref.removeprefix(_TAGS) or status.commit,
        "tag": status.ref.startswith(_TAGS),
        "status": STATES[status.state],
    }


def present_deployment(
    newest: Sequence[DeploymentAnswer], status: DeploymentStatus
) -> DeploymentAnswer | None:
    """Find the environment's deployment for a report; ``None`` if it has to be created.

    GitLab does not store deploycore's number. So the newest deployment of this commit is updated;
    or the newest of all, if it already has the state to report.

    Args:
        newest: The deployments, the newest first.
    """
    for each in newest:
        if each.sha == status.commit and each.deployable is None and not each.is_finished:
            return each
    latest = newest[0] if newest else None
    if latest and (latest.sha, latest.status) == (status.commit, STATES[status.state]):
        return latest
    return None


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MOST_CHARACTERS else line[: _MOST_CHARACTERS - 1] + "…"
