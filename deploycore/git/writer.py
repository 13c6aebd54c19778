"""Files onto the disk, here or in a process of their own.

Unpacking and writing take about the same time, and threads would share one interpreter. So
where there are many files, a second process writes them. It runs this file alone, which
therefore imports nothing but the standard library; it is told paths and contents over a pipe,
and never sees a credential. When its parent dies the pipe ends, and so does it.

No path is followed through a link: the tree is new and private, and links are made last.
"""

from __future__ import annotations

import errno
import marshal
import os
import stat
import struct
import sys
from typing import IO, Any, Protocol

__all__ = [
    "LINK",
    "NOT_TAKEN",
    "STATE",
    "FileWriter",
    "Job",
    "read_batch",
    "state_of",
    "write_batch",
]

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LENGTH_BYTES = 4
_AT_ONCE = 1024 * 1024
LINK = "hard-link"
#: Size, time of modification and of change in nanoseconds, inode.
STATE = struct.Struct("=4q")
#: Instead of the state of a file that could not be reused.
NOT_TAKEN = bytes(STATE.size)

#: ("write", path, executable, content), or ("reuse", directory, names, states)
Job = tuple[Any, ...]


class FileWriter:
    """Writes files below one directory.

    Args:
        root: A descriptor of the directory.
        former: A descriptor of the directory from which files are reused, or -1.
        reuse: ``copy`` or ``hard-link``.

    Attributes:
        states: Those of all files that were to be reused, in the order of the jobs, as they are
            now; ``NOT_TAKEN`` for a file that is not what was written once.
    """

    def __init__(self, root: int, former: int = -1, reuse: str = "copy") -> None:
        self.states = bytearray()
        self._root = root
        self._former = former
        self._link = reuse == LINK

    def perform(self, job: Job) -> None:
        """Do what a job says.

        Raises:
            OSError: That failed; ``filename`` is the path.
        """
        if job[0] == "write":
            self.write(job[1], job[2], job[3])
        else:
            self.reuse(job[1], job[2], job[3])

    def write(self, path: bytes, executable: bool, content: bytes) -> None:
        """Write a file that must not exist yet.

        Raises:
            OSError: That failed; ``filename`` is the path.
        """
        mode = 0o777 if executable else 0o666
        descriptor = os.open(path, _NEW_FILE, mode, dir_fd=self._root)
        try:
            written = os.write(descriptor, content)
            while written < len(content):
                written += os.write(descriptor, memoryview(content)[written:])
        except OSError as error:
            error.filename = path
            raise
        finally:
            os.close(descriptor)

    def reuse(self, directory: bytes, names: list[bytes], states: bytes) -> None:
        """Take files over from the former directory, those that are still as they were.

        Args:
            directory: With a slash at its end, or empty.
            states: Of each file, as it was when it was written: four numbers, as
                ``STATE`` packs them.

        Raises:
            OSError: A file can't be written; ``filename`` is the path.
        """
        take_over = self._linked if self._link else self._copied
        for name, state in zip(names, STATE.iter_unpack(states), strict=True):
            self.states += take_over(directory + name, state)

    def _linked(self, path: bytes, state: tuple[int, ...]) -> bytes:
        try:
            found = os.stat(path, dir_fd=self._former, follow_symlinks=False)
            # A further link changes the time of change, so that this can't be looked at.
            if state_of(found, changed=0) != (*state[:2], 0, *state[3:]):
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

    def _copied(self, path: bytes, state: tuple[int, ...]) -> bytes:
        try:
            source = os.open(path, _OLD_FILE, dir_fd=self._former)
        except OSError:
            return NOT_TAKEN
        try:
            found = os.fstat(source)
            if state_of(found) != state or not stat.S_ISREG(found.st_mode):
                return NOT_TAKEN
            return self._copy(source, found, path)
        finally:
            os.close(source)

    def _copy(self, source: int, found: os.stat_result, path: bytes) -> bytes:
        mode = 0o777 if found.st_mode & 0o100 else 0o666
        descriptor = os.open(path, _NEW_FILE, mode, dir_fd=self._root)
        try:
            left = found.st_size
            while left:
                left -= _copy_some(source, descriptor, left)
            return STATE.pack(*state_of(os.fstat(descriptor)))
        except OSError as error:
            error.filename = path
            raise
        finally:
            os.close(descriptor)


def state_of(found: os.stat_result, changed: int = -1) -> tuple[int, ...]:
    """What a file's state is compared by.

    Args:
        changed: Instead of the time of change; -1 for the true one.
    """
    when = found.st_ctime_ns if changed < 0 else changed
    return (found.st_size, found.st_mtime_ns, when, found.st_ino)


def _copy_some(source: int, target: int, left: int) -> int:
    """Copy some bytes; file systems that can share blocks do so for large files."""
    if left > _AT_ONCE:
        try:
            return os.copy_file_range(source, target, left) or _ended()
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.EINVAL, errno.EXDEV, errno.EOPNOTSUPP):
                raise
        except AttributeError:
            pass  # not Linux
    content = os.read(source, min(left, _AT_ONCE)) or b""
    if not content:
        _ended()
    written = 0
    while written < len(content):
        written += os.write(target, memoryview(content)[written:])
    return written


def _ended() -> int:
    raise OSError(errno.EIO, "the file became shorter while it was copied")


class _Writes(Protocol):
    def write(self, data: bytes, /) -> object: ...


def write_batch(stream: _Writes, batch: Any) -> None:
    """Send something over a pipe.

    Raises:
        OSError: The other end is gone.
    """
    data = marshal.dumps(batch)
    stream.write(len(data).to_bytes(_LENGTH_BYTES))
    stream.write(data)


def read_batch(stream: IO[bytes]) -> Any:
    """Receive what the other end sent; ``None`` if it is gone."""
    length = stream.read(_LENGTH_BYTES)
    if len(length) < _LENGTH_BYTES:
        return None
    data = stream.read(int.from_bytes(length))
    # Only ever from the process that started this one, or that this one started.
    return marshal.loads(data) if len(data) == int.from_bytes(length) else None  # noqa: S302


def _main() -> None:
    """Perform jobs until there is an empty batch, then tell what became of them."""
    root, former, reuse = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    jobs = sys.stdin.buffer
    writer = FileWriter(root, former, reuse)
    failure = None
    while batch := read_batch(jobs):
        if failure is not None:
            continue  # so that the other end is never stuck in its pipe
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
