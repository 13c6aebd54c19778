"""The REST API's pull requests of a repository.

Source: https://docs.github.com/en/rest/pulls/pulls
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deploycore.errors import NotFound
from deploycore.testing.messages import Answer, Refusal, Request, json_answer
from deploycore.testing.pull_requests import PullRequest, PullRequestChange, PullRequests
from deploycore.testing.sandbox import Repository
from deploycore_github.sandbox.events import pull_request_shape
from deploycore_github.sandbox.permissions import API
from deploycore_github.sandbox.validation import body_of, invalid, unprocessable

__all__ = ["PullsApi"]

MADE = "2024-01-01T00:00:00Z"
METHODS = ("merge", "squash", "rebase")
ONLY_ALONE = ("merged", "mergeable", "mergeable_state", "rebaseable", "merged_by", "comments")
"""The fields that GitHub leaves out of lists."""


class PullsApi:
    """Handles the requests below ``/repos/{owner}/{repo}/pulls``. The caller of its methods checks
    permissions.

    Args:
        rows: All pull requests of the sandbox.
        find: Returns a repository by its full name; ``None`` if it does not exist.
        branches: Returns the branches of a repository with their commits.
        describe: Returns a repository as the API has it.
        refuse: Returns an error response in the API's form.
        actor: The login of their author.
    """

    def __init__(
        self,
        rows: PullRequests,
        *,
        find: Callable[[str], Repository | None],
        branches: Callable[[Repository], Mapping[str, str]],
        describe: Callable[[Repository], Mapping[str, Any]],
        refuse: Callable[[int, str], Refusal],
        actor: str,
    ) -> None:
        self._rows = rows
        self._find = find
        self._branches = branches
        self._describe = describe
        self._refuse = refuse
        self._actor = actor
        self._merged_onto: dict[tuple[str, int], str] = {}

    def changed(self, change: PullRequestChange) -> None:
        """Record the commit of the target branch before a merge. It stays the ``base`` of the pull
        request."""
        if change.action == "merged":
            row = change.before
            self._merged_onto[row.repository, row.number] = row.target_commit

    def clear(self) -> None:
        """Remove all of them."""
        self._rows.clear()
        self._merged_onto.clear()

    def listed(self, request: Request, repository: Repository) -> Sequence[PullRequest]:
        """List the pull requests with a ``state`` (default: ``open``), ``head`` and ``base``, the
        newest first."""
        query = request.query
        state, head, base = query.get("state", "open"), query.get("head"), query.get("base")
        rows = [
            row
            for row in self._rows.of(repository.full_name)
            if state == "all" or row.is_open == (state != "closed")
            if not head or head == f"{row.source.partition('/')[0]}:{row.source_branch}"
            if not base or base == row.target_branch
        ]
        return rows[::-1] if query.get("direction") == "asc" else rows

    def found(self, repository: Repository, number: str) -> PullRequest:
        """One by its number.

        Raises:
            Refusal: It does not exist (404).
        """
        row = self._rows.find(repository.full_name, number)
        if row is None:
            raise self._refuse(404, "Not Found")
        return row

    def open(self, request: Request, repository: Repository) -> PullRequest:
        """Open a pull request from ``head``, which is a branch or ``owner:branch`` of a fork, into
        ``base``.

        Raises:
            Refusal: The fields are invalid, by GitHub's rules (422).
        """
        body = body_of(request)
        lacking = [name for name in ("title", "head", "base") if not body.get(name)]
        if lacking:
            raise _wrong(*({"field": name, "code": "missing_field"} for name in lacking))
        head, base = str(body["head"]), str(body["base"])
        owner, _, branch = head.rpartition(":")
        source = self._find(f"{owner or repository.owner}/{repository.slug}")
        if source is None:
            raise _wrong({"field": "head", "code": "invalid"})
        if self._rows.find_open(repository.full_name, source.full_name, branch, base):
            said = f"A pull request already exists for {source.owner}:{branch}."
            raise invalid("PullRequest", said)
        return self._opened(repository, source, branch, base, str(body["title"]))

    def _opened(
        self, repository: Repository, source: Repository, branch: str, base: str, title: str
    ) -> PullRequest:
        targets, sources = self._branches(repository), self._branches(source)
        for field, name, known in (("base", base, targets), ("head", branch, sources)):
            if name not in known:
                raise _wrong({"field": field, "code": "invalid"})
        if sources[branch] == targets[base]:
            raise invalid("PullRequest", f"No commits between {base} and {branch}")
        return self._rows.open(repository, source, branch, base, title)

    def edit(self, request: Request, row: PullRequest) -> PullRequest:
        """Change ``title``, ``base`` or ``state``. A merged pull request stays merged."""
        body = body_of(request)
        state = body.get("state")
        if state not in (None, "open", "closed"):
            raise _wrong({"field": "state", "code": "invalid"})
        if state == "open" and row.is_merged:
            said = "state cannot be changed. The pull request cannot be reopened."
            raise invalid("PullRequest", said, field="state")
        texts = {"title": body.get("title"), "target_branch": body.get("base")}
        changes = {name: str(text) for name, text in texts.items() if text}
        if changes:
            row = self._rows.edit(row, **changes)
        if state == "closed" and row.is_open:
            return self._rows.close(row)
        if state == "open" and not row.is_open:
            return self._rows.reopen(row)
        return row

    def merge(self, request: Request, row: PullRequest) -> Answer:
        """Merge it.

        Raises:
            Refusal: It cannot be merged (405), or ``sha`` is not its newest commit (409).
        """
        body = body_of(request) if request.body else {}
        if body.get("merge_method", "merge") not in METHODS:
            raise _wrong({"field": "merge_method", "code": "invalid"})
        if body.get("sha", row.commit) != row.commit:
            raise self._refuse(409, "Head branch was modified. Review and try the merge again.")
        if not row.is_open:
            raise self._refuse(405, "Pull Request is not mergeable")
        try:
            merged = self._rows.merge(row)
        except NotFound:  # its fork was deleted
            raise self._refuse(405, "Pull Request is not mergeable") from None
        said = "Pull Request successfully merged"
        return json_answer({"sha": merged.target_commit, "merged": True, "message": said})

    def merged(self, row: PullRequest) -> Answer:
        """Return whether it is merged: 204 or 404."""
        if not row.is_merged:
            raise self._refuse(404, "Not Found")
        return Answer(204, {})

    def shape(self, row: PullRequest, request: Request, *, alone: bool = True) -> dict[str, Any]:
        """Return a pull request, as a single object or as an item of a list."""
        repository = self._find(row.repository)
        if repository is None:
            raise self._refuse(404, "Not Found")
        told = pull_request_shape(
            row,
            repository,
            self._find(row.source),
            actor=self._actor,
            describe=self._describe,
            base_commit=self._merged_onto.get((row.repository, row.number), row.target_commit),
        )
        here = f"{request.origin}{API}/repos/{row.repository}"
        page = told["html_url"]
        whole = {
            "id": repository.number * 10_000 + row.number,
            "url": f"{here}/pulls/{row.number}",
            "diff_url": f"{page}.diff",
            "patch_url": f"{page}.patch",
            "issue_url": f"{here}/issues/{row.number}",
            "commits_url": f"{here}/pulls/{row.number}/commits",
            "statuses_url": f"{here}/statuses/{row.commit}",
            "locked": False,
            "created_at": MADE,
            "updated_at": MADE,
            "closed_at": None if row.is_open else MADE,
            "merged_at": MADE if row.is_merged else None,
            "assignee": None,
            "labels": [],
            "milestone": None,
            "author_association": "OWNER",
            "mergeable": True if row.is_open else None,
            "mergeable_state": "clean" if row.is_open else "unknown",
            "rebaseable": True if row.is_open else None,
            "merged_by": told["user"] if row.is_merged else None,
            "comments": 0,
            **told,
        }
        return whole if alone else {key: whole[key] for key in whole if key not in ONLY_ALONE}


def _wrong(*errors: Mapping[str, str]) -> Refusal:
    told = [{"resource": "PullRequest", **error} for error in errors]
    return unprocessable("Validation Failed", errors=told)
