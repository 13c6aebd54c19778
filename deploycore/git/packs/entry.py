"""The entries of a pack: how the head of each is read, and how an entry is written.

Format: https://git-scm.com/docs/gitformat-pack
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import NamedTuple

from deploycore.git.packs.content import Content, content_pieces, content_size
from deploycore.git.packs.objects import KINDS, Damaged

__all__ = [
    "MAX_ENTRY_HEADER",
    "PACK_HEADER",
    "Entry",
    "entry_header",
    "entry_pieces",
    "kind_and_size",
    "object_count",
]

PACK_HEADER = 12  # bytes
MAX_ENTRY_HEADER = 64
_MAX_SHIFT = 74  # of a size
_OFFSET_DELTA, _NAME_DELTA = 6, 7


class Entry(NamedTuple):
    """One entry of a pack.

    Attributes:
        size: The uncompressed size of the object or delta.
        base: The base of a delta, an offset in the same pack or a hash; ``None`` for an object.
        data: The position of the compressed data.
    """

    kind: int
    size: int
    base: int | bytes | None
    data: int


def kind_and_size(buffer: bytes, position: int) -> tuple[int, int, int]:
    """Read the first part of an entry's head: its kind, its size, and where that part ends.

    Raises:
        IndexError: The buffer ends too early.
        Damaged: It is malformed.
    """
    byte = buffer[position]
    position += 1
    kind, size, shift = byte >> 4 & 7, byte & 15, 4
    while byte & 0x80:
        byte = buffer[position]
        position += 1
        size |= (byte & 0x7F) << shift
        shift += 7
        if shift > _MAX_SHIFT:
            raise Damaged("the size of an object is invalid")
    return kind, size, position


def entry_header(buffer: bytes, position: int, offset: int, hash_bytes: int) -> Entry | None:
    """Read the head of an entry.

    Args:
        position: Where it begins in the buffer.
        offset: Where it begins in the pack.
        hash_bytes: The length of the hash that identifies the base of a delta.

    Returns:
        ``None`` if the buffer ends too early; ``data`` is a position in the buffer.

    Raises:
        Damaged: It is malformed.
    """
    length = len(buffer)
    try:
        kind, size, position = kind_and_size(buffer, position)
    except IndexError:
        return None
    if kind in KINDS:
        return Entry(kind, size, None, position)
    if kind == _NAME_DELTA:
        end = position + hash_bytes
        if length < end:
            return None
        return Entry(kind, size, buffer[position:end], end)
    if kind != _OFFSET_DELTA:
        raise Damaged(f"an object has the unknown type {kind}")
    distance = -1
    while True:
        if position == length:
            return None
        byte = buffer[position]
        position += 1
        distance = (distance + 1) << 7 | (byte & 0x7F)
        if not byte & 0x80:
            break
        if distance >> 63:
            raise Damaged("the base of a delta is invalid")
    if not 0 < distance < offset:
        raise Damaged("the base of a delta is invalid")
    return Entry(kind, size, offset - distance, position)


def object_count(buffer: bytes) -> int:
    """Read the head of a pack: how many objects it says to hold.

    Raises:
        Damaged: This is not the head of a pack.
    """
    if buffer[:4] != b"PACK" or int.from_bytes(buffer[4:8]) not in (2, 3):
        raise Damaged("it is not a pack of version 2 or 3")
    return int.from_bytes(buffer[8:PACK_HEADER])


def entry_pieces(kind: int, content: Content) -> Iterator[bytes]:
    """Write an object as an entry of a pack, in pieces."""
    size = content_size(content)
    first, size = kind << 4 | size & 15, size >> 4
    head = bytearray()
    while size:
        head.append(first | 0x80)
        first, size = size & 0x7F, size >> 7
    head.append(first)
    yield bytes(head)
    deflater = zlib.compressobj(1)
    for piece in content_pieces(content):
        yield deflater.compress(piece)
    yield deflater.flush()
