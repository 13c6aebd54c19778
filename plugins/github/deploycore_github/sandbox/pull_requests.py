"""The sandbox's pull requests. They have no REST API here: tests make them by its methods."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from deploycore.errors import NotFound
from deploycore.testing.repositories import RefUpdate

__all__ = ["PullRequest", "PullRequests"]


@dataclass(frozen=True)
class PullRequest:
    """A pull request as a row.

    Attributes:
        number: Its number in the repository that it is for.
        repository: The full name of that repository.
        source: The full name of the one that the commits come from.
        commit: The newest commit of its branch.
    """

    number: int
    repository: str
    source: str
    source_branch: str
    target_branch: str
    title: str
    commit: str
    target_commit: str
    state: Literal["open", "closed"] = "open"
    merged: bool = False


class PullRequests:
    """All of them. Safe to use from several threads.

    Args:
        tell: Told of each change, with GitHub's name of what was done.
    """

    def __init__(self, tell: Callable[[str, PullRequest], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._rows: list[PullRequest] = []

    def add(self, row: PullRequest) -> PullRequest:
        """Add one, whose number is given here."""
        with self._lock:
            number = 1 + sum(known.repository == row.repository for known in self._rows)
            row = replace(row, number=number)
            self._rows.append(row)
        self._tell("opened", row)
        return row

    def change(self, row: PullRequest, action: str, **changes: str | bool) -> PullRequest:
        """Change one and tell of it.

        Raises:
            NotFound: There is no such pull request.
        """
        with self._lock:
            place = self._place(row)
            row = replace(self._rows[place], **changes)  # type: ignore[arg-type]
            self._rows[place] = row
        self._tell(action, row)
        return row

    def current(self, row: PullRequest) -> PullRequest:
        """One as it is now.

        Raises:
            NotFound: There is no such pull request.
        """
        with self._lock:
            return self._rows[self._place(row)]

    def pushed(self, repository: str, updates: Sequence[RefUpdate]) -> None:
        """Move those that are open to the new commits of their branches."""
        moved = {update.name: update.after for update in updates if update.kind == "branch"}
        with self._lock:
            rows = [row for row in self._rows if row.source == repository and row.state == "open"]
        for row in rows:
            commit = moved.get(row.source_branch)
            if commit is not None:
                self.change(row, "synchronize", commit=commit)

    def _place(self, row: PullRequest) -> int:
        for place, known in enumerate(self._rows):
            if (known.repository, known.number) == (row.repository, row.number):
                return place
        raise NotFound(f"The sandbox has no pull request {row.number} of {row.repository}.")
