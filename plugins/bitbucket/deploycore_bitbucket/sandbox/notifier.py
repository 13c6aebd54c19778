"""Tells webhooks of what happens in the sandbox: pushes, and pull requests.

Pull requests have no REST API here: tests and the demo make them by the sandbox's methods.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from uuid import uuid4

from deploycore.errors import NotFound
from deploycore.testing.repositories import GitRepositories, RefUpdate, Served
from deploycore.testing.webhooks import DeliveryRules, Hook, Webhooks, hmac_sha256
from deploycore_bitbucket.sandbox import events
from deploycore_bitbucket.sandbox.events import PullRequest
from deploycore_bitbucket.sandbox.smart_http import Pushed
from deploycore_bitbucket.sandbox.state import Repository, State, User

__all__ = ["RULES", "Notifier", "sign"]

RULES = DeliveryRules(
    timeout=10.0, attempts=3, attempt_header="X-Attempt-Number", body_bytes_most=256 * 1024
)
"""https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/, and what is seen of it:
bodies of more than 256 KB may not come at all, and here they don't."""


class Notifier:
    """Watches the repositories' contents, and keeps pull requests.

    Args:
        origin: Where the sandbox listens.
    """

    def __init__(
        self, state: State, git: GitRepositories, webhooks: Webhooks, origin: Callable[[], str]
    ) -> None:
        self._state = state
        self._git = git
        self._webhooks = webhooks
        self._origin = origin
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
        self._tell("pullrequest:created", row)
        return row

    def change(self, row: PullRequest, event: str, **changes: str) -> PullRequest:
        """Change a pull request and tell of it."""
        with self._lock:
            place = self._place(row)
            row = replace(self._pull_requests[place], **changes)  # type: ignore[arg-type]
            self._pull_requests[place] = row
        self._tell(event, row)
        return row

    def merge(self, row: PullRequest) -> PullRequest:
        """Move the target branch to the newest commit of the source, and close it."""
        with self._lock:
            row = self._pull_requests[self._place(row)]
        repository, source = self._repository(row.repository), self._repository(row.source)
        if repository is None or source is None:
            raise NotFound(f"The repository of pull request {row.number} is gone.")
        self._git.take(repository, row.target_branch, row.commit, source=source)
        return self.change(row, "pullrequest:fulfilled", state="MERGED", target_commit=row.commit)

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
        workspace, _, slug = full_name.partition("/")
        return self._state.repository(workspace, slug)

    def _pushed(self, served: Served, updates: Sequence[RefUpdate]) -> None:
        repository = self._repository(served.full_name)
        if repository is None:
            return
        actor = served.actor if isinstance(served, Pushed) else self._somebody(repository)
        if self._webhooks.of(repository.full_name):
            with self._git.commits(repository) as read:
                event = events.push(
                    repository, updates, actor=actor, read=read, origin=self._origin()
                )
            self._webhooks.fire(repository.full_name, event)
        moved = {update.name: update.after for update in updates if update.kind == "branch"}
        self._tell_of_new_commits(repository, moved)

    def _tell_of_new_commits(self, repository: Repository, moved: Mapping[str, str | None]) -> None:
        with self._lock:
            rows = [
                row
                for row in self._pull_requests
                if row.state == "OPEN" and row.source == repository.full_name
            ]
        for row in rows:
            commit = moved.get(row.source_branch)
            if commit is not None:
                self.change(row, "pullrequest:updated", commit=commit)
                self.change(row, "pullrequest:push")

    def _tell(self, name: str, row: PullRequest) -> None:
        repository = self._repository(row.repository)
        if repository is None or not self._webhooks.of(row.repository):
            return
        event = events.pull_request(
            name,
            row,
            repository,
            self._repository(row.source),
            actor=self._somebody(repository),
            origin=self._origin(),
        )
        self._webhooks.fire(row.repository, event)

    def _somebody(self, repository: Repository) -> User | None:
        """Who does what no client asked for: the first member of the workspace."""
        members = self._state.workspace(repository.workspace).members
        return self._state.user(next(iter(members))) if members else None


def sign(hook: Hook, body: bytes) -> Mapping[str, str]:
    """The headers that each delivery has of its own, and the proof where there is a secret."""
    headers = {"X-Hook-UUID": hook.id.strip("{}"), "X-Request-UUID": str(uuid4())}
    if hook.secret is None:
        return headers
    return {**headers, "X-Hub-Signature": f"sha256={hmac_sha256(hook.secret, body)}"}
