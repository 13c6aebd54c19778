"""The API's merge requests of a project.

The documentation does not say which status a branch that does not exist causes. Here, it is 400.

Source: https://docs.gitlab.com/api/merge_requests/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deploycore.errors import NotFound
from deploycore.testing.messages import Refusal, Request, json_answer
from deploycore.testing.pull_requests import PullRequest, PullRequests
from deploycore.testing.sandbox import Repository

from deploycore_gitlab.sandbox.events import STATES
from deploycore_gitlab.sandbox.hooks import decoded
from deploycore_gitlab.sandbox.shapes import CREATED_AT, USER_NUMBER

__all__ = ["MergeRequestsApi"]

Find = Callable[[str], Repository | None]


class MergeRequestsApi:
    """Handles the requests below ``/projects/:id/merge_requests``. The caller of its methods checks
    permissions.

    Args:
        rows: All merge requests of the sandbox.
        find: Returns a project by its full path or number; ``None`` if it does not exist.
        branches: The branches of a project, and their commits.
        user: The name of their author.
    """

    def __init__(
        self,
        rows: PullRequests,
        *,
        find: Find,
        branches: Callable[[Repository], Mapping[str, str]],
        user: str,
    ) -> None:
        self._rows = rows
        self._find = find
        self._branches = branches
        self._user = user

    def listed(self, request: Request, project: Repository) -> Sequence[PullRequest]:
        """List those with a ``state``, ``source_branch`` and ``target_branch``, the newest
        first."""
        query = request.query
        state = query.get("state", "all")
        if state not in ("all", "locked", *STATES.values()):
            raise Refusal(json_answer({"error": "state does not have a valid value"}, 400))
        source, target = query.get("source_branch"), query.get("target_branch")
        rows = [
            row
            for row in self._rows.of(project.full_name)
            if state in ("all", STATES[row.state])
            if source in (None, row.source_branch)
            if target in (None, row.target_branch)
        ]
        return rows[::-1] if query.get("sort") == "asc" else rows

    def found(self, project: Repository, number: str) -> PullRequest:
        """One by its ``iid``.

        Raises:
            Refusal: It does not exist (404).
        """
        if not (number.isascii() and number.isdecimal()):
            raise Refusal(json_answer({"error": "merge_request_iid is invalid"}, 400))
        row = self._rows.find(project.full_name, str(int(number)))
        if row is None:
            raise _refuse(404, "404 Not found")
        return row

    def open(self, request: Request, project: Repository) -> PullRequest:
        """Open a merge request from a branch of the project in the address, into a branch of the
        same project or of the project ``target_project_id``, of which it is a fork.

        Raises:
            Refusal: The fields are invalid, by GitLab's rules (400, 404, 409 or 422).
        """
        body = decoded(request)
        names = ("source_branch", "target_branch", "title")
        lacking = [f"{name} is missing" for name in names if name not in body]
        if lacking:
            raise Refusal(json_answer({"error": ", ".join(lacking)}, 400))
        source, target, title = (str(body[name]) for name in names)
        into = self._find(str(body["target_project_id"])) if "target_project_id" in body else None
        into = into or (project if "target_project_id" not in body else None)
        if into is None:
            raise _refuse(404, "404 Project Not Found")
        if (into, target) == (project, source):
            raise _refuse(422, ["You can't use same project/branch for source and target"])
        same = self._rows.find_open(into.full_name, project.full_name, source, target)
        if same is not None:
            said = "Another open merge request already exists for this source branch"
            raise _refuse(409, [f"{said}: !{same.number}"])
        ends = (("source_branch", project, source), ("target_branch", into, target))
        for field, where, branch in ends:
            if branch not in self._branches(where):
                raise _refuse(400, {field: ["does not exist"]})
        return self._rows.open(into, project, source, target, title)

    def change(self, request: Request, row: PullRequest) -> PullRequest:
        """Change ``title`` or ``target_branch``, or apply a ``state_event``."""
        body = decoded(request)
        event = body.get("state_event")
        if event not in (None, "close", "reopen"):
            raise Refusal(json_answer({"error": "state_event does not have a valid value"}, 400))
        fields = ("title", "target_branch")
        changes = {name: str(body[name]) for name in fields if body.get(name)}
        if event is None and not changes:
            raise Refusal(json_answer({"error": "no field to change was given"}, 400))
        if changes:
            row = self._rows.edit(row, **changes)
        if event == "close" and row.is_open:
            return self._rows.close(row)
        if event == "reopen" and not (row.is_open or row.is_merged):
            return self._rows.reopen(row)
        return row

    def merge(self, request: Request, row: PullRequest) -> PullRequest:
        """Merge it.

        Raises:
            Refusal: It is not open (405), ``sha`` is not its newest commit (409), or its project
                was deleted (422).
        """
        body = decoded(request) if request.body else {}
        if not row.is_open:
            raise _refuse(405, "405 Method Not Allowed")
        if body.get("sha", row.commit) != row.commit:
            raise _refuse(409, "SHA does not match HEAD of source branch: " + row.commit)
        try:
            return self._rows.merge(row)
        except NotFound:
            raise _refuse(422, "Branch cannot be merged") from None

    def shape(self, row: PullRequest, project: Repository, root: str) -> dict[str, Any]:
        """Return a merge request of a project, as GitLab sends it."""
        source = self._find(row.source)
        reference = f"!{row.number}"
        author = {
            "id": USER_NUMBER,
            "username": self._user,
            "name": self._user.title(),
            "state": "active",
            "avatar_url": None,
            "web_url": f"{root}/{self._user}",
        }
        return {
            "id": project.number * 10_000 + row.number,
            "iid": row.number,
            "project_id": project.number,
            "title": row.title,
            "description": None,
            "state": STATES[row.state],
            "created_at": CREATED_AT,
            "updated_at": CREATED_AT,
            "merged_by": author if row.is_merged else None,
            "merge_user": author if row.is_merged else None,
            "merged_at": CREATED_AT if row.is_merged else None,
            "closed_by": author if row.state == "CLOSED" else None,
            "closed_at": CREATED_AT if row.state == "CLOSED" else None,
            "target_branch": row.target_branch,
            "source_branch": row.source_branch,
            "author": author,
            "assignees": [],
            "assignee": None,
            "reviewers": [],
            "source_project_id": None if source is None else source.number,
            "target_project_id": project.number,
            "labels": [],
            "draft": False,
            "milestone": None,
            "merge_when_pipeline_succeeds": False,
            "merge_status": "can_be_merged",
            "detailed_merge_status": "mergeable" if row.is_open else "not_open",
            "sha": row.commit,
            "merge_commit_sha": None,
            "squash_commit_sha": None,
            "user_notes_count": 0,
            "should_remove_source_branch": None,
            "reference": reference,
            "references": {
                "short": reference,
                "relative": reference,
                "full": f"{project.full_name}{reference}",
            },
            "web_url": f"{root}/{project.full_name}/-/merge_requests/{row.number}",
            "squash": False,
            "has_conflicts": False,
        }


def _refuse(status: int, message: Any) -> Refusal:
    return Refusal(json_answer({"message": message}, status))
