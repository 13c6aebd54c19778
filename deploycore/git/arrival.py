"""One repository's objects for one checkout: what the cache has, and what is fetched besides.

A fetch may fail in the middle and be tried again; each try begins with an empty directory and
an empty pack. Whatever is wrong with what comes in is told as a damaged pack, once, here.
"""

from __future__ import annotations

import os
import secrets
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deploycore.disk.removal import remove_tree
from deploycore.errors import CorruptPack
from deploycore.git.checkout.arriving import Arriving
from deploycore.git.checkout.files import Files
from deploycore.git.operation import Operation
from deploycore.git.packs.objects import SHA1, TAG, Damaged, ObjectFormat, format_of, tagged
from deploycore.git.packs.pack import Objects
from deploycore.git.packs.receive import PackReceiver, Received
from deploycore.git.repositories.cached_repository import CachedRepository
from deploycore.git.wording import clean, file_failure

__all__ = ["Arrival", "peeled", "refusing_damage"]

_MAX_HAVES = 8
_MAX_TAGS = 1000


class Arrival:
    """Takes what a fetch gives; see ``Intake``.

    Args:
        url: Where it comes from, for messages.
        root: The directory that is written; emptied when a fetch begins anew.
        directory: Where the pack and temporary files are.
        staging: For parts of files; see ``Arriving``.
        cached: What was fetched before, if there is a cache that is believed.
        open_files: Opens ``root`` for writing.
        early: Whether files are to be written as soon as they arrive.

    Attributes:
        cached: As above.
        capabilities: What the server said formerly.
        received: The pack, once it is complete; ``None`` if none was needed.
        former: The commits that the pack builds upon.
    """

    def __init__(
        self,
        url: str,
        root: Path,
        directory: Path,
        operation: Operation,
        *,
        staging: Path,
        cached: CachedRepository | None,
        open_files: Callable[[], Files],
        early: bool,
    ) -> None:
        self.cached = cached
        self.capabilities: frozenset[bytes] = cached.capabilities if cached else frozenset()
        self.received: Received | None = None
        self.former: list[str] = []
        self.arriving: Arriving | None = None
        self._url = url
        self._root = root
        self._directory = directory
        self._staging = staging
        self._operation = operation
        self._counts = operation.counts
        self._open_files = open_files
        self._early = early
        self._files: Files | None = None
        self._receiver: PackReceiver | None = None
        self._pack = directory
        self._objects = self._none(SHA1)
        self._commits: list[str] = []
        self._is_due = False
        if cached:
            self._objects = cached.objects(directory, operation)
            self._commits = [each for each in cached.commits if self._has(each)]
            self._is_due = cached.is_due

    @property
    def uses_cache(self) -> bool:
        """Whether what comes out depends on what was fetched before."""
        return bool(self._commits) and (self.received is None or bool(self.former))

    @property
    def files(self) -> Files:
        """The directory that is written, open."""
        if self._files is None:
            self._files = self._open_files()
        return self._files

    def holds(self, commit: str) -> bool:
        """Whether a commit need not be fetched."""
        return commit in self._commits

    def haves(self) -> list[str]:
        """Commits that are held, which the server may build upon: the newest."""
        return [] if self._is_due else self._commits[-_MAX_HAVES:]

    def begin(self, commit: str) -> None:
        """A pack with this commit is going to come; one that came before counts no more."""
        self._drop()
        self._operation.count_again(self._counts)
        object_format = format_of(commit)
        if self._objects.object_format is not object_format:
            # The remote was made anew, in another format.
            self._objects.close()
            self._objects, self._commits = self._none(object_format), []
        self.former = self.haves()
        early = self._early and not self.former
        with self._typed():
            _empty(self._root)
            self.arriving = Arriving(
                bytes.fromhex(commit) if early else None,
                self.files,
                os.fsencode(self._staging),
                self._operation,
                object_format,
            )
            self._pack = self._directory / f"{secrets.token_hex(8)}.pack"
            self._receiver = PackReceiver(self._pack, self.arriving, self._operation, self._objects)

    def feed(self, data: bytes) -> None:
        """The next bytes of the pack."""
        if self._receiver is not None:
            with self._typed():
                self._receiver.feed(data)

    def complete(self) -> Objects:
        """All objects that there are, when all has come.

        Raises:
            CorruptPack: The pack is damaged.
            LimitExceeded: It holds too much.
        """
        if self._receiver is not None:
            with self._typed():
                self.received = self._receiver.finish()
                self._objects.packs.insert(0, self.received.pack)
                self._receiver = None
        return self._objects

    def close(self) -> None:
        """Give all files back."""
        self._drop()
        self._objects.close()

    def __enter__(self) -> Arrival:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _none(self, object_format: ObjectFormat) -> Objects:
        return Objects((), os.fspath(self._directory), self._operation, object_format)

    def _has(self, commit: str) -> bool:
        object_format = self._objects.object_format
        return format_of(commit) is object_format and object_format.unhex(commit) in self._objects

    def _drop(self) -> None:
        """Let go of all that is open; what came in part is removed."""
        if self.arriving is not None:
            with suppress(OSError):  # it is in a directory that will be removed as a whole
                self.arriving.drop()
            self.arriving = None
        if self._receiver is not None:
            self._receiver.close()
            self._receiver = None
            with suppress(OSError):
                self._pack.unlink()
        if self._files is not None:
            self._files.close()
            self._files = None

    @contextmanager
    def _typed(self) -> Iterator[None]:
        """Tell failures of the disk from those of the network, which are ``OSError`` too."""
        try:
            with refusing_damage(self._url):
                yield
        except OSError as error:
            raise file_failure(self._root, error) from error


@contextmanager
def refusing_damage(url: str) -> Iterator[None]:
    """Tell whatever objects turn out to be as a damaged pack.

    Args:
        url: Where they came from.

    Raises:
        CorruptPack: Something within proved to be damaged.
    """
    try:
        yield
        return
    except (Damaged, zlib.error) as error:
        reason = clean(str(error))
    raise CorruptPack(
        f"What the git server of {url} sent is damaged: {reason}.",
        hint="Try again. If it happens again, run git fsck on the server's repository.",
        url=url,
    )


def peeled(name: bytes, objects: Objects) -> bytes:
    """The commit that a tag names, or that has this name itself.

    Raises:
        Damaged: There is none.
    """
    for _ in range(_MAX_TAGS):
        if objects.kind(name) != TAG:
            break
        name = tagged(objects.read(name, TAG), objects.object_format)
    return name


def _empty(directory: Path) -> None:
    with suppress(FileNotFoundError):
        for name in os.listdir(directory):
            left = remove_tree(directory / name)
            if left is not None:
                raise left.error
