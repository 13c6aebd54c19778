"""The index of a pack, which has the offset of each object.

dulwich reads it, except for the fan-out table, since it reads each of the 256 numbers separately.
It is written here, since dulwich's writer makes five calls for each object. A deployment waits
while indexes are read and written.

Format: https://git-scm.com/docs/gitformat-pack ("Version 2 pack-*.idx files")
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path

from dulwich.file import GitFile
from dulwich.object_format import get_object_format
from dulwich.objects import RawObjectID
from dulwich.pack import PackIndex2

from deploycore.git.packs.objects import ObjectFormat

__all__ = ["PackIndex", "index_of"]

_MAGIC = b"\377tOc\0\0\0\2"
_FAN_OUT = struct.Struct(">256L")
_LARGE = 0x80000000


class _Index(PackIndex2):
    def _read_fan_out_table(self, start_offset: int) -> list[int]:
        return list(_FAN_OUT.unpack_from(self._contents, start_offset))


class PackIndex:
    """The index of a pack on the disk.

    Args:
        path: The ``.idx`` file.
        object_format: The repository's object format.

    Raises:
        Exception: The index is damaged. dulwich raises many types of exceptions for that.
    """

    def __init__(self, path: Path, object_format: ObjectFormat) -> None:
        with GitFile(path, "rb") as file:
            self._index = _Index(path, get_object_format(object_format.name), file=file)
        try:
            self._index.check()
        except BaseException:
            self._index.close()
            raise

    @property
    def pack_checksum(self) -> bytes:
        """The checksum of the pack that this index belongs to."""
        return bytes(self._index.get_pack_checksum() or b"")

    def find(self, name: bytes) -> int | None:
        """The offset of an object, by its hash."""
        try:
            return self._index.object_offset(RawObjectID(name))
        except KeyError:
            return None

    def close(self) -> None:
        """Close the file."""
        self._index.close()


def index_of(
    names: bytes | bytearray,
    offsets: array[int],
    checksums: array[int],
    pack: bytes,
    object_format: ObjectFormat,
) -> Iterator[bytes]:
    """Return the content of an index file, in pieces.

    Args:
        names: The hashes of all objects, one after the other.
        offsets: The offset of each object in the pack.
        checksums: The CRC-32 of each object's bytes in the pack.
        pack: The pack's own checksum.
    """
    digest = object_format.new_hash()
    for piece in _content(names, offsets, checksums, pack, object_format.hash_bytes):
        digest.update(piece)
        yield piece
    yield digest.digest()


def _content(
    names: bytes | bytearray, offsets: array[int], checksums: array[int], pack: bytes, size: int
) -> Iterator[bytes]:
    by_first = [array("I") for _ in range(256)]
    for number, first in enumerate(names[::size]):
        by_first[first].append(number)
    yield _MAGIC + struct.pack(">256I", *accumulate(map(len, by_first)))

    def name_of(number: int) -> bytes | bytearray:
        return names[number * size : (number + 1) * size]

    for first, numbers in enumerate(by_first):
        by_first[first] = array("I", sorted(numbers, key=name_of))
        yield b"".join(map(name_of, by_first[first]))
    for numbers in by_first:
        yield _packed("I", (checksums[each] for each in numbers))
    large = array("Q")
    for numbers in by_first:
        short = array("I")
        for each in numbers:
            if offsets[each] < _LARGE:
                short.append(offsets[each])
            else:
                short.append(_LARGE | len(large))
                large.append(offsets[each])
        yield _packed("I", short)
    yield _packed("Q", large)
    yield pack


def _packed(kind: str, numbers: Iterable[int]) -> bytes:
    """Numbers in the file's byte order, the most significant byte first."""
    found = array(kind, numbers)
    if sys.byteorder == "little":
        found.byteswap()
    return found.tobytes()
