"""Planned files onto the disk, without ever following a link or replacing anything.

Every call names one path element relative to an open directory that was made here, so no
name can lead elsewhere, whatever else happens to the tree. Contents are written as they are:
attributes, filters, line endings and LFS are no business of an untrusted repository.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from deploycore.errors import UnsafeRepository
from deploycore.git.operation import Operation
from deploycore.git.pack import ReceivedPack
from deploycore.git.tree import Directory, File, Gitlink, Planned, Symlink, shown

__all__ = ["Written", "write_tree"]

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Written:
    """A file, link or place of a submodule as it is on disk now."""

    planned: Planned
    stat: os.stat_result


def write_tree(
    pack: ReceivedPack, planned: Iterable[Planned], root: bytes, operation: Operation
) -> Iterator[Written]:
    """Write a plan into an existing, empty directory.

    Args:
        planned: Each directory before what is in it.
        root: The directory; nobody else may write to it meanwhile.

    Yields:
        What was written, directories left out. Nothing is written unless it is asked for.

    Raises:
        UnsafeRepository: Two names are one to this file system.
        OSError: A call of the file system failed.
    """
    directories = _OpenDirectories(root)
    try:
        for each in planned:
            operation.check()
            parent, _, name = each.path.rpartition(b"/")
            descriptor = directories.enter(parent)
            try:
                written = _write(pack, each, name, descriptor, operation)
            except FileExistsError:
                written = None
            if written is None:
                raise _same_name(each.path)
            if not isinstance(each, Directory):
                yield Written(each, written)
    finally:
        directories.close()


def _write(
    pack: ReceivedPack, each: Planned, name: bytes, directory: int, operation: Operation
) -> os.stat_result:
    if isinstance(each, File):
        content = pack.blob(each.hash)
        operation.write(len(content))
        return _write_file(name, content, directory, executable=each.executable)
    if isinstance(each, Symlink):
        operation.write(len(each.target))
        os.symlink(each.target, name, dir_fd=directory)
    elif isinstance(each, Directory | Gitlink):
        os.mkdir(name, dir_fd=directory)
    return os.stat(name, dir_fd=directory, follow_symlinks=False)


def _write_file(name: bytes, content: bytes, directory: int, *, executable: bool) -> os.stat_result:
    mode = 0o777 if executable else 0o666
    descriptor = os.open(name, _NEW_FILE, mode, dir_fd=directory)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


class _OpenDirectories:
    """The directories from the root to where we write, open."""

    def __init__(self, root: bytes) -> None:
        self._open: list[tuple[bytes, int]] = [(b"", os.open(root, _OPEN_DIRECTORY))]

    def enter(self, path: bytes) -> int:
        """Open a directory that is open already or lies directly below one that is."""
        while not _is_within(path, self._open[-1][0]):
            os.close(self._open.pop()[1])
        known, descriptor = self._open[-1]
        if known != path:
            name = path[len(known) :].lstrip(b"/")
            descriptor = os.open(name, _OPEN_DIRECTORY, dir_fd=descriptor)
            self._open.append((path, descriptor))
        return descriptor

    def close(self) -> None:
        """Close what is still open."""
        while self._open:
            os.close(self._open.pop()[1])


def _is_within(path: bytes, directory: bytes) -> bool:
    return not directory or path == directory or path.startswith(directory + b"/")


def _same_name(path: bytes) -> UnsafeRepository:
    return UnsafeRepository(
        f"The repository holds {shown(path)!r} beside a name that this file system takes for"
        " the same.",
        hint="Rename one of the two in the repository.",
        path=shown(path),
    )
