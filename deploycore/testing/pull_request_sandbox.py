"""The base class for sandboxes of hosts with pull requests, also those that call them otherwise."""

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
    """A sandbox with forks and pull requests, and webhooks that are told of them.

    A subclass says what it tells webhooks (``pull_request_events``).

    Args:
        port: Where to listen; 0 for any free port.
        latency: Seconds that every answer waits.

    Attributes:
        PULL_REQUESTS: The class that keeps pull requests.
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
        """What webhooks are told of a change.

        Args:
            repository: The repository that the pull request is for.
            source: The repository that its commits come from; ``None`` if it is gone.
        """

    def pull_request_changed(self, change: PullRequestChange) -> None:
        """Tell the webhooks of the repository that the pull request is for."""
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
        """Copy a repository with its branches to another owner, who is added if need be.

        Raises:
            NotFound: There is no such repository.
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
            source: The fork that its commits come from; by default the same repository.

        Raises:
            NotFound: There is no such repository or branch.
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
        """Open a closed one again."""
        return self.pull_requests.reopen(row)

    def merge_pull_request(self, row: PullRequest) -> PullRequest:
        """Move the target branch to the newest commit of the source, and close it.

        Raises:
            NotFound: One of the repositories is gone.
        """
        return self.pull_requests.merge(row)
