"""One repository's objects for one checkout: those in the cache, and those that are fetched.

A fetch may fail in the middle and be retried. Each attempt starts with an empty directory and an
empty pack. Here, and only here, damage of any kind becomes a ``CorruptPack`` error.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deploycore.disk.removal import remove_tree
from deploycore.errors import CorruptPack
from deploycore.git.checkout.files import Files
from deploycore.git.checkout.streaming import StreamingCheckout
from deploycore.git.operation import Operation
from deploycore.git.packs.compression import DECOMPRESSION_ERRORS
from deploycore.git.packs.objects import SHA1, TAG, Damaged, ObjectFormat, format_of, tagged
from deploycore.git.packs.pack import Objects
from deploycore.git.packs.receive import PackReceiver, Received
from deploycore.git.wording import clean, file_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deploycore.git.repositories.cached_repository import CachedRepository

__all__ = ["RepositoryFetch", "peeled", "refusing_damage"]

_MAX_HAVES = 8
_MAX_TAGS = 1000


class RepositoryFetch:
    """Receives what a fetch delivers; see ``FetchReceiver``.

    Args:
        url: The repository's URL, for messages.
        target: What the user asked for, for messages.
        root: The directory that is written. It is emptied when a fetch starts again.
        directory: For the pack and temporary files.
        staging: For large files that are not complete; see ``StreamingCheckout``.
        cached: The repository in the cache, if it is used.
        open_files: Opens ``root`` for writing.
        early: Whether to write files as soon as they arrive.

    Attributes:
        cached: The repository in the cache, if it is used.
        capabilities: The server's capabilities, if the cache knows them.
        received: The pack, once it is complete; ``None`` if none was needed.
        former: The commits that the pack builds on.
        has_cache_failed: Whether a disk failed that may be the cache's, not the target's.
    """

    def __init__(
        self,
        url: str,
        target: Path,
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
        self.has_cache_failed = False
        self.streaming: StreamingCheckout | None = None
        self._url = url
        self._target = target
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
        """Whether the result depends on objects in the cache."""
        return bool(self._commits) and (self.received is None or bool(self.former))

    @property
    def files(self) -> Files:
        """The directory that is written, open."""
        if self._files is None:
            self._files = self._open_files()
        return self._files

    def holds(self, commit: str) -> bool:
        """Whether a commit is in the cache, so that it need not be fetched."""
        return commit in self._commits

    def haves(self) -> list[str]:
        """The newest commits in the cache, which the server may build on."""
        return [] if self._is_due else self._commits[-_MAX_HAVES:]

    def begin(self, commit: str) -> None:
        """Start to receive a pack with this commit; what an earlier attempt received is dropped."""
        self._drop()
        self._operation.count_again(self._counts)
        object_format = format_of(commit)
        if self._objects.object_format is not object_format:
            # The remote was created again, with another object format.
            self._objects.close()
            self._objects, self._commits = self._none(object_format), []
        self.former = self.haves()
        early = self._early and not self.former
        with self._typed():
            _empty(self._root)
            self.streaming = StreamingCheckout(
                bytes.fromhex(commit) if early else None,
                self.files,
                os.fsencode(self._staging),
                self._operation,
                object_format,
            )
            self._pack = self._directory / f"{secrets.token_hex(8)}.pack"
            self._receiver = PackReceiver(
                self._pack, self.streaming, self._operation, self._objects
            )

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the pack."""
        if self._receiver is not None:
            with self._typed():
                self._receiver.feed(data)

    def complete(self) -> Objects:
        """Finish the pack, and return all objects.

        Raises:
            CorruptPack: The pack is damaged.
            LimitExceeded: The pack exceeds a limit.
        """
        if self._receiver is not None:
            with self._typed():
                self.received = self._receiver.finish()
                self._objects.packs.insert(0, self.received.pack)
                self._receiver = None
        return self._objects

    def close(self) -> None:
        """Close all files."""
        self._drop()
        self._objects.close()

    def __enter__(self) -> RepositoryFetch:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _none(self, object_format: ObjectFormat) -> Objects:
        return Objects((), os.fspath(self._directory), self._operation, object_format)

    def _has(self, commit: str) -> bool:
        object_format = self._objects.object_format
        return format_of(commit) is object_format and object_format.unhex(commit) in self._objects

    def _drop(self) -> None:
        """Close what is open, and remove what is incomplete."""
        if self.streaming is not None:
            with suppress(OSError):  # it is in a directory that will be removed as a whole
                self.streaming.drop()
            self.streaming = None
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
        """Turn disk failures into typed errors: failures of the network are ``OSError``, too."""
        try:
            with refusing_damage(self._url):
                yield
        except OSError as error:
            self.has_cache_failed = self._is_cache_elsewhere()
            raise file_failure(self._target, error) from error

    def _is_cache_elsewhere(self) -> bool:
        """Whether the pack is written to another disk than the target: the cache's."""
        try:
            return self._directory.stat().st_dev != self._staging.stat().st_dev
        except OSError:
            return False


@contextmanager
def refusing_damage(url: str) -> Iterator[None]:
    """Turn damage that is found within this context into a typed error.

    Args:
        url: The repository's URL.

    Raises:
        CorruptPack: An object or the pack is damaged.
    """
    try:
        yield
        return
    except (Damaged, *DECOMPRESSION_ERRORS) as error:
        reason = clean(str(error))
    raise CorruptPack(
        f"What the git server of {url} sent is damaged: {reason}.",
        hint="Try again. If it happens again, run git fsck on the server's repository.",
        url=url,
    )


def peeled(name: bytes, objects: Objects) -> bytes:
    """Follow annotated tags to the object that they tag.

    Args:
        name: The hash of a tag, or of any other object, which is returned as it is.

    Raises:
        Damaged: A tag or the object is missing or damaged.
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
