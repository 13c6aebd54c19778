"""Packs at rest: any object of them, checked against its hash each time it is read.

Files are read in place and in steps, never mapped: a mapped pack counts as memory. An object
of more than a mebibyte is held in a temporary file, so that memory is bounded whatever a
repository holds; deltas are followed by a loop, however long the chain.

Format: https://git-scm.com/docs/gitformat-pack
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import BytesIO
from tempfile import TemporaryFile
from typing import BinaryIO, NamedTuple, Protocol, cast

from deploycore.errors import LimitExceeded
from deploycore.git.delta import apply_in_memory, apply_in_steps, sizes
from deploycore.git.objects import BLOB, KINDS, TREE, Damaged, ObjectFormat
from deploycore.git.operation import Operation

__all__ = [
    "IN_MEMORY_MOST",
    "Content",
    "Entry",
    "Index",
    "Objects",
    "Pack",
    "content_name",
    "entry_header",
]

IN_MEMORY_MOST = 1024 * 1024
_TREE_BYTES_MOST = 16 * 1024 * 1024
_OVERHEAD = 256  # bytes that a small object takes besides its content
_GENERATION_BYTES = 4 * 1024 * 1024
_STEP = 64 * 1024
_HEADER_MOST = 64
_OFFSET_DELTA, _NAME_DELTA = 6, 7

Content = bytes | BinaryIO


class Entry(NamedTuple):
    """One entry of a pack.

    Attributes:
        size: Of what it unpacks to: an object, or a delta.
        base: What a delta is based on: an offset in the same pack, or a hash; else ``None``.
        data: Where its compressed data begins.
    """

    kind: int
    size: int
    base: int | bytes | None
    data: int


class Index(Protocol):
    """Where a pack has its objects."""

    def find(self, name: bytes) -> int | None:
        """The offset of an object, by its hash."""

    def close(self) -> None:
        """Let go of what is open."""


def entry_header(buffer: bytes, position: int, offset: int, hash_bytes: int) -> Entry | None:
    """Read the head of an entry.

    Args:
        position: Where it begins in the buffer.
        offset: Where it begins in the pack.
        hash_bytes: How long the hash is by which a delta names its base.

    Returns:
        ``None`` if the buffer ends too early; ``data`` is a position in the buffer.

    Raises:
        Damaged: It is malformed.
    """
    length = len(buffer)
    if position >= length:
        return None
    byte = buffer[position]
    position += 1
    kind, size, shift = byte >> 4 & 7, byte & 15, 4
    while byte & 0x80:
        if position == length:
            return None
        byte = buffer[position]
        position += 1
        size |= (byte & 0x7F) << shift
        shift += 7
        if shift > 74:
            raise Damaged("an object has an impossible size")
    if kind in KINDS:
        return Entry(kind, size, None, position)
    if kind == _NAME_DELTA:
        end = position + hash_bytes
        if length < end:
            return None
        return Entry(kind, size, buffer[position:end], end)
    if kind != _OFFSET_DELTA:
        raise Damaged(f"it has an object of the unknown kind {kind}")
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
            raise Damaged("a delta has an impossible base")
    if not 0 < distance < offset:
        raise Damaged("a delta has an impossible base")
    return Entry(kind, size, offset - distance, position)


class Pack:
    """A pack file, open for reading.

    Args:
        descriptor: Of the file; belongs to the pack from now on.
        index: Where its objects are.
        object_format: Of the repository.
    """

    def __init__(self, descriptor: int, index: Index, object_format: ObjectFormat) -> None:
        self.index = index
        self._hash_bytes = object_format.hash_bytes
        self._descriptor = descriptor

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)
        self.index.close()

    def read_at(self, offset: int, size: int) -> bytes:
        """Bytes of the file, fewer where it ends.

        Raises:
            OSError: They can't be read.
        """
        return os.pread(self._descriptor, size, offset)

    def checksum(self) -> bytes:
        """What the pack's trailer says."""
        size = os.fstat(self._descriptor).st_size
        return os.pread(self._descriptor, self._hash_bytes, max(0, size - self._hash_bytes))

    def entry(self, offset: int) -> Entry:
        """The entry at an offset; its ``data`` is an offset in the pack.

        Raises:
            Damaged: There is none.
        """
        found = entry_header(self.read_at(offset, _HEADER_MOST), 0, offset, self._hash_bytes)
        if found is None:
            raise Damaged("a pack ends too early")
        return found._replace(data=offset + found.data)

    def pieces(self, entry: Entry) -> Iterator[bytes]:
        """What an entry unpacks to, in pieces of at most 64 KiB.

        Raises:
            Damaged: It is longer or shorter than it says.
            zlib.error: It is damaged.
        """
        inflater = zlib.decompressobj()
        position, produced, rest = entry.data, 0, b""
        while not inflater.eof:
            if not rest:
                rest = self.read_at(position, min(_STEP, entry.size + 128))
                position += len(rest)
                if not rest:
                    raise Damaged("a pack ends too early")
            # One byte more than was declared, to notice data that is longer.
            piece = inflater.decompress(rest, min(entry.size - produced + 1, _STEP))
            rest = inflater.unconsumed_tail
            produced += len(piece)
            if produced > entry.size:
                break
            if piece:
                yield piece
        if produced != entry.size:
            raise Damaged("an object is not as long as it says")


class Objects:
    """The objects of some packs, by hash.

    Args:
        packs: Looked through in this order; they belong to this from now on.
        directory: Where temporary files may be.
        object_format: Of the repository that all of them belong to.
    """

    def __init__(
        self,
        packs: Sequence[Pack],
        directory: str,
        operation: Operation,
        object_format: ObjectFormat,
    ) -> None:
        self.packs = list(packs)
        self.object_format = object_format
        self._directory = directory
        self._operation = operation
        # Two generations, the older dropped as a whole: cheaper than to age each object.
        self._recent: dict[tuple[int, int], tuple[int, bytes]] = {}
        self._former: dict[tuple[int, int], tuple[int, bytes]] = {}
        self._recent_bytes = 0

    def close(self) -> None:
        """Let go of all files."""
        for pack in self.packs:
            with suppress(OSError):
                pack.close()
        self.packs.clear()

    def __enter__(self) -> Objects:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def __contains__(self, name: bytes) -> bool:
        return self.find(name) is not None

    def read(self, name: bytes, kind: int) -> bytes:
        """An object, in memory.

        Args:
            name: Its hash.
            kind: What it must be.

        Raises:
            Damaged: It is missing, damaged or of another kind.
            LimitExceeded: It is larger than what is held in memory.
        """
        most = _TREE_BYTES_MOST if kind == TREE else IN_MEMORY_MOST
        content = self.open(name, kind)
        if isinstance(content, bytes):
            return content
        with content:
            whole = content.read(most + 1)
        if len(whole) > most:
            what = KINDS[kind].decode()
            raise LimitExceeded(f"A {what} of the repository is larger than {most:,} bytes.")
        return whole

    def kind(self, name: bytes) -> int:
        """What an object is.

        Raises:
            Damaged: It is missing or damaged.
        """
        place = self.find(name)
        if place is None:
            raise Damaged(f"the object {name.hex()} is missing")
        kind, content = self.resolve(*place)
        if not isinstance(content, bytes):
            content.close()
        return kind

    def open(self, name: bytes, kind: int = BLOB) -> Content:
        """An object, as bytes if it is small, else as an open temporary file.

        Raises:
            Damaged: It is missing, damaged or of another kind.
        """
        place = self.find(name)
        if place is None:
            raise Damaged(f"the object {name.hex()} is missing")
        found, content = self.resolve(*place)
        if found != kind:
            raise Damaged(f"{name.hex()} is no {KINDS[kind].decode()}")
        if content_name(found, content, self.object_format) != name:
            raise Damaged(f"the object {name.hex()} is damaged")
        return content

    def resolve(self, pack: Pack, offset: int) -> tuple[int, Content]:
        """The kind and the content of an entry, the deltas that lead to it applied.

        Raises:
            Damaged: It can't be made.
        """
        chain: list[tuple[Pack, int, Entry]] = []
        seen = set()
        while (found := self.recent(pack, offset)) is None:
            entry = pack.entry(offset)
            chain.append((pack, offset, entry))
            if entry.base is None:
                break
            self._operation.check()
            seen.add((id(pack), offset))
            pack, offset = self._base(pack, entry.base)
            if (id(pack), offset) in seen:
                raise Damaged("deltas are based on each other")
        kind: int
        content: Content
        kind, content = found or (0, b"")
        for pack, offset, entry in reversed(chain):
            if entry.base is None:
                kind, content = entry.kind, self._whole(pack, entry)
            else:
                content = self._applied(content, pack, entry)
            if isinstance(content, bytes):
                self.remember(pack, offset, kind, content)
        return kind, content

    def remember(self, pack: Pack, offset: int, kind: int, content: bytes) -> None:
        """Keep a content for a while, since deltas may be based on it."""
        if self._recent_bytes > _GENERATION_BYTES:
            self._former, self._recent, self._recent_bytes = self._recent, {}, 0
        self._recent[id(pack), offset] = (kind, content)
        self._recent_bytes += len(content) + _OVERHEAD

    def recent(self, pack: Pack, offset: int) -> tuple[int, bytes] | None:
        """A content that was read lately."""
        place = (id(pack), offset)
        return self._recent.get(place) or self._former.get(place)

    def find(self, name: bytes) -> tuple[Pack, int] | None:
        """Which pack has an object, and where."""
        for pack in self.packs:
            offset = pack.index.find(name)
            if offset is not None:
                return pack, offset
        return None

    def _base(self, pack: Pack, base: int | bytes) -> tuple[Pack, int]:
        if isinstance(base, int):
            return pack, base
        place = self.find(base)
        if place is None:
            raise Damaged("a delta lacks its base")
        return place

    def _whole(self, pack: Pack, entry: Entry) -> Content:
        if entry.size <= IN_MEMORY_MOST:
            return b"".join(pack.pieces(entry))
        file = self._new_file()
        for piece in pack.pieces(entry):
            self._operation.check()
            file.write(piece)
        return file

    def _new_file(self) -> BinaryIO:
        # The caller gets it, or closes it when it is a content that is used up.
        return cast(BinaryIO, TemporaryFile(dir=self._directory))

    def _applied(self, base: Content, pack: Pack, entry: Entry) -> Content:
        if isinstance(base, bytes) and entry.size <= IN_MEMORY_MOST:
            delta = b"".join(pack.pieces(entry))
            if sizes(delta)[1] <= IN_MEMORY_MOST:
                return apply_in_memory(base, delta)
        return self._applied_in_steps(base, pack, entry)

    def _applied_in_steps(self, base: Content, pack: Pack, entry: Entry) -> Content:
        source = BytesIO(base) if isinstance(base, bytes) else base
        result = self._new_file()
        with source:
            size = source.seek(0, os.SEEK_END)

            def write(piece: bytes) -> None:
                self._operation.check()
                result.write(piece)

            wanted, made = apply_in_steps(source, pack.pieces(entry), write)
        if wanted != size:
            raise Damaged("a delta does not fit its base")
        if made > IN_MEMORY_MOST:
            return result
        with result:
            result.seek(0)
            return result.read()


def content_name(kind: int, content: Content, object_format: ObjectFormat) -> bytes:
    """The hash of a content; a file is left at its beginning."""
    if isinstance(content, bytes):
        return object_format.object_name(kind, content)
    size = content.seek(0, os.SEEK_END)
    digest = object_format.new_hash(b"%s %d\0" % (KINDS[kind], size))
    content.seek(0)
    while piece := content.read(_STEP):
        digest.update(piece)
    content.seek(0)
    return digest.digest()
