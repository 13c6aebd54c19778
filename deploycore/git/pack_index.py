"""The index of a pack: which object is where in it.

Read by dulwich. Written here, since dulwich's writer takes five calls an object, and an index
is written while a deployment waits.

Format: https://git-scm.com/docs/gitformat-pack ("Version 2 pack-*.idx files")
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from dulwich.object_format import DEFAULT_OBJECT_FORMAT
from dulwich.objects import RawObjectID
from dulwich.pack import load_pack_index

__all__ = ["PackIndex", "index_of"]

_LARGE = 0x80000000


class PackIndex:
    """The index of a pack that lies on disk.

    Args:
        path: Of the ``.idx`` file.

    Raises:
        Exception: It is damaged; dulwich has no one kind for that.
    """

    def __init__(self, path: Path) -> None:
        self._index = load_pack_index(path, DEFAULT_OBJECT_FORMAT)
        try:
            self._index.check()
        except BaseException:
            self._index.close()
            raise

    @property
    def pack_checksum(self) -> bytes:
        """The checksum of the pack that this is the index of, 20 bytes."""
        return bytes(self._index.get_pack_checksum() or b"")

    def find(self, name: bytes) -> int | None:
        """The offset of an object, by its hash of 20 bytes."""
        try:
            return self._index.object_offset(RawObjectID(name))
        except KeyError:
            return None

    def close(self) -> None:
        """Let go of the file."""
        self._index.close()


def index_of(
    names: Sequence[bytes], offsets: Sequence[int], checksums: Sequence[int], pack: bytes
) -> bytes:
    """What an index file holds.

    Args:
        names: The hash of each object, 20 bytes.
        offsets: Where each one is in the pack.
        checksums: The CRC-32 of each one's bytes in the pack.
        pack: The pack's own checksum, 20 bytes.
    """
    order = sorted(range(len(names)), key=names.__getitem__)
    counts = [0] * 256
    for name in names:
        counts[name[0]] += 1
    large = [offsets[each] for each in order if offsets[each] >= _LARGE]
    places = iter(range(len(large)))
    short = [
        offset if (offset := offsets[each]) < _LARGE else _LARGE | next(places) for each in order
    ]
    content = b"".join(
        (
            b"\377tOc\0\0\0\2",
            struct.pack(">256I", *accumulate(counts)),
            b"".join([names[each] for each in order]),
            struct.pack(f">{len(order)}I", *[checksums[each] for each in order]),
            struct.pack(f">{len(order)}I", *short),
            struct.pack(f">{len(large)}Q", *large),
            pack,
        )
    )
    return content + hashlib.sha1(content, usedforsecurity=False).digest()
