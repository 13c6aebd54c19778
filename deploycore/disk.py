"""Directories, flushed to the disk and for their owner alone; and locks, seen from outside.

A rename is atomic, but on its own it may be lost again in a power failure; the directory has to
be flushed too (fsync(2)). And ``mkdir`` gives its mode to the last directory, not to its parents.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

__all__ = ["is_held", "make_private_directory", "open_regular_file", "sync_directory"]


def sync_directory(path: os.PathLike[str]) -> None:
    """Flush a directory's entries, not what they lead to.

    Raises:
        OSError: The disk says that it did not take them.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private_directory(path: Path) -> None:
    """Make a directory, and those above it, for their owner alone; what is there stays as it is.

    Raises:
        OSError: One can't be made.
    """
    for each in (*reversed(path.parents), path):
        if not each.is_dir():
            each.mkdir(mode=0o700, exist_ok=True)


def open_regular_file(path: os.PathLike[str]) -> int:
    """Open a file to read it, and never wait for anybody: opening a FIFO waits for its writer.

    Returns:
        The descriptor, for the caller to close.

    Raises:
        OSError: It can't be opened, or is a directory, a FIFO or a device.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_held(lock: Path) -> bool:
    """Whether anybody holds a lock file's lock, shared or alone (flock(2)); makes none.

    To see it the lock is taken for a moment, so ask only where nobody may mind. A file that
    can't be opened, or is no regular file, counts as held: nobody else can take it.
    """
    try:
        descriptor = open_regular_file(lock)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
