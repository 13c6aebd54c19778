"""Tells webhooks of what happens in the sandbox: pushes, and pull requests.

Pull requests have no REST API here: tests and the demo make them by the sandbox's methods.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

from deploycore.errors import NotFound
from deploycore.testing.repositories import GitRepositories, RefUpdate, Served
from deploycore.testing.sandbox import Repository
from deploycore.testing.webhooks import DeliveryRules, Hook, Webhooks, hmac_sha256

from deploycore_gitea.sandbox import events
from deploycore_gitea.sandbox.events import About, PullRequest

__all__ = ["RULES", "Notifier", "signed"]

RULES = DeliveryRules(timeout=5.0, attempts=1)
"""``DELIVER_TIMEOUT``; what failed is not sent again, unless a person asks for it."""


class Notifier:
    """Watches the repositories' contents, and keeps pull requests.

    Args:
        find: Gives a repository by owner and slug.
        url: Gives where the sandbox listens.
        actor: Who does what is done.
    """

    def __init__(
        self,
        git: GitRepositories,
        webhooks: Webhooks,
        find: Callable[[str, str], Repository | None],
        url: Callable[[], str],
        actor: str,
    ) -> None:
        self._git = git
        self._webhooks = webhooks
        self._find = find
        self._url = url
        self._actor = actor
        self._lock = threading.RLock()
        self._pull_requests: list[PullRequest] = []
        git.watchers.append(self._pushed)

    def open(
        self, repository: Repository, source: Repository, branches: tuple[str, str], title: str
    ) -> PullRequest:
        """Open a pull request, from one branch into another."""
        source_branch, target_branch = branches
        # Before the lock: pushes take git's first, and then this one.
        commit = self._commit(source, source_branch)
        target_commit = self._commit(repository, target_branch)
        with self._lock:
            mine = [row for row in self._pull_requests if row.repository == repository.full_name]
            row = PullRequest(
                number=len(mine) + 1,
                repository=repository.full_name,
                source=source.full_name,
                source_branch=source_branch,
                target_branch=target_branch,
                title=title or source_branch,
                commit=commit,
                target_commit=target_commit,
            )
            self._pull_requests.append(row)
        self._tell("opened", row)
        return row

    def change(self, row: PullRequest, action: str, **changes: Any) -> PullRequest:
        """Change a pull request and tell of it."""
        with self._lock:
            place = self._place(row)
            row = replace(self._pull_requests[place], **changes)
            self._pull_requests[place] = row
        self._tell(action, row)
        return row

    def merge(self, row: PullRequest) -> PullRequest:
        """Move the target branch to the newest commit of the source, and close it."""
        with self._lock:
            row = self._pull_requests[self._place(row)]
        repository, source = self._repository(row.repository), self._repository(row.source)
        if repository is None or source is None:
            raise NotFound(f"The repository of pull request {row.number} is gone.")
        self._git.take(repository, row.target_branch, row.commit, source=source)
        return self.change(row, "closed", is_open=False, merged=True, target_commit=row.commit)

    def _place(self, row: PullRequest) -> int:
        for place, known in enumerate(self._pull_requests):
            if (known.repository, known.number) == (row.repository, row.number):
                return place
        raise NotFound(f"The sandbox has no pull request {row.number} of {row.repository}.")

    def _commit(self, repository: Repository, branch: str) -> str:
        branches = self._git.branches(repository)
        if branch not in branches:
            raise NotFound(f"The sandbox's {repository.full_name} has no branch {branch!r}.")
        return branches[branch]

    def _repository(self, full_name: str) -> Repository | None:
        owner, _, slug = full_name.partition("/")
        return self._find(owner, slug)

    def _pushed(self, served: Served, updates: Sequence[RefUpdate]) -> None:
        row = self._repository(served.full_name)
        if row is None:
            return
        if self._webhooks.of(row.full_name):
            about = About(row, self._url(), self._actor)
            with self._git.commits(row) as read:
                for update in updates:
                    for event in events.of_ref(about, update, read):
                        self._webhooks.fire(row.full_name, event)
        moved = {update.name: update.after for update in updates if update.kind == "branch"}
        self._tell_of_new_commits(row, moved)

    def _tell_of_new_commits(self, source: Repository, moved: Mapping[str, str | None]) -> None:
        """New commits are in the pull requests from a branch, which close with it."""
        with self._lock:
            rows = [
                row
                for row in self._pull_requests
                if row.is_open and row.source == source.full_name and row.source_branch in moved
            ]
        for row in rows:
            commit = moved[row.source_branch]
            if commit is None:
                self.change(row, "closed", is_open=False)
            else:
                self.change(row, "synchronized", commit=commit)

    def _tell(self, action: str, row: PullRequest) -> None:
        repository, source = self._repository(row.repository), self._repository(row.source)
        if repository is None or not self._webhooks.of(row.repository):
            return
        branches = {} if source is None else self._git.branches(source)
        event = events.of_pull_request(
            About(repository, self._url(), self._actor),
            row,
            action,
            source=source,
            branch_exists=row.source_branch in branches,
        )
        self._webhooks.fire(row.repository, event)


def signed(hook: Hook, body: bytes) -> Mapping[str, str]:
    """The headers that each delivery has of its own: empty proofs where there is no secret."""
    sha256 = sha1 = ""
    if hook.secret is not None:
        sha256 = hmac_sha256(hook.secret, body)
        sha1 = hmac.new(hook.secret.get_secret_value().encode(), body, hashlib.sha1).hexdigest()
    delivery = str(uuid4())
    return {
        "X-Gitea-Delivery": delivery,
        "X-Gogs-Delivery": delivery,
        "X-GitHub-Delivery": delivery,
        "X-Gitea-Signature": sha256,
        "X-Gogs-Signature": sha256,
        "X-Hub-Signature": f"sha1={sha1}",
        "X-Hub-Signature-256": f"sha256={sha256}",
    }
