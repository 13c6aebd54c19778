"""The manifest of a checkout: the state of its files, so that the next checkout can reuse them.

For each directory it has the hash of its tree, its files, and the size, times and inode of each
file. A file with the same state still has the content that was written. A file that was modified
has another state and is not reused; git's index works in the same way. If the file system's times
are so coarse that they may not show a modification, new files are not reused either. A manifest
that is damaged, of another version or of another directory is ignored.

It is written and read one directory at a time, since that of a large repository is too large for
memory.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import stat
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from deploycore.disk.durable import open_private
from deploycore.git.checkout.writer import NOT_TAKEN, STATE, state_of
from deploycore.git.packs.hash_table import PATH_HASH_BYTES, HashTable, path_hash

__all__ = [
    "CLOCK_STEP",
    "Described",
    "Manifest",
    "ManifestDirectory",
    "describe",
    "order_of",
    "read_manifest",
    "write_manifest",
]

_MAGIC = f"deploycore manifest 3 {marshal.version} {sys.version_info[:2]}\n".encode()
_DIGEST = 32
_STEP = 64 * 1024
# The lengths of a directory's path and of the rest of its record.
_LENGTHS = struct.Struct("=II")
# The clock of a file system advances in steps; two changes within one step look like one.
CLOCK_STEP = 0.01
# Some file systems store whole seconds only; FAT stores even seconds only.
_SECOND = 1_000_000_000
_COARSEST = 2 * _SECOND


class ManifestDirectory(NamedTuple):
    """One directory of a checkout.

    Attributes:
        path: Its path; ``b""`` for the root.
        tree: The hash of its tree.
        names: The names of the files that may be reused, in the order of the tree.
        states: The states of the same files, packed by ``STATE``.
    """

    path: bytes
    tree: bytes
    names: list[bytes]
    states: bytes


class Described(NamedTuple):
    """The description of a checkout, to be written.

    Attributes:
        root: The device and the inode of its directory.
        directories: In the order of ``order_of``; can be iterated once.
        links: The targets of symbolic links, by path.
        gitlinks: The commits of submodules, by path.
    """

    root: tuple[int, int]
    directories: Iterator[ManifestDirectory]
    links: dict[bytes, bytes]
    gitlinks: dict[bytes, bytes]


class Manifest:
    """The manifest of a checkout, open for reading.

    Args:
        file: Open at the first directory. The manifest closes it.

    Attributes:
        links: The targets of symbolic links, by path.
        gitlinks: The commits of submodules, by path.
    """

    def __init__(
        self, file: BinaryIO, links: dict[bytes, bytes], gitlinks: dict[bytes, bytes]
    ) -> None:
        self.links = links
        self.gitlinks = gitlinks
        self._file = file
        self._places = HashTable(PATH_HASH_BYTES)
        place = file.tell()
        while head := file.read(_LENGTHS.size):
            path, rest = _LENGTHS.unpack(head)
            self._places.add(path_hash(file.read(path)), place)
            place = file.seek(rest, os.SEEK_CUR)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def directory(self, path: bytes) -> ManifestDirectory | None:
        """One directory, if the checkout had it."""
        return next(self._from(path), None)

    def within(self, path: bytes) -> Iterator[ManifestDirectory]:
        """A directory and all below it, each before what is in it."""
        prefix = path and path + b"/"
        for each in self._from(path):
            if each.path != path and not each.path.startswith(prefix):
                return
            yield each

    def _from(self, path: bytes) -> Iterator[ManifestDirectory]:
        place = self._places.get(path_hash(path))
        while place is not None:
            # Others may read between two steps.
            self._file.seek(place)
            head = self._file.read(_LENGTHS.size)
            if not head:
                return
            length, rest = _LENGTHS.unpack(head)
            found = self._file.read(length)
            # The checksum has shown that this program wrote the data. marshal must not read other
            # data.
            yield ManifestDirectory(found, *marshal.loads(self._file.read(rest)))  # noqa: S302
            place += _LENGTHS.size + length + rest


def order_of(path: bytes) -> bytes:
    """The sort key of directory paths, so that subdirectories directly follow their parent."""
    return path and path + b"/"


def describe(
    root: int,
    directories: Iterable[tuple[bytes, bytes, list[bytes]]],
    states: Callable[[bytes], bytes],
    links: dict[bytes, bytes],
    gitlinks: dict[bytes, bytes],
) -> Described:
    """Describe the files of a complete checkout.

    The files must not change until ``CLOCK_STEP`` seconds after the last directory was described.

    Args:
        root: A descriptor of its directory.
        directories: The path, the tree and the names of the files of each directory, in the order
            of ``order_of``.
        states: Returns the known states of the files of a directory, by its path.
    """
    at = os.fstat(root)
    too_new = _too_new(root)

    def found() -> Iterator[ManifestDirectory]:
        for path, tree, names in directories:
            known = states(path)
            if len(known) != len(names) * STATE.size or NOT_TAKEN in known:
                known = _states(root, order_of(path), names)
            if too_new is not None:
                known = _distrusting(known, too_new)
            yield ManifestDirectory(path, tree, names, known)

    return Described((at.st_dev, at.st_ino), found(), links, gitlinks)


def _states(root: int, prefix: bytes, names: list[bytes]) -> bytes:
    return b"".join(
        STATE.pack(*state_of(os.stat(prefix + name, dir_fd=root, follow_symlinks=False)))
        for name in names
    )


def _too_new(root: int) -> int | None:
    """The modification time from which another change to a file may not change its times.

    Returns:
        Nanoseconds; ``None`` if the file system's clock is fine enough to wait for its next step.
    """
    with suppress(OSError):
        os.utime(root)  # to now, by the clock of the file system
        now = os.fstat(root).st_mtime_ns
        if now % _SECOND == 0:
            return now - _COARSEST
    return None


def _distrusting(states: bytes, too_new: int) -> bytes:
    found = STATE.iter_unpack(states)
    return b"".join(NOT_TAKEN if each[1] >= too_new else STATE.pack(*each) for each in found)


def write_manifest(path: Path, described: Described) -> None:
    """Write a manifest, and replace the previous one in one step.

    Raises:
        OSError: It failed, or a described file does not exist.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with open(beside, "wb", opener=open_private) as file:
            file.write(_MAGIC + bytes(_DIGEST))
            digest = hashlib.sha256()
            for piece in _pieces(described):
                digest.update(piece)
                file.write(piece)
            file.seek(len(_MAGIC))
            file.write(digest.digest())
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink()
        raise


def _pieces(described: Described) -> Iterator[bytes]:
    yield marshal.dumps((described.root, described.links, described.gitlinks))
    for path, *rest in described.directories:
        content = marshal.dumps(rest)
        yield _LENGTHS.pack(len(path), len(content)) + path + content


def read_manifest(path: Path, root: Path) -> Manifest | None:
    """Open the manifest of a checkout, if there is a valid one.

    Args:
        root: The current path of the checkout.
    """
    try:
        file = path.open("rb")
    except OSError:
        return None
    try:
        found = _checked(file, root.lstat())
    except OSError:
        found = None
    if found is None:
        file.close()
    return found


def _checked(file: BinaryIO, at: os.stat_result) -> Manifest | None:
    if file.read(len(_MAGIC)) != _MAGIC:
        return None
    wanted, digest = file.read(_DIGEST), hashlib.sha256()
    while piece := file.read(_STEP):
        digest.update(piece)
    if digest.digest() != wanted:
        return None
    file.seek(len(_MAGIC) + _DIGEST)
    place, links, gitlinks = marshal.load(file)  # noqa: S302  as above
    if (at.st_dev, at.st_ino) != place or not stat.S_ISDIR(at.st_mode):
        return None
    return Manifest(file, links, gitlinks)
