"""Packs and objects that are created byte by byte, valid or not.

Libraries cannot create packs with wrong sizes or with deltas in circles, so this module does. It
checks nothing.

Format: https://git-scm.com/docs/gitformat-pack
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass
from functools import cached_property

COMMIT, TREE, BLOB, TAG, RESERVED, OFS_DELTA, REF_DELTA = 1, 2, 3, 4, 5, 6, 7
_PART = 1024 * 1024
_WORDS = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob", TAG: b"tag"}


@dataclass(frozen=True)
class Object:
    """A git object: one of the four kinds, and its content."""

    kind: int
    content: bytes

    @cached_property
    def hash(self) -> bytes:
        """Twenty bytes."""
        head = b"%s %d\0" % (_WORDS[self.kind], len(self.content))
        return hashlib.sha1(head + self.content).digest()

    @cached_property
    def name(self) -> bytes:
        """Forty digits."""
        return self.hash.hex().encode()


def blob(content: bytes) -> Object:
    """A file's content."""
    return Object(BLOB, content)


def tree(*entries: tuple[int | bytes, bytes, Object | bytes]) -> Object:
    """A directory of exactly these ``(mode, name, object or its hash)``, in this order.

    A mode in bytes is written as it is.
    """
    return Object(TREE, b"".join(_line(*each) for each in entries))


def _line(mode: int | bytes, name: bytes, child: Object | bytes) -> bytes:
    digits = mode if isinstance(mode, bytes) else b"%o" % mode
    return digits + b" " + name + b"\0" + (child if isinstance(child, bytes) else child.hash)


def commit(root: Object | bytes, *, headers: bytes = b"", message: bytes = b"Subject\n") -> Object:
    """A commit without parents.

    Args:
        root: The tree, or the hexadecimal name that the commit gives it.
        headers: Lines after the committer's.
    """
    name = root if isinstance(root, bytes) else root.name
    who = b"Ada Lovelace <ada@example.com> 1700000000 +0100\n"
    return Object(
        COMMIT,
        b"tree " + name + b"\nauthor " + who + b"committer " + who + headers + b"\n" + message,
    )


def number(value: int) -> bytes:
    """A number, seven bits a byte, the lowest first; the sizes of deltas are such numbers."""
    found = b""
    while True:
        value, low = value >> 7, value & 0x7F
        found += bytes([low | (0x80 if value else 0)])
        if not value:
            return found


def distance(value: int) -> bytes:
    """The way back to the base of an offset delta."""
    found = [value & 0x7F]
    while value := value >> 7:
        value -= 1
        found.append(0x80 | (value & 0x7F))
    return bytes(reversed(found))


def entry(
    kind: int, content: bytes, *, size: int | None = None, base: bytes = b"", level: int = 1
) -> bytes:
    """An object as a pack has it.

    Args:
        size: What its header says; the truth where it is not given.
        base: What is between header and data: a delta's base.
    """
    return (
        header(kind, len(content) if size is None else size) + base + zlib.compress(content, level)
    )


def zeros(size: int, *, claimed: int | None = None) -> bytes:
    """A file of zeros as a pack has it.

    Compressing 200 MB would take a second, so one compressed part is repeated.

    Args:
        claimed: The size that its header says; the truth where it is not given.
    """
    part = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    repeated = part.compress(bytes(_PART)) + part.flush(zlib.Z_FULL_FLUSH)
    rest = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    last = rest.compress(bytes(size % _PART)) + rest.flush()
    checksum = (size % 65521 << 16 | 1).to_bytes(4)  # Adler-32 of zeros
    head = header(BLOB, size if claimed is None else claimed)
    return head + b"\x78\xda" + repeated * (size // _PART) + last + checksum


def header(kind: int, size: int) -> bytes:
    """The kind and the size of an object."""
    first, rest = (kind << 4) | (size & 15), size >> 4
    return bytes([first | (0x80 if rest else 0)]) + (number(rest) if rest else b"")


def whole(each: Object) -> bytes:
    """An object as a pack has it, without a delta."""
    return entry(each.kind, each.content)


def by_name(base: Object | bytes, delta: bytes) -> bytes:
    """A delta whose base is named by its hash."""
    return entry(REF_DELTA, delta, base=base if isinstance(base, bytes) else base.hash)


def by_offset(back: int, delta: bytes) -> bytes:
    """A delta whose base begins so many bytes before it."""
    return entry(OFS_DELTA, delta, base=distance(back))


def delta(base: int, result: int, *steps: bytes) -> bytes:
    """What makes ``result`` bytes of ``base`` bytes."""
    return number(base) + number(result) + b"".join(steps)


def insert(data: bytes) -> bytes:
    """A delta's step: these bytes, 127 at the most."""
    return bytes([len(data)]) + data


def copy(start: int, size: int) -> bytes:
    """A delta's step: bytes of the base; ``size`` below 2**24."""
    found, flags = b"", 0x80
    for place, byte in enumerate(struct.pack("<I", start) + struct.pack("<I", size)[:3]):
        if byte:
            flags |= 1 << place
            found += bytes([byte])
    return bytes([flags]) + found


def pack(
    *entries: bytes, count: int | None = None, version: int = 2, trailer: bytes | None = None
) -> bytes:
    """A pack of these entries.

    Args:
        count: How many objects its header says; the truth where it is not given.
        trailer: Instead of the checksum.
    """
    said = len(entries) if count is None else count
    body = b"PACK" + struct.pack(">II", version, said) + b"".join(entries)
    return body + (hashlib.sha1(body).digest() if trailer is None else trailer)


def pack_of(*objects: Object) -> bytes:
    """A pack of these objects, none of them a delta."""
    return pack(*map(whole, objects))


def sealed(body: bytes) -> bytes:
    """A pack whose bytes were changed, with a checksum that is right again."""
    return body[:-20] + hashlib.sha1(body[:-20]).digest()
