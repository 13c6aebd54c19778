"""Directories: flushed to the disk, and for their owner alone.

A rename is atomic, but on its own it may be lost again in a power failure; the directory has to
be flushed too (fsync(2)). And ``mkdir`` gives its mode to the last directory, not to its parents.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["make_private_directory", "sync_directory"]


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
