"""The pull requests of a sandbox.

The content and names of events differ between hosts. This module has what hosts have in common:
numbers that start at 1 in each repository, branches that are followed when they are pushed to, and
merges by git.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from deploycore.errors import NotFound
from deploycore.testing.repositories import GitRepositories, RefUpdate, Served

__all__ = ["Action", "PullRequest", "PullRequestChange", "PullRequests"]

Action = Literal["opened", "edited", "pushed", "closed", "reopened", "merged"]
"""Actions on a pull request; ``pushed`` gives it new commits."""


@dataclass(frozen=True)
class PullRequest:
    """A pull request as a row.

    Attributes:
        number: Its number in the repository that it is for, from 1.
        repository: The full name of that repository.
        source: The full name of the repository that the commits come from.
        commit: The newest commit of its branch.
        target_commit: The commit of the target branch when the pull request was opened, or after
            its merge.
    """

    number: int
    repository: str
    source: str
    source_branch: str
    target_branch: str
    title: str
    commit: str
    target_commit: str
    state: Literal["OPEN", "CLOSED", "MERGED"] = "OPEN"

    @property
    def is_open(self) -> bool:
        """Whether it is neither merged nor closed."""
        return self.state == "OPEN"

    @property
    def is_merged(self) -> bool:
        """Whether the target branch has its commits."""
        return self.state == "MERGED"


@dataclass(frozen=True)
class PullRequestChange:
    """A change of a pull request.

    Attributes:
        row: The pull request after the change.
        before: The pull request before the change; the same as ``row`` if it was opened.
    """

    action: Action
    row: PullRequest
    before: PullRequest


class PullRequests:
    """All pull requests of a sandbox. It is safe to use from several threads.

    If a branch is pushed to, its open pull requests get the new commits.

    Args:
        git: The contents of the repositories.
        find: Returns a repository by its full name; ``None`` if it does not exist.
        tell: Called for each change, in the thread that made it. It may call git and this class.
    """

    def __init__(
        self,
        git: GitRepositories,
        find: Callable[[str], Served | None],
        tell: Callable[[PullRequestChange], None],
    ) -> None:
        self._git = git
        self._find = find
        self._tell = tell
        # Pushes take git's lock first and then this lock, so git must not be called while this lock
        # is held.
        self._lock = threading.Lock()
        self._rows: list[PullRequest] = []
        git.watchers.append(self._pushed)

    def open(
        self,
        repository: Served,
        source: Served,
        source_branch: str,
        target_branch: str,
        title: str = "",
    ) -> PullRequest:
        """Open a pull request from one branch into another.

        Args:
            source: The repository that the commits come from: the same repository, or a fork.
            title: The title (default: the name of the branch).

        Raises:
            NotFound: The branch does not exist.
        """
        row = PullRequest(
            number=0,
            repository=repository.full_name,
            source=source.full_name,
            source_branch=source_branch,
            target_branch=target_branch,
            title=title or source_branch,
            commit=self._commit(source, source_branch),
            target_commit=self._commit(repository, target_branch),
        )
        with self._lock:
            number = 1 + sum(known.repository == row.repository for known in self._rows)
            row = replace(row, number=number)
            self._rows.append(row)
        self._tell(PullRequestChange("opened", row, before=row))
        return row

    def edit(self, row: PullRequest, **changes: str) -> PullRequest:
        """Change the ``title`` or ``target_branch``.

        Raises:
            NotFound: The pull request does not exist.
        """
        return self._change("edited", row, **changes)

    def close(self, row: PullRequest) -> PullRequest:
        """Close it without merging it.

        Raises:
            NotFound: The pull request does not exist.
        """
        return self._change("closed", row, state="CLOSED")

    def reopen(self, row: PullRequest) -> PullRequest:
        """Reopen a closed pull request.

        Raises:
            NotFound: The pull request does not exist.
        """
        return self._change("reopened", row, state="OPEN")

    def merge(self, row: PullRequest) -> PullRequest:
        """Move the target branch to the newest commit of the source, and close the pull request.

        Raises:
            NotFound: The pull request, or one of its repositories, does not exist.
        """
        row = self.current(row)
        repository, source = self._find(row.repository), self._find(row.source)
        if repository is None or source is None:
            raise NotFound(f"A repository of pull request {row.number} is gone.")
        self._git.take(repository, row.target_branch, row.commit, source=source)
        return self._change("merged", row, state="MERGED", target_commit=row.commit)

    def branch_deleted(self, row: PullRequest) -> None:
        """Handle the deletion of an open pull request's branch (default: do nothing)."""

    def current(self, row: PullRequest) -> PullRequest:
        """Return a pull request as it is now.

        Raises:
            NotFound: The pull request does not exist.
        """
        with self._lock:
            return self._rows[self._place(row)]

    def of(self, repository: str) -> list[PullRequest]:
        """List the pull requests for a repository, by its full name, the newest first."""
        with self._lock:
            return [row for row in reversed(self._rows) if row.repository == repository]

    def find(self, repository: str, number: str) -> PullRequest | None:
        """Return a pull request by the repository's full name and its number in digits."""
        return next((row for row in self.of(repository) if str(row.number) == number), None)

    def find_open(
        self, repository: str, source: str, source_branch: str, target_branch: str
    ) -> PullRequest | None:
        """Return the open pull request between two branches. Hosts allow only one.

        Args:
            repository: The full name of the repository that it is for.
            source: The full name of the repository that its commits come from.
        """
        wanted = (source, source_branch, target_branch)
        for row in self.of(repository):
            if row.is_open and (row.source, row.source_branch, row.target_branch) == wanted:
                return row
        return None

    def clear(self) -> None:
        """Remove all pull requests."""
        with self._lock:
            self._rows.clear()

    def _change(self, action: Action, row: PullRequest, **changes: str) -> PullRequest:
        with self._lock:
            place = self._place(row)
            before = self._rows[place]
            after = self._rows[place] = replace(before, **changes)  # type: ignore[arg-type]
        self._tell(PullRequestChange(action, after, before))
        return after

    def _place(self, row: PullRequest) -> int:
        for place, known in enumerate(self._rows):
            if (known.repository, known.number) == (row.repository, row.number):
                return place
        raise NotFound(f"The sandbox has no pull request {row.number} of {row.repository}.")

    def _commit(self, repository: Served, branch: str) -> str:
        branches = self._git.branches(repository)
        if branch not in branches:
            raise NotFound(f"The sandbox's {repository.full_name} has no branch {branch!r}.")
        return branches[branch]

    def _pushed(self, served: Served, updates: Sequence[RefUpdate]) -> None:
        moved = {update.name: update.after for update in updates if update.kind == "branch"}
        with self._lock:
            rows = [
                row
                for row in self._rows
                if row.is_open and row.source == served.full_name and row.source_branch in moved
            ]
        for row in rows:
            commit = moved[row.source_branch]
            if commit is None:
                self.branch_deleted(row)
            else:
                self._change("pushed", row, commit=commit)
