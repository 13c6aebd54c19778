"""The content of a sandbox: owners, repositories with branches and tags, and commit statuses."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import ClassVar

from deploycore.errors import NotFound
from deploycore.testing.host import LoopbackHost
from deploycore.testing.repositories import File, GitRepositories
from deploycore.testing.rows import Repository
from deploycore.testing.scenarios import HIDDEN
from deploycore.testing.webhooks import ShownStatus, Webhooks

__all__ = ["RIVAL", "HostContent"]

RIVAL = HIDDEN.owner
"""An owner whose private repositories no credentials can read."""


class HostContent(LoopbackHost):
    """A host with repositories, but without an API. It is the base class of ``Sandbox``.

    Args:
        port: The port to listen on; 0 for any free port.
        latency: Seconds to wait before each response.

    Attributes:
        OWNER: The owner of the repositories that scenarios need; may contain slashes.
        OWNERS: Other owners whose repositories callers can read, such as organizations.
        git: The contents of the repositories.
        webhooks: The registered webhooks and their deliveries.
    """

    OWNER: ClassVar[str] = "ada"
    OWNERS: ClassVar[tuple[str, ...]] = ()

    webhooks: Webhooks

    def __init__(self, *, port: int = 0, latency: float = 0.0) -> None:
        super().__init__(port=port, latency=latency)
        self.git = GitRepositories()
        self.__lock = threading.RLock()
        self.__statuses: dict[tuple[str, str], dict[str, ShownStatus]] = {}
        self.clear_repositories()

    def clear_repositories(self) -> None:
        """Remove all repositories, and all owners that were added."""
        with self.__lock:
            self.__numbers = count(1)
            self.__repositories: dict[str, dict[str, Repository]] = {
                owner: {} for owner in (self.OWNER, *self.OWNERS, RIVAL)
            }

    @property
    def owners(self) -> Sequence[str]:
        """The owners that have repositories, or can have some."""
        with self.__lock:
            return list(self.__repositories)

    def repositories_of(self, owner: str) -> Sequence[Repository] | None:
        """Return the repositories of an owner in the order of creation; ``None`` for an unknown
        owner."""
        with self.__lock:
            rows = self.__repositories.get(owner)
            return None if rows is None else list(rows.values())

    def find(self, owner: str, slug: str) -> Repository | None:
        """A repository, even if it is hidden from callers."""
        with self.__lock:
            return self.__repositories.get(owner, {}).get(slug)

    def named(self, full_name: str) -> Repository | None:
        """A repository by its full name, even if it is hidden from callers."""
        owner, _, slug = full_name.rpartition("/")
        return self.find(owner, slug)

    def existing(self, owner: str, slug: str) -> Repository:
        """Return a repository, even if it is hidden from callers.

        Raises:
            NotFound: The repository does not exist.
        """
        row = self.find(owner, slug)
        if row is None:
            raise NotFound(f"The sandbox has no repository {owner}/{slug}.")
        return row

    def branches(self, repository: Repository) -> Sequence[tuple[str, str]]:
        """Names and commits, by name."""
        return sorted(self.git.branches(repository).items())

    def add_owner(self, owner: str) -> None:
        """Add an owner whose repositories callers can read. An existing owner stays as it is."""
        with self.__lock:
            self.__repositories.setdefault(owner, {})

    def remove_owner(self, owner: str) -> None:
        """Remove an owner with all repositories, if there is one."""
        with self.__lock:
            rows = list(self.__repositories.pop(owner, {}).values())
        for row in rows:
            self.webhooks.remove_all(row.full_name)

    def remove_repository(self, owner: str, slug: str) -> None:
        """Remove a repository and its webhooks, if there is one."""
        with self.__lock:
            self.__repositories.get(owner, {}).pop(slug, None)
        self.webhooks.remove_all(f"{owner}/{slug}")

    def add_repository(
        self,
        owner: str,
        slug: str,
        *,
        name: str = "",
        private: bool = True,
        default_branch: str = "main",
    ) -> Repository:
        """Add an empty repository.

        Raises:
            NotFound: There is no such owner.
        """
        with self.__lock:
            if owner not in self.__repositories:
                raise NotFound(f"The sandbox has no owner {owner!r}.")
            number = next(self.__numbers)
            row = Repository(owner, slug, name or slug, number, private, default_branch)
            self.__repositories[owner][slug] = row
        return row

    def publish(
        self, owner: str, slug: str, branch: str, files: Mapping[str, File], message: str
    ) -> str:
        """Commit files to a branch. The repository and the branch are created if they do not exist.

        Args:
            files: The content by path, with forward slashes; see
                ``deploycore.testing.repositories.File``.

        Returns:
            The hash of the new commit.

        Raises:
            NotFound: The owner does not exist.
        """
        with self.__lock:
            row = self.find(owner, slug)
            row = row or self.add_repository(owner, slug, default_branch=branch)
        return self.git.commit(row, branch, dict(files.items()), message)

    def delete_branches(self, owner: str, slug: str, names: Iterable[str]) -> None:
        """Delete branches in one push. Unknown branches are ignored.

        Raises:
            NotFound: The repository does not exist.
        """
        self.git.delete_branches(self.existing(owner, slug), names)

    def add_branches(self, owner: str, slug: str, names: Iterable[str], *, at: str) -> None:
        """Point branches to an existing commit.

        Raises:
            NotFound: The repository does not exist.
        """
        self.git.add_branches(self.existing(owner, slug), dict.fromkeys(names, at))

    def add_tag(self, owner: str, slug: str, name: str, *, at: str) -> None:
        """Point a tag to an existing commit.

        Raises:
            NotFound: The repository does not exist.
        """
        self.git.add_tag(self.existing(owner, slug), name, at)

    def delete_tag(self, owner: str, slug: str, name: str) -> None:
        """Delete a tag, if it exists.

        Raises:
            NotFound: The repository does not exist.
        """
        self.git.delete_tag(self.existing(owner, slug), name)

    def statuses(self, owner: str, slug: str, commit: str) -> Sequence[ShownStatus]:
        """Return the statuses of a commit, the oldest first."""
        with self.__lock:
            return list(self.__statuses.get((f"{owner}/{slug}", commit), {}).values())

    def put_status(self, repository: Repository, commit: str, status: ShownStatus) -> None:
        """Add a status of a commit, or replace the one with the same key."""
        with self.__lock:
            shown = self.__statuses.setdefault((repository.full_name, commit), {})
            shown[status.key] = status
