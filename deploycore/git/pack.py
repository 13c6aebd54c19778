"""A received pack: looked through before anything is unpacked, then indexed and read.

A pack of a few kilobytes can unpack to gigabytes. Each object says in its header how large it
is, and each delta how large its result; both are checked against the limits, with inflation
bounded by what the header said, before dulwich sees any of it. Indexing hashes every object,
so whatever is later found under a hash has that hash.

Format: https://git-scm.com/docs/gitformat-pack
"""

from __future__ import annotations

import mmap
import os
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from io import BytesIO
from pathlib import Path
from typing import TypeVar

from dulwich.object_format import DEFAULT_OBJECT_FORMAT
from dulwich.objects import Blob, Commit, ObjectID, ShaFile, Tree
from dulwich.pack import Pack, PackData, write_pack_index_v2

from deploycore.errors import CorruptPack, DeploycoreError, LimitExceeded
from deploycore.git.disk import write_file
from deploycore.git.operation import Operation
from deploycore.git.wording import clean

__all__ = ["CommitInfo", "ReceivedPack", "TreeEntry", "open_pack"]

Result = TypeVar("Result")

_HEADER = 12
_TRAILER = 20
_HASH = 20
_OFS_DELTA = 6
_REF_DELTA = 7
_KINDS = frozenset((1, 2, 3, 4, _OFS_DELTA, _REF_DELTA))
_FIRST_STEP = 4096
_STEP = 64 * 1024
_CHECK_EVERY = 256
_COMMIT_BYTES_MOST = 1024 * 1024
_MODE = re.compile(rb"[0-7]{1,7}")


@dataclass(frozen=True)
class TreeEntry:
    """One line of a tree object; nothing of it is to be trusted."""

    name: bytes
    mode: int
    hash: ObjectID


@dataclass(frozen=True)
class CommitInfo:
    """A commit, its texts fit for a terminal."""

    tree: ObjectID
    has_parents: bool
    author: str
    subject: str
    committed_at: datetime


class ReceivedPack:
    """The objects of a pack, by hash."""

    def __init__(self, pack: Pack, source: str) -> None:
        self._pack = pack
        self._source = source

    @property
    def checksum(self) -> str:
        """What names the pack's file in a repository."""
        return self._pack.data.get_stored_checksum().hex()

    def commit(self, commit: str) -> CommitInfo:
        """Read a commit.

        Raises:
            CorruptPack: The pack lacks it, or it is no commit.
            LimitExceeded: It is larger than commits are.
        """
        return self._guarded(lambda: _commit_info(self._read(ObjectID(commit.encode()), Commit)))

    def tree(self, tree: ObjectID) -> Iterator[TreeEntry]:
        """Read a tree, one level of it, an entry only when it is asked for.

        Raises:
            CorruptPack: The pack lacks it, or it is no tree.
        """
        entries = _entries(self._guarded(lambda: self._read(tree, Tree)))
        while (entry := self._guarded(lambda: next(entries, None))) is not None:
            yield entry

    def blob(self, blob: ObjectID) -> bytes:
        """Read a file.

        Raises:
            CorruptPack: The pack lacks it, or it is no file.
        """
        return self._guarded(lambda: self._read(blob, Blob))

    def _read(self, name: ObjectID, kind: type[ShaFile]) -> bytes:
        if name not in self._pack:
            raise ValueError(f"the object {name.decode()} is missing")
        number, content = self._pack.get_raw(name)
        if number != kind.type_num:
            raise ValueError(f"{name.decode()} is no {kind.type_name.decode()}")
        return content

    def _guarded(self, read: Callable[[], Result]) -> Result:
        try:
            return read()
        except (DeploycoreError, OSError, MemoryError):
            raise
        except Exception as error:
            reason = _reason(error)
        raise _corrupt(self._source, reason)


@contextmanager
def open_pack(path: Path, source: str, operation: Operation) -> Iterator[ReceivedPack]:
    """Check a pack file, index it beside itself, and open it.

    Args:
        path: Ends in ``.pack``; the index gets the same name with ``.idx``.
        source: The URL that it came from, for messages.

    Raises:
        CorruptPack: It is not what its checksums promise.
        LimitExceeded: It would unpack to more than the limits allow.
    """
    pack = _verified(path, source, operation)
    with pack:
        yield ReceivedPack(pack, source)


def _verified(path: Path, source: str, operation: Operation) -> Pack:
    try:
        _look_through(path, operation)
        with PackData(os.fspath(path), DEFAULT_OBJECT_FORMAT) as data:
            data.check()
            _write_index(data, path.with_suffix(".idx"), operation)
        return Pack(os.fspath(path.with_suffix("")), object_format=DEFAULT_OBJECT_FORMAT)
    except (DeploycoreError, OSError, MemoryError):
        raise
    except Exception as error:
        reason = _reason(error)
    raise _corrupt(source, reason)


def _write_index(data: PackData, path: Path, operation: Operation) -> None:
    entries = data.sorted_entries(progress=lambda done, of: operation.check())
    index = BytesIO()
    write_pack_index_v2(index, entries, data.get_stored_checksum())
    write_file(path, index.getvalue())


def _look_through(path: Path, operation: Operation) -> None:
    size = path.stat().st_size
    if size < _HEADER + _TRAILER:
        raise ValueError("it ends too early")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pack:
        if pack[:4] != b"PACK" or int.from_bytes(pack[4:8]) not in (2, 3):
            raise ValueError("it does not begin as a pack does")
        scanner = _Scanner(pack, size - _TRAILER, operation)
        for number in range(int.from_bytes(pack[8:_HEADER])):
            if number % _CHECK_EVERY == 0:
                operation.check()
            scanner.skip_object()
        if scanner.position != scanner.end:
            raise ValueError("it holds more than it says")


class _Scanner:
    """Walks from object to object and adds up what they unpack to."""

    def __init__(self, pack: mmap.mmap, end: int, operation: Operation) -> None:
        self.position = _HEADER
        self.end = end
        self._pack = pack
        self._operation = operation
        self._total = 0

    def skip_object(self) -> None:
        first = self._byte()
        kind, size, shift = (first >> 4) & 7, first & 15, 4
        while first & 0x80:
            first = self._byte()
            size |= (first & 0x7F) << shift
            shift += 7
        if kind not in _KINDS:
            raise ValueError(f"it has an object of the unknown kind {kind}")
        if kind == _OFS_DELTA:
            while self._byte() & 0x80:
                pass
        elif kind == _REF_DELTA:
            self.position += 20
        self._count(size)
        beginning = self._inflate(size)
        if kind in (_OFS_DELTA, _REF_DELTA):
            self._count(_result_size(beginning))

    def _byte(self) -> int:
        if self.position >= self.end:
            raise ValueError("it ends too early")
        self.position += 1
        return self._pack[self.position - 1]

    def _count(self, size: int) -> None:
        settings = self._operation.settings
        self._total += size
        if size > settings.object_bytes_most:
            raise _too_large("a file", settings.object_bytes_most, "object_bytes_most")
        if self._total > settings.checkout_bytes_most:
            raise _too_large("files", settings.checkout_bytes_most, "checkout_bytes_most")

    def _inflate(self, size: int) -> bytes:
        """Step over compressed data that should become ``size`` bytes; returns their start."""
        inflater = zlib.decompressobj()
        step, produced, beginning, rest = _FIRST_STEP, 0, b"", b""
        while not inflater.eof:
            if not rest:
                rest = self._pack[self.position : min(self.position + step, self.end)]
                self.position += len(rest)
                step = _STEP
                if not rest:
                    raise ValueError("it ends too early")
            # One byte more than was declared, to notice data that is longer.
            data = inflater.decompress(rest, min(size - produced + 1, _STEP))
            rest = inflater.unconsumed_tail
            produced += len(data)
            beginning = beginning or data[:32]
            if produced > size:
                break
        if produced != size:
            raise ValueError("an object is not as long as it says")
        self.position -= len(inflater.unused_data)
        return beginning


def _result_size(delta: bytes) -> int:
    """The size of what a delta makes: the second of the two numbers that it begins with."""
    sizes, shift = [0], 0
    for byte in delta:
        sizes[-1] |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            if len(sizes) == 2:
                return sizes[1]
            sizes.append(0)
            shift = 0
    raise ValueError("a delta has no sizes")


def _entries(content: bytes) -> Iterator[TreeEntry]:
    """Not dulwich's parser, whose list of a bomb's entries takes 13 times the tree's size."""
    position = 0
    while position < len(content):
        space = content.index(b" ", position)
        end = content.index(b"\0", space)
        mode, name = content[position:space], content[space + 1 : end]
        position = end + 1 + _HASH
        if position > len(content) or not _MODE.fullmatch(mode):
            raise ValueError("a tree is malformed")
        yield TreeEntry(name, int(mode, 8), ObjectID(content[end + 1 : position].hex().encode()))


def _commit_info(content: bytes) -> CommitInfo:
    if len(content) > _COMMIT_BYTES_MOST:
        raise LimitExceeded(f"The commit is larger than {_COMMIT_BYTES_MOST:,} bytes.")
    commit = Commit.from_string(content)
    author = commit.author
    name = clean(author.split(b"<")[0]) or clean(author)
    return CommitInfo(
        tree=commit.tree,
        has_parents=bool(commit.parents),
        author=name,
        subject=clean(commit.message.lstrip().split(b"\n", 1)[0]),
        committed_at=_moment(commit.commit_time, commit.commit_timezone),
    )


def _moment(seconds: int, offset: int) -> datetime:
    """A commit's time; the epoch where somebody wrote a time that no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, timezone(timedelta(seconds=offset)))
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)


def _reason(error: Exception) -> str:
    return clean(str(error)) or type(error).__name__


def _corrupt(source: str, reason: str) -> CorruptPack:
    return CorruptPack(
        f"What the git server of {source} sent is damaged: {reason}.",
        hint="Try again; if it stays, run git fsck on the server's repository.",
        url=source,
    )


def _too_large(what: str, most: int, limit: str) -> LimitExceeded:
    return LimitExceeded(
        f"The repository holds {what} of more than {most:,} bytes.",
        hint=f"Raise {limit} if this repository is to be trusted.",
        limit=limit,
    )
