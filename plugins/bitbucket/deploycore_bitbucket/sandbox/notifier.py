"""Tells webhooks of what happens in the sandbox: pushes, and pull requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from uuid import uuid4

from deploycore.testing.pull_requests import Action, PullRequestChange, PullRequests
from deploycore.testing.repositories import GitRepositories, RefUpdate, Served
from deploycore.testing.webhooks import DeliveryRules, Hook, Webhooks, hmac_sha256
from deploycore_bitbucket.sandbox import events
from deploycore_bitbucket.sandbox.smart_http import Pushed
from deploycore_bitbucket.sandbox.state import Repository, State, User

__all__ = ["RULES", "Notifier", "sign"]

RULES = DeliveryRules(
    timeout=10.0, attempts=3, attempt_header="X-Attempt-Number", body_bytes_most=256 * 1024
)
"""https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/, and what is seen of it:
bodies of more than 256 KB may not come at all, and here they don't."""

NAMES: Mapping[Action, Sequence[str]] = {
    "opened": ["pullrequest:created"],
    "edited": ["pullrequest:updated"],
    "pushed": ["pullrequest:updated", "pullrequest:push"],
    "closed": ["pullrequest:rejected"],
    "merged": ["pullrequest:fulfilled"],
}
"""Bitbucket's, of what can be done there: nothing opens again what was declined."""


class Notifier:
    """Watches the repositories' contents, and keeps pull requests.

    Args:
        origin: Where the sandbox listens.

    Attributes:
        pull_requests: All that there are.
    """

    def __init__(
        self, state: State, git: GitRepositories, webhooks: Webhooks, origin: Callable[[], str]
    ) -> None:
        self._state = state
        self._git = git
        self._webhooks = webhooks
        self._origin = origin
        git.watchers.append(self._pushed)
        self.pull_requests = PullRequests(git, self._repository, self._tell)

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

    def _tell(self, change: PullRequestChange) -> None:
        row = change.row
        repository = self._repository(row.repository)
        if repository is None or not self._webhooks.of(row.repository):
            return
        for name in NAMES[change.action]:
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
