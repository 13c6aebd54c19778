"""What must outlast a power failure: a directory's entries, flushed to the disk.

A rename is atomic, but on its own it may be lost again; the directory has to be flushed too
(fsync(2)).
"""

from __future__ import annotations

import os

__all__ = ["sync_directory"]


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
