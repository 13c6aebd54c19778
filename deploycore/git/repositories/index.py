"""Write git's index, which describes the files of a checkout.

Format: https://git-scm.com/docs/gitformat-index, version 2
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterable
from pathlib import Path

from deploycore.disk.trees import open_shared
from deploycore.git.packs.objects import ObjectFormat, TreeEntry

__all__ = ["write_index"]

_VERSION = 2
_HEADER = struct.Struct(">4sLL")
_WORD = 0xFFFFFFFF
_NANOSECONDS = 1_000_000_000
_MOST_NAME = 0xFFF  # the maximum value of the field for the length of a name
_ALIGNMENT = 8
_MULTIPLE_OF_4_GIB = 0x80000000
_ENTRIES_AT_ONCE = 512


def write_index(
    path: Path,
    tree: Path,
    number: int,
    entries: Iterable[tuple[bytes, TreeEntry]],
    object_format: ObjectFormat,
) -> None:
    """Write an index, a few entries at a time, since it may be too large for memory.

    Args:
        path: The index, which does not exist yet.
        tree: The directory with the files.
        number: The number of entries.
        entries: The files, links and submodules below the directory, sorted by path.

    Raises:
        OSError: A file system call failed.
    """
    digest = object_format.new_hash()
    fields = struct.Struct(f">10L{object_format.hash_bytes}sH")
    root = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with open(path, "xb", opener=open_shared) as file:
            waiting = [_HEADER.pack(b"DIRC", _VERSION, number)]
            for name, entry in entries:
                found = os.stat(name, dir_fd=root, follow_symlinks=False)
                waiting.append(_serialized(fields, name, entry, found))
                if len(waiting) >= _ENTRIES_AT_ONCE:
                    data = b"".join(waiting)
                    waiting.clear()
                    digest.update(data)
                    file.write(data)
            data = b"".join(waiting)
            digest.update(data)
            file.write(data + digest.digest())
    finally:
        os.close(root)


def _serialized(
    fields: struct.Struct, name: bytes, entry: TreeEntry, found: os.stat_result
) -> bytes:
    """One entry, in the form of the index: times and numbers keep their last 32 bits."""
    mode, size = entry.mode, found.st_size
    if stat.S_ISREG(mode):
        mode = 0o100755 if mode & 0o100 else 0o100644
    else:
        mode = stat.S_IFMT(mode)
        if not stat.S_ISLNK(mode):
            size = 0  # a submodule
    changed, modified = found.st_ctime_ns, found.st_mtime_ns
    head = fields.pack(
        changed // _NANOSECONDS & _WORD,
        changed % _NANOSECONDS,
        modified // _NANOSECONDS & _WORD,
        modified % _NANOSECONDS,
        found.st_dev & _WORD,
        found.st_ino & _WORD,
        mode,
        found.st_uid & _WORD,
        found.st_gid & _WORD,
        # A size of 0 means that the file has to be compared.
        size & _WORD or (size and _MULTIPLE_OF_4_GIB),
        entry.hash,
        min(len(name), _MOST_NAME),
    )
    # At least one zero byte ends the name.
    padding = _ALIGNMENT - (len(head) + len(name)) % _ALIGNMENT
    return head + name + bytes(padding)
