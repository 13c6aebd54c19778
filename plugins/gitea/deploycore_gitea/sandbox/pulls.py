"""The REST API for pull requests, as in Gitea and Forgejo.

Source: the operations ``repoListPullRequests``, ``repoCreatePullRequest``,
``repoGetPullRequest``, ``repoEditPullRequest``, ``repoPullRequestIsMerged`` and
``repoMergePullRequest`` of the API's description (``/api/swagger``).
"""

from __future__ import annotations

from collections.abc import Callable

from deploycore.errors import NotFound
from deploycore.testing.messages import Answer, Refusal, Request, json_answer
from deploycore.testing.pull_requests import PullRequest, PullRequests
from deploycore.testing.sandbox import Repository

from deploycore_gitea.sandbox.hooks import body_of

__all__ = ["PullRequestsApi"]

Refuse = Callable[[int, str], Refusal]


class PullRequestsApi:
    """Handles requests about pull requests. The caller of its methods checks permissions.

    Args:
        rows: All pull requests of the sandbox.
        find: Returns a repository by its full name; ``None`` if it does not exist.
        refuse: Returns an error response in the API's form.
    """

    def __init__(
        self, rows: PullRequests, find: Callable[[str], Repository | None], refuse: Refuse
    ) -> None:
        self._rows = rows
        self._find = find
        self._refuse = refuse

    def listed(self, request: Request, repository: Repository) -> list[PullRequest]:
        """List the pull requests with a ``state`` (default: ``open``)."""
        state = request.query.get("state", "open")
        rows = self._rows.of(repository.full_name)
        return [row for row in rows if state == "all" or row.is_open == (state == "open")]

    def found(self, repository: Repository, index: str) -> PullRequest:
        """One by its number."""
        row = self._rows.find(repository.full_name, index)
        if row is None:
            raise self._refuse(404, index)
        return row

    def open(self, request: Request, repository: Repository) -> PullRequest:
        """Open a pull request from ``head``, which is a branch or ``owner:branch`` of a fork, into
        ``base``."""
        body = body_of(request, self._refuse)
        head, base = str(body.get("head") or ""), str(body.get("base") or "")
        if not head or not base:
            raise self._refuse(422, "[Head]: Required")
        owner, colon, branch = head.rpartition(":")
        source = self._find(f"{owner}/{repository.slug}") if colon else repository
        if source is None:
            raise self._refuse(404, head)
        if self._rows.find_open(repository.full_name, source.full_name, branch, base):
            raise self._refuse(409, "pull request already exists for these targets")
        try:
            return self._rows.open(repository, source, branch, base, str(body.get("title") or ""))
        except NotFound:
            raise self._refuse(404, head) from None

    def edit(self, request: Request, row: PullRequest) -> PullRequest:
        """Change ``title``, ``base`` or ``state``. A merged pull request stays merged."""
        body = body_of(request, self._refuse)
        texts = {"title": body.get("title"), "target_branch": body.get("base")}
        changes = {name: str(text) for name, text in texts.items() if text}
        if changes:
            row = self._rows.edit(row, **changes)
        state = body.get("state")
        if state not in (None, "open", "closed"):
            raise self._refuse(422, "unknown state")
        if state is not None and row.is_merged:
            raise self._refuse(412, "cannot change state of this pull request, it was merged")
        if state == "closed" and row.is_open:
            return self._rows.close(row)
        if state == "open" and not row.is_open:
            return self._rows.reopen(row)
        return row

    def merge(self, request: Request, row: PullRequest) -> Answer:
        """Merge it; 405 if it is not open, 422 without a way (``Do``)."""
        if body_of(request, self._refuse).get("Do") not in (
            "merge",
            "rebase",
            "rebase-merge",
            "squash",
            "fast-forward-only",
        ):
            raise self._refuse(422, "[Do]: Required")
        if not row.is_open:
            raise self._refuse(405, "The pull request is closed")
        self._rows.merge(row)
        return json_answer(None, 200)

    def merged(self, row: PullRequest) -> Answer:
        """Return whether it is merged: 204 or 404."""
        if not row.is_merged:
            raise self._refuse(404, "")
        return Answer(204, {}, b"")
