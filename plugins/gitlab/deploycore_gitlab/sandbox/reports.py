"""The API's statuses of commits, and its deployments to environments.

Sources: https://docs.gitlab.com/api/commits/#set-commit-pipeline-status and
https://docs.gitlab.com/api/deployments/; where they are silent, GitLab's own
``app/services/ci/create_commit_status_service.rb`` and ``app/models/deployment.rb``.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from deploycore.testing.messages import Answer, Refusal, Request, json_answer
from deploycore.testing.sandbox import Repository
from deploycore.testing.webhooks import ShownDeployment, ShownStatus

from deploycore_gitlab.sandbox.hooks import decoded
from deploycore_gitlab.sandbox.pages import numbered_pages
from deploycore_gitlab.sandbox.shapes import CREATED_AT

__all__ = ["DeploymentsApi", "changed_status"]

STATES = {
    "pending": "in_progress",
    "running": "in_progress",
    "success": "successful",
    "failed": "failed",
    "canceled": "stopped",
    "skipped": "stopped",
}
DEPLOYMENT_STATES = ("running", "success", "failed", "canceled")
MOST_CHARACTERS = 255


def changed_status(body: Mapping[str, Any], shown: Sequence[ShownStatus]) -> ShownStatus:
    """Return the new status of a commit after a request.

    A status that has ended stays. A request with the same name starts a new one.

    Raises:
        Refusal: A field is invalid, or the status already exists (400).
    """
    state, name = body.get("state"), str(body.get("name") or body.get("context") or "default")
    if state not in STATES:
        fault = "is missing" if state is None else "does not have a valid value"
        raise Refusal(json_answer({"error": f"state {fault}"}, 400))
    for field in ("description", "target_url"):
        if len(str(body.get(field) or "")) > MOST_CHARACTERS:
            problem = f"is too long (maximum is {MOST_CHARACTERS} characters)"
            raise Refusal(json_answer({"message": {field: [problem]}}, 400))
    known = next((each for each in shown if each.key == name), None)
    if known is not None and known.state == "in_progress":
        if STATES[state] == "in_progress":
            said = "Cannot transition status via :run from :running (Reason(s): Status cannot "
            raise Refusal(json_answer({"message": f'{said}transition via "run")'}, 400))
    else:
        known = ShownStatus(name, STATES[state], name)
    return replace(
        known,
        state=STATES[state],
        description=str(body.get("description") or known.description),
        url=str(body.get("target_url") or known.url),
    )


@dataclass(frozen=True)
class _Deployment:
    number: int
    project: str
    environment: str
    sha: str
    ref: str
    is_tag: bool
    status: str


class DeploymentsApi:
    """Handles the requests below ``/projects/:id/deployments``. The caller's permission has been
    checked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: list[_Deployment] = []

    def clear(self) -> None:
        """Remove all of them."""
        with self._lock:
            self._rows.clear()

    def shown(self, row: Repository, commit: str) -> Sequence[ShownDeployment]:
        """Return those of a commit, the oldest first."""
        return [
            ShownDeployment(each.environment, STATES[each.status])
            for each in self._of(row)
            if each.sha == commit
        ]

    def page(self, request: Request, row: Repository) -> Answer:
        wanted = request.query.get("environment")
        rows = [each for each in self._of(row) if wanted in (None, each.environment)]
        if request.query.get("sort", "asc") == "desc":
            rows.reverse()
        return numbered_pages(request, rows, _shape, names={"id": row.full_name})

    def add(self, request: Request, row: Repository, resolves: frozenset[str]) -> Answer:
        """Add one.

        Args:
            resolves: Returns which of its commit and its ref exist.
        """
        body = decoded(request)
        for field in ("environment", "sha", "ref", "tag", "status"):
            if body.get(field) in (None, ""):
                raise Refusal(json_answer({"error": f"{field} is missing"}, 400))
        _check_state(body["status"])
        problems = {
            "sha": "The commit does not exist",
            "ref": "The branch or tag does not exist",
        }
        wrong = {field: [said] for field, said in problems.items() if field not in resolves}
        if wrong:
            raise Refusal(json_answer({"message": wrong}, 400))
        with self._lock:
            made = _Deployment(
                number=len(self._rows) + 1,
                project=row.full_name,
                environment=str(body["environment"]),
                sha=str(body["sha"]),
                ref=str(body["ref"]),
                is_tag=bool(body["tag"]),
                status=str(body["status"]),
            )
            self._rows.append(made)
        return json_answer(_shape(made), 201)

    def change(self, request: Request, row: Repository, number: str) -> Answer:
        status = decoded(request).get("status")
        _check_state(status)
        with self._lock:
            for place, known in enumerate(self._rows):
                if (known.project, str(known.number)) != (row.full_name, number):
                    continue
                if known.status == status:
                    problem = {"status": [f'cannot transition via "{status}"']}
                    raise Refusal(json_answer({"message": problem}, 400))
                self._rows[place] = replace(known, status=str(status))
                return json_answer(_shape(self._rows[place]))
        raise Refusal(json_answer({"message": "404 Not found"}, 404))

    def _of(self, row: Repository) -> list[_Deployment]:
        with self._lock:
            return [each for each in self._rows if each.project == row.full_name]


def _check_state(state: object) -> None:
    if state not in DEPLOYMENT_STATES:
        raise Refusal(json_answer({"error": "status does not have a valid value"}, 400))


def _shape(row: _Deployment) -> dict[str, Any]:
    return {
        "id": row.number,
        "iid": row.number,
        "ref": row.ref,
        "sha": row.sha,
        "created_at": CREATED_AT,
        "updated_at": CREATED_AT,
        "status": row.status,
        "user": None,
        "environment": {"id": 1, "name": row.environment, "external_url": None},
        "deployable": None,
    }
