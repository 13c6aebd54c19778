"""Directories, flushed to the disk and for their owner alone; and locks, seen from outside.

A rename is atomic, but on its own it may be lost again in a power failure; the directory has to
be flushed too (fsync(2)). And ``mkdir`` gives its mode to the last directory, not to its parents.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

__all__ = ["is_held", "make_private_directory", "sync_directory"]


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


def is_held(lock: Path) -> bool:
    """Whether anybody holds a lock file's lock, shared or alone (flock(2)); makes none.

    To see it the lock is taken for a moment, so ask only where nobody may mind. A file that
    can't be opened counts as held: its holder is somebody else.
    """
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
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
