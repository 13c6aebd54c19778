"""Write files to the disk, in this process or in a second one.

Unpacking and writing take about the same time, and threads would share one interpreter. So if there
are many files, a second process writes them. It runs only this file, which therefore imports only
the standard library. It gets paths and contents over a pipe, and never a credential. When its
parent dies, the pipe is closed, and it ends.

No path leads through a link: the tree is new and private, and links are created last.
"""

from __future__ import annotations

import marshal
import os
import stat
import struct
import sys
from contextlib import suppress
from typing import IO, Any, Protocol

__all__ = [
    "LINK",
    "NOT_TAKEN",
    "STARTED",
    "STATE",
    "FileWriter",
    "Job",
    "read_batch",
    "state_of",
    "write_batch",
]

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# Modes of new files, before the umask: plain, executable. Other users can never write.
_MODES = (0o664, 0o775)
_LENGTH_BYTES = 4
_AT_ONCE = 1024 * 1024
LINK = "hard-link"
#: Twice the size, plus one if the owner may execute it; times of modification and of change in
#: nanoseconds; inode, for which some file systems use all 64 bits.
STATE = struct.Struct("=3qQ")
#: Stands for the state of a file that could not be reused.
NOT_TAKEN = bytes(STATE.size)

#: The first byte that the second process sends.
STARTED = b"."

#: ("write", path, executable, content), or ("reuse", directory, names, states)
Job = tuple[Any, ...]


class FileWriter:
    """Writes files below one directory.

    Args:
        root: A descriptor of the directory.
        former: A descriptor of the directory from which files are reused, or -1.
        reuse: ``copy`` or ``hard-link``.

    Attributes:
        states: The new states of all files that were to be reused, in the order of the jobs;
            ``NOT_TAKEN`` for a file that was modified.
    """

    def __init__(self, root: int, former: int = -1, reuse: str = "copy") -> None:
        self.states = bytearray()
        self._root = root
        self._former = former
        self._link = reuse == LINK
        self._access: list[tuple[int, int, int]] = []

    def perform(self, job: Job) -> None:
        """Perform a job.

        Raises:
            OSError: It failed; ``filename`` is the path.
        """
        if job[0] == "write":
            self.write(job[1], job[2], job[3])
        else:
            self.reuse(job[1], job[2], job[3])

    def write(self, path: bytes, executable: bool, content: bytes) -> None:
        """Write a file that must not exist yet.

        Raises:
            OSError: It failed; ``filename`` is the path.
        """
        descriptor = os.open(path, _NEW_FILE, _MODES[executable], dir_fd=self._root)
        try:
            _write(descriptor, content)
        except OSError as error:
            error.filename = path
            raise
        finally:
            os.close(descriptor)

    def reuse(self, directory: bytes, names: list[bytes], states: bytes) -> None:
        """Reuse those files of the previous directory that were not modified.

        Args:
            directory: The path of their directory, with a slash at its end, or empty.
            states: The state of each file when it was written: four numbers, packed by ``STATE``.

        Raises:
            OSError: A file cannot be written; ``filename`` is the path.
        """
        take_over = self._linked if self._link else self._copied
        for name, state in zip(names, STATE.iter_unpack(states), strict=True):
            self.states += take_over(directory + name, state)

    def _linked(self, path: bytes, state: tuple[int, ...]) -> bytes:
        access = self._access or self._find_access()
        try:
            found = os.stat(path, dir_fd=self._former, follow_symlinks=False)
            # Each new link changes the time of change, so it cannot be compared. The mode and the
            # owner, which would also change it, are compared instead.
            is_same = (
                found.st_mtime_ns == state[1]
                and found.st_ino == state[3]
                and found.st_size == state[0] >> 1
                and (found.st_mode, found.st_uid, found.st_gid) == access[state[0] & 1]
            )
            if not is_same:
                return NOT_TAKEN
            os.link(
                path,
                path,
                src_dir_fd=self._former,
                dst_dir_fd=self._root,
                follow_symlinks=False,
            )
        except FileExistsError:
            raise
        except OSError:
            return NOT_TAKEN
        return STATE.pack(*state)

    def _find_access(self) -> list[tuple[int, int, int]]:
        """Find the mode, owner and group of new files, plain and executable ones.

        New files are created to find out, since besides the umask there are default access control
        lists, and directories that pass on their group.
        """
        for mode in _MODES:
            path = b".deploycore-" + os.urandom(16).hex().encode()
            descriptor = os.open(path, _NEW_FILE, mode, dir_fd=self._root)
            try:
                found = os.fstat(descriptor)
                self._access.append((found.st_mode, found.st_uid, found.st_gid))
            finally:
                os.close(descriptor)
                os.unlink(path, dir_fd=self._root)
        return self._access

    def _copied(self, path: bytes, state: tuple[int, ...]) -> bytes:
        try:
            source = os.open(path, _OLD_FILE, dir_fd=self._former)
        except OSError:
            return NOT_TAKEN
        try:
            if state[0] >> 1 > _AT_ONCE:
                return self._copied_in_steps(source, path, state)
            content = _read(source, state)
        finally:
            os.close(source)
        if content is None:
            return NOT_TAKEN
        descriptor = os.open(path, _NEW_FILE, _MODES[state[0] & 1], dir_fd=self._root)
        try:
            _write(descriptor, content)
            return STATE.pack(*state_of(os.fstat(descriptor)))
        except OSError as error:
            error.filename = path
            raise
        finally:
            os.close(descriptor)

    def _copied_in_steps(self, source: int, path: bytes, state: tuple[int, ...]) -> bytes:
        if not _is_still(source, state):
            return NOT_TAKEN
        descriptor = os.open(path, _NEW_FILE, _MODES[state[0] & 1], dir_fd=self._root)
        try:
            is_whole = _copy(source, descriptor, state[0] >> 1)
            made = STATE.pack(*state_of(os.fstat(descriptor)))
        except OSError as error:
            error.filename = path
            raise
        finally:
            os.close(descriptor)
        if is_whole and _is_still(source, state):
            return made
        os.unlink(path, dir_fd=self._root)
        return NOT_TAKEN


def state_of(found: os.stat_result) -> tuple[int, ...]:
    """Return the numbers by which a file's state is compared."""
    size = found.st_size << 1 | (found.st_mode >> 6 & 1)
    return (size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def _is_still(descriptor: int, state: tuple[int, ...]) -> bool:
    """Whether a file was not modified until now.

    Call it after reading the file: a write changes the times first, then the content.
    """
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return state_of(found) == state and stat.S_ISREG(found.st_mode)


def _read(source: int, state: tuple[int, ...]) -> bytes | None:
    """Read a small file; ``None`` if it was modified or cannot be read."""
    size = state[0] >> 1
    try:
        content = os.read(source, size)
    except OSError:
        return None
    return content if len(content) == size and _is_still(source, state) else None


def _copy(source: int, target: int, left: int) -> bool:
    """Copy ``left`` bytes; returns whether there were as many to read.

    Raises:
        OSError: They cannot be written.
    """
    # It shares blocks if the file system can. It fails for many reasons, of either file or of the
    # system. Reading and writing then show which one it is.
    with suppress(OSError, AttributeError):
        while left and (copied := os.copy_file_range(source, target, left)):
            left -= copied
    while left:
        try:
            content = os.read(source, min(left, _AT_ONCE))
        except OSError:
            return False
        if not content:
            return False
        _write(target, content)
        left -= len(content)
    return True


def _write(descriptor: int, content: bytes) -> None:
    written = os.write(descriptor, content)
    while written < len(content):
        written += os.write(descriptor, memoryview(content)[written:])


class _Writes(Protocol):
    def write(self, data: bytes, /) -> object: ...


def write_batch(stream: _Writes, batch: Any) -> None:
    """Send a value over a pipe.

    Raises:
        OSError: The other end is closed.
    """
    data = marshal.dumps(batch)
    stream.write(len(data).to_bytes(_LENGTH_BYTES))
    stream.write(data)


def read_batch(stream: IO[bytes]) -> Any:
    """Receive a value; ``None`` if the other end is closed."""
    length = stream.read(_LENGTH_BYTES)
    if len(length) < _LENGTH_BYTES:
        return None
    data = stream.read(int.from_bytes(length))
    # The data always comes from the process that started this one, or that this one started.
    return marshal.loads(data) if len(data) == int.from_bytes(length) else None  # noqa: S302


def _main() -> None:
    """Perform jobs until an empty batch comes, then send the result."""
    root, former, reuse = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    jobs = sys.stdin.buffer
    sys.stdout.buffer.write(STARTED)
    sys.stdout.buffer.flush()
    writer = FileWriter(root, former, reuse)
    failure = None
    while batch := read_batch(jobs):
        if failure is not None:
            continue  # read on, so that the other end does not block
        try:
            for job in batch:
                writer.perform(job)
        except OSError as error:
            failure = (error.errno, error.strerror, error.filename)
    if batch is None:
        return
    write_batch(sys.stdout.buffer, (failure, writer.states))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    _main()
