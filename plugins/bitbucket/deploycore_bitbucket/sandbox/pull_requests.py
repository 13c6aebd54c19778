"""The REST API's pull requests of a repository.

A merge is complete when its response is sent. ``async`` is rejected.

Source: https://developer.atlassian.com/cloud/bitbucket/rest/api-group-pullrequests/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from deploycore.errors import NotFound
from deploycore.testing.messages import Request, json_answer, with_headers
from deploycore.testing.pull_requests import PullRequest, PullRequests
from deploycore.testing.sandbox import Repository
from deploycore_bitbucket.sandbox.authentication import Need
from deploycore_bitbucket.sandbox.events import pull_request_shape
from deploycore_bitbucket.sandbox.messages import decoded, invalid, refuse
from deploycore_bitbucket.sandbox.rows import User
from deploycore_bitbucket.sandbox.shapes import CREATED

__all__ = ["PullRequestsApi", "needed_for_pull_requests"]

STRATEGIES = (
    *("merge_commit", "squash", "fast_forward", "squash_fast_forward"),
    *("rebase_fast_forward", "rebase_merge"),
)
ONLY_ALONE = ("reviewers", "participants")
"""The fields that Bitbucket leaves out of lists."""
CLOSED = "This pull request is already closed."
PARTS = ("commits", "approve", "diff", "diffstat", "comments", "activity", "merge", "decline")

_READ = Need(new=("read:pullrequest:bitbucket",), old=("pullrequest",))
_WRITE = Need(
    new=("read:pullrequest:bitbucket", "write:pullrequest:bitbucket"), old=("pullrequest:write",)
)

Page = Callable[[Sequence[PullRequest], Request, Callable[[PullRequest], Any]], Any]
Branches = Callable[[Repository], Mapping[str, str]]


def needed_for_pull_requests(request: Request) -> Need:
    """Return the scopes that a request needs."""
    return _READ if request.method == "GET" else _WRITE


@dataclass(frozen=True)
class PullRequestsApi:
    """Handles the requests below ``/repositories/{workspace}/{repo_slug}/pullrequests``.

    Args:
        rows: All pull requests of the sandbox.
        find: Returns a repository by its full name; ``None`` if it does not exist.
        branches: Returns the branches of a repository with their commits.
        author: Returns the author of a repository's pull requests.
    """

    rows: PullRequests
    find: Callable[[str], Repository | None]
    branches: Branches
    author: Callable[[Repository], User | None]

    def answer(self, request: Request, repository: Repository, rest: str, page: Page) -> Any:
        """Return a JSON value or a response, for a caller with the required permission.

        Args:
            rest: The address after ``pullrequests/``.
        """
        match request.method, rest.split("/"):
            case "GET", [""]:
                return page(
                    self._listed(request, repository),
                    request,
                    lambda row: self._shape(row, repository, request, alone=False),
                )
            case "POST", [""]:
                shape = self._shape(self._open(request, repository), repository, request)
                location = {"Location": shape["links"]["self"]["href"]}
                return with_headers(json_answer(shape, 201), location)
            case "GET", [number]:
                return self._shape(self._found(repository, number), repository, request)
            case "PUT", [number]:
                row = self._edit(request, self._found(repository, number))
            case "POST", [number, "merge"]:
                row = self._merge(request, self._found(repository, number))
            case "POST", [number, "decline"]:
                row = self.rows.close(_still_open(self._found(repository, number)))
            case "GET", _:
                raise refuse(404, "Resource not found")
            case _:
                raise refuse(405, f"Method {request.method} is not allowed.")
        return self._shape(row, repository, request)

    def _listed(self, request: Request, repository: Repository) -> Sequence[PullRequest]:
        """List those with a given ``state`` (default: ``OPEN``)."""
        pairs = parse_qsl(request.query_string)
        states = {text for name, text in pairs if name == "state"} or {"OPEN"}
        return [row for row in self.rows.of(repository.full_name) if _state(row) in states]

    def _found(self, repository: Repository, number: str) -> PullRequest:
        row = self.rows.find(repository.full_name, number)
        if row is None:
            raise refuse(404, f"Pull request {number} not found")
        return row

    def _open(self, request: Request, repository: Repository) -> PullRequest:
        """Open a pull request. If one is open for the same branches, it gets the new title
        instead."""
        body = decoded(request)
        title, branch = body.get("title"), _name_at(body, "source", "branch")
        lacking = [name for name, text in (("title", title), ("source", branch)) if not text]
        if lacking:
            raise invalid(dict.fromkeys(lacking, "This field is required."))
        target = _name_at(body, "destination", "branch") or repository.default_branch
        source = self._source(body, repository)
        ends = {"source": (source, branch), "destination": (repository, target)}
        for field, (where, name) in ends.items():
            if name not in self.branches(where):
                raise invalid({field: f"branch not found: {name}"})
        same = self.rows.find_open(repository.full_name, source.full_name, branch, target)
        if same is not None:
            return self.rows.edit(same, title=str(title))
        if self.branches(source)[branch] == self.branches(repository)[target]:
            raise refuse(400, "There are no changes to be pulled")
        return self.rows.open(repository, source, branch, target, str(title))

    def _source(self, body: Mapping[str, Any], repository: Repository) -> Repository:
        full_name = _name_at(body, "source", "repository", "full_name")
        if not full_name:
            return repository
        found = self.find(full_name)
        if found is None:
            raise invalid({"source": f"repository not found: {full_name}"})
        return found

    def _edit(self, request: Request, row: PullRequest) -> PullRequest:
        body = decoded(request)
        target = _name_at(body, "destination", "branch")
        changes = {"title": str(body.get("title") or ""), "target_branch": target}
        given = {name: text for name, text in changes.items() if text}
        return self.rows.edit(_still_open(row), **given)

    def _merge(self, request: Request, row: PullRequest) -> PullRequest:
        body = decoded(request) if request.body else {}
        if body.get("merge_strategy", "merge_commit") not in STRATEGIES:
            raise invalid({"merge_strategy": "Not a valid merge strategy."})
        if request.query.get("async") == "true":
            raise refuse(400, "This sandbox does not merge asynchronously.")
        try:
            return self.rows.merge(_still_open(row))
        except NotFound:
            raise refuse(400, "The source repository of this pull request is gone.") from None

    def _shape(
        self, row: PullRequest, repository: Repository, request: Request, *, alone: bool = True
    ) -> Any:
        source, author = self.find(row.source), self.author(repository)
        told = pull_request_shape(row, repository, source, actor=author, origin=request.origin)
        api = told["links"]["self"]["href"]
        html = f"{request.origin}/{repository.full_name}/pull-requests/{row.number}"
        links = {"self": api, "html": html, **{part: f"{api}/{part}" for part in PARTS}}
        whole = {
            **told,
            "source": _end(told["source"]),
            "destination": _end(told["destination"]),
            "draft": False,
            "comment_count": 0,
            "task_count": 0,
            "created_on": CREATED,
            "updated_on": CREATED,
            "merge_commit": {"hash": row.commit[:12]} if row.is_merged else None,
            "closed_by": None if row.is_open else told["author"],
            "links": {name: {"href": href} for name, href in links.items()},
        }
        return whole if alone else {key: whole[key] for key in whole if key not in ONLY_ALONE}


def _state(row: PullRequest) -> str:
    return "DECLINED" if row.state == "CLOSED" else row.state


def _still_open(row: PullRequest) -> PullRequest:
    if not row.is_open:
        raise refuse(400, CLOSED)
    return row


def _end(told: Mapping[str, Any]) -> Any:
    """Return the same JSON as in events, without the commit's type, which is not in the API
    description."""
    return {**told, "commit": {"hash": told["commit"]["hash"]}}


def _name_at(body: Mapping[str, Any], *path: str) -> str:
    """Return the text at a path, or the ``name`` of the object at the path; empty if there is
    neither."""
    found: Any = body
    for part in path:
        found = found.get(part) if isinstance(found, dict) else None
    if isinstance(found, dict):
        found = found.get("name")
    return found if isinstance(found, str) else ""
