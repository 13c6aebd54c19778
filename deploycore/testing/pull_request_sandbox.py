"""The base class for sandboxes of hosts with pull requests, or with merge requests."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from deploycore.testing.pull_requests import PullRequest, PullRequestChange, PullRequests
from deploycore.testing.rows import Repository
from deploycore.testing.sandbox import Sandbox
from deploycore.testing.scenarios import Arranged, Scenario
from deploycore.testing.webhooks import Event

__all__ = ["PullRequestSandbox"]


class PullRequestSandbox(Sandbox):
    """A sandbox with forks and pull requests, which sends their events to webhooks.

    A subclass defines the events with ``pull_request_events``.

    Args:
        port: The port to listen on; 0 for any free port.
        latency: Seconds to wait before each response.

    Attributes:
        PULL_REQUESTS: The class that stores pull requests.
        pull_requests: All pull requests of the sandbox.
    """

    PULL_REQUESTS: ClassVar[type[PullRequests]] = PullRequests

    def __init__(self, *, port: int = 0, latency: float = 0.0) -> None:
        super().__init__(port=port, latency=latency)
        self.pull_requests = self.PULL_REQUESTS(self.git, self.named, self.pull_request_changed)

    @abstractmethod
    def pull_request_events(
        self, change: PullRequestChange, repository: Repository, source: Repository | None
    ) -> Iterable[Event]:
        """Return the webhook events of a change.

        Args:
            repository: The repository that the pull request is for.
            source: The repository that its commits come from; ``None`` if it was deleted.
        """

    def pull_request_changed(self, change: PullRequestChange) -> None:
        """Send the events of a change to the webhooks of the pull request's repository."""
        repository = self.named(change.row.repository)
        if repository is None or not self.webhooks.of(repository.full_name):
            return
        source = self.named(change.row.source)
        for event in self.pull_request_events(change, repository, source):
            self.webhooks.fire(repository.full_name, event)

    def arrange(self, scenario: Scenario) -> tuple[Arranged, ...]:
        self.pull_requests.clear()
        return super().arrange(scenario)

    def fork(self, owner: str, slug: str, *, into: str) -> Repository:
        """Copy a repository with its branches to another owner, who is added if necessary.

        Raises:
            NotFound: The repository does not exist.
        """
        source = self.existing(owner, slug)
        self.add_owner(into)
        copied = self.add_repository(
            into, slug, private=source.private, default_branch=source.default_branch
        )
        for branch, commit in self.branches(source):
            self.git.take(copied, branch, commit, source=source)
        return copied

    def open_pull_request(
        self,
        owner: str,
        slug: str,
        source_branch: str,
        target_branch: str,
        *,
        title: str = "",
        source: Repository | None = None,
    ) -> PullRequest:
        """Open a pull request.

        Args:
            source: The fork that its commits come from (default: the same repository).

        Raises:
            NotFound: The repository or branch does not exist.
        """
        row = self.existing(owner, slug)
        return self.pull_requests.open(row, source or row, source_branch, target_branch, title)

    def edit_pull_request(self, row: PullRequest, **changes: str) -> PullRequest:
        """Change its ``title`` or ``target_branch``."""
        return self.pull_requests.edit(row, **changes)

    def close_pull_request(self, row: PullRequest) -> PullRequest:
        """Close it without merging."""
        return self.pull_requests.close(row)

    def reopen_pull_request(self, row: PullRequest) -> PullRequest:
        """Reopen a closed pull request."""
        return self.pull_requests.reopen(row)

    def merge_pull_request(self, row: PullRequest) -> PullRequest:
        """Move the target branch to the newest commit of the source, and close the pull request.

        Raises:
            NotFound: One of the repositories does not exist.
        """
        return self.pull_requests.merge(row)
