"""Where a sandbox keeps its repositories: in memory, until a git client asks for one.

Most tests of a provider only list repositories and branches. To write a repository to the disk
takes longer than such a test.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Protocol

from dulwich.object_store import MemoryObjectStore
from dulwich.objects import ObjectID, ShaFile
from dulwich.refs import DictRefsContainer, Ref
from dulwich.repo import BaseRepo, Repo

from deploycore.testing.bare import make_bare, write_refs

__all__ = ["Contents", "Served"]

IN_MEMORY_MOST = 1024 * 1024
"""The number of bytes from which a repository is on the disk."""


class Served(Protocol):
    """The attributes that a host's own class for repositories must have."""

    @property
    def full_name(self) -> str:
        """Owner and slug with a slash between them."""

    @property
    def default_branch(self) -> str:
        """The branch that ``HEAD`` points to, even if there is no commit."""


class Contents:
    """The content of repositories, by their full name.

    Attributes:
        lock: Held while a repository is changed or written to the disk.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._paths: dict[str, Path] = {}
        self._in_memory: dict[str, BaseRepo] = {}
        self._bytes: dict[str, int] = {}

    @cached_property
    def _directory(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(prefix="loopback-host-")

    def close(self) -> None:
        """Remove everything from the disk."""
        with self.lock:
            if "_directory" in vars(self):
                self._directory.cleanup()

    @contextmanager
    def reading(self, repository: Served) -> Iterator[BaseRepo | None]:
        """A context with a repository to read; ``None`` if it never had content."""
        name = repository.full_name
        with self.lock:
            found, path = self._in_memory.get(name), self._paths.get(name)
        if path is None:
            yield found
            return
        with Repo(str(path)) as repo:
            yield repo

    @contextmanager
    def changing(self, repository: Served) -> Iterator[BaseRepo]:
        """A context with a repository to change, which is created if necessary."""
        with self.lock:
            if repository.full_name not in self._paths:
                yield self._in_memory.setdefault(repository.full_name, _empty())
                return
            with self.on_disk(repository) as repo:
                yield repo

    def add_objects(
        self, repo: BaseRepo, repository: Served, objects: Mapping[ObjectID, ShaFile]
    ) -> None:
        """Add objects to a repository that is being changed."""
        name = repository.full_name
        repo.object_store.add_objects([(found, None) for found in objects.values()])
        self._bytes[name] = self._bytes.get(name, 0) + sum(
            each.raw_length() for each in objects.values()
        )

    def write_large(self, repository: Served) -> None:
        """Write a repository to the disk if it is too large for the memory."""
        if self._bytes.get(repository.full_name, 0) >= IN_MEMORY_MOST:
            self._path(repository)

    @contextmanager
    def on_disk(self, repository: Served) -> Iterator[Repo]:
        """A context with a repository on the disk, where it is written if necessary.

        A ``Repo`` must not be shared by several threads, so each context opens its own.
        """
        with Repo(str(self._path(repository))) as repo:
            yield repo

    def _path(self, repository: Served) -> Path:
        name = repository.full_name
        with self.lock:
            known = self._paths.get(name)
            if known is None:
                known = Path(self._directory.name, f"{len(self._paths)}.git")
                make_bare(known, repository.default_branch)
                if name in self._in_memory:
                    _write(self._in_memory[name], known)
                self._paths[name] = known
                self._in_memory.pop(name, None)
            return known


def _empty() -> BaseRepo:
    return BaseRepo(MemoryObjectStore(), DictRefsContainer({}))


def _write(source: BaseRepo, path: Path) -> None:
    store = source.object_store
    with Repo(str(path)) as repo:
        repo.object_store.add_objects([(store[name], None) for name in store])
        write_refs(repo, {Ref(name): source.refs[name] for name in source.refs.allkeys()})
