"""The git cache: fetched commits, kept in one bare repository for each remote.

``cached_repository`` describes the layout of such a repository, and how processes share it.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from deploycore.disk.removal import Remains, measure_tree, remove_tree
from deploycore.errors import ConfigurationError
from deploycore.git.repositories.cached_repository import (
    CachedRepository,
    CacheEntry,
    read_url,
    remove_later,
)

__all__ = ["CacheEntry", "RepositoryCache"]

_GIB = 1024**3
_NAME = re.compile(r"[0-9a-f]{32}")
_REMOVED = ".removed-"


class RepositoryCache:
    """A cache of fetched repositories, which any number of processes may use at once.

    Args:
        directory: Created on first use, with access for its owner only. Its file system must
            support locks.
        max_bytes: Maximum size of all repositories together. ``prune`` removes the least recently
            used ones first.
    """

    def __init__(self, directory: Path, *, max_bytes: int = 10 * _GIB) -> None:
        self.directory = directory.absolute()
        self._max_bytes = max_bytes

    def repository(
        self, url: str, *, wait: Callable[[float], None] = time.sleep
    ) -> CachedRepository:
        """Return the repository of a remote, whether it exists yet or not.

        Args:
            url: The remote's URL, without credentials.
            wait: Waits for this many seconds while another process holds a lock. An exception
                that it raises is passed on.
        """
        name = hashlib.sha256(url.encode()).hexdigest()[:32]
        return CachedRepository(self.directory / name, url, wait)

    def entries(self) -> list[CacheEntry]:
        """List the repositories in the cache, the most recently used first."""
        return [entry for entry, _ in self._found()]

    def remove(self, url: str) -> bool:
        """Remove the repository of one remote.

        Returns:
            Whether the repository was removed. It may not exist, or may be in use.

        Raises:
            ConfigurationError: It could not be removed.
        """
        return self._remove(self.repository(url))

    def prune(self, max_bytes: int | None = None) -> list[CacheEntry]:
        """Remove the least recently used repositories until the others are within the limit.

        Args:
            max_bytes: Maximum size (default: the limit of this cache).

        Returns:
            The removed repositories.

        Raises:
            ConfigurationError: A repository could not be removed.
        """
        most = self._max_bytes if max_bytes is None else max_bytes
        found = self._found()
        left = sum(entry.bytes for entry, _ in found)
        removed, failure = [], None
        for entry, repository in reversed(found):
            if left <= most:
                break
            try:
                if self._remove(repository):
                    removed.append(entry)
                    left -= entry.bytes
            except ConfigurationError as error:
                failure = failure or error  # the others are still removed
        if failure is not None:
            raise failure
        return removed

    def leftovers(self) -> list[Remains]:
        """List repositories whose removal did not finish, with their sizes; nothing is changed."""
        with suppress(OSError):
            removed = [each for each in os.listdir(self.directory) if each.startswith(_REMOVED)]
            found = [measure_tree(self.directory / each) for each in sorted(removed)]
            return [each for each in found if each is not None]
        return []

    def _found(self) -> list[tuple[CacheEntry, CachedRepository]]:
        """All repositories, the most recently used first."""
        found = [(each.entry(), each) for each in self._repositories()]
        known = [(entry, each) for entry, each in found if entry is not None]
        return sorted(known, key=lambda each: each[0].used_at, reverse=True)

    def _repositories(self) -> Iterator[CachedRepository]:
        with suppress(OSError):
            for path in sorted(self.directory.iterdir()):
                if path.name.startswith(_REMOVED):
                    remove_later(path)
                elif _NAME.fullmatch(path.name) and path.is_dir():
                    # Found by its name: it takes space even if it is damaged.
                    yield CachedRepository(path, read_url(path) or "")

    def _remove(self, repository: CachedRepository) -> bool:
        aside = self.directory / f"{_REMOVED}{secrets.token_hex(8)}"
        with repository.unused() as is_unused:
            if not is_unused:
                return False
            try:
                repository.path.rename(aside)
            except FileNotFoundError:
                return False
            except OSError as error:
                raise _not_removed(repository.path, error.strerror or "") from error
        left = remove_tree(aside)
        if left is not None:
            raise _not_removed(repository.path, str(left))
        return True


def _not_removed(path: Path, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path} could not be removed: {reason}.",
        hint="Correct the permissions of the cache's directory, then try again.",
        path=str(path),
    )
