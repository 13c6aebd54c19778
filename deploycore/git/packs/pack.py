"""Read objects of complete packs; each object is checked against its hash when it is read.

Files are read in steps and never mapped, since a mapped pack counts as memory. An object of more
than 1 MiB is kept in a temporary file, so that memory is bounded for any repository. Chains of
deltas are followed in a loop, whatever their length.

Format: https://git-scm.com/docs/gitformat-pack
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, pairwise
from tempfile import TemporaryFile
from typing import BinaryIO, Protocol, cast

from deploycore.git.operation import Operation
from deploycore.git.packs.compression import crc32, decompressobj
from deploycore.git.packs.content import (
    MAX_IN_MEMORY,
    Content,
    content_name,
    content_size,
    open_reader,
    read_function,
)
from deploycore.git.packs.delta import MAX_SIZES_BYTES, apply_in_memory, apply_in_steps, sizes
from deploycore.git.packs.entry import MAX_ENTRY_HEADER, Entry, entry_header
from deploycore.git.packs.objects import BLOB, KINDS, Damaged, ObjectFormat, too_large

__all__ = [
    "Index",
    "Objects",
    "Pack",
]

_MAX_OTHERS_BYTES = 16 * 1024 * 1024
_OVERHEAD = 256  # bytes that a small object takes besides its content
_GENERATION_BYTES = 4 * 1024 * 1024
_STEP = 64 * 1024
_CHECKSUM_STEP = 192 * 1024
_MAX_CHAIN = 20_000  # deltas upon deltas; git makes no more than 4,095


class Index(Protocol):
    """Finds the objects of a pack."""

    def find(self, name: bytes) -> int | None:
        """The offset of an object, by its hash."""

    def close(self) -> None:
        """Close what is open."""


class Pack:
    """A pack file, open for reading.

    Args:
        descriptor: A descriptor of the file, which the pack closes.
        index: Finds its objects.
        object_format: The repository's object format.
    """

    def __init__(self, descriptor: int, index: Index, object_format: ObjectFormat) -> None:
        self.index = index
        self._hash_bytes = object_format.hash_bytes
        self._descriptor = descriptor

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
        self.index.close()

    def read_at(self, offset: int, size: int) -> bytes:
        """Bytes of the file, fewer where it ends.

        Raises:
            OSError: They can't be read.
        """
        return os.pread(self._descriptor, size, offset)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return os.fstat(self._descriptor).st_size

    def checksum(self) -> bytes:
        """The checksum in the pack's trailer."""
        size = os.fstat(self._descriptor).st_size
        return os.pread(self._descriptor, self._hash_bytes, max(0, size - self._hash_bytes))

    def entry_checksums(self, offsets: array[int], end: int) -> array[int]:
        """Return the CRC-32 of each entry, for which the file is read again.

        Args:
            offsets: Where the entries begin, ascending.
            end: Where the last one ends.
        """
        found = array("I")
        read, first = memoryview(b""), 0
        for start, after in pairwise(chain(offsets, (end,))):
            checksum = 0
            while start < after:
                if not 0 <= start - first < len(read):
                    read, first = memoryview(self.read_at(start, _CHECKSUM_STEP)), start
                piece = read[start - first : after - first]
                checksum = crc32(piece, checksum)
                start += len(piece) or after - start
            found.append(checksum)
        return found

    def entry(self, offset: int) -> Entry:
        """The entry at an offset; its ``data`` is an offset in the pack.

        Raises:
            Damaged: There is none.
        """
        found = entry_header(self.read_at(offset, MAX_ENTRY_HEADER), 0, offset, self._hash_bytes)
        if found is None:
            raise Damaged("the pack ends too early")
        return found._replace(data=offset + found.data)

    def pieces(self, entry: Entry, check: Callable[[], None]) -> Iterator[bytes]:
        """Unpack an entry, in pieces of at most 64 KiB.

        Args:
            check: Called before each read, since gigabytes may unpack to nothing.

        Raises:
            Damaged: The size differs from the header.
            DECOMPRESSION_ERRORS: The data is damaged.
        """
        inflater = decompressobj()
        position, produced, rest = entry.data, 0, b""
        while not inflater.eof:
            if not rest:
                check()
                rest = self.read_at(position, min(_STEP, entry.size + 128))
                position += len(rest)
                if not rest:
                    raise Damaged("the pack ends too early")
            # One byte more than was declared, to notice data that is longer.
            piece = inflater.decompress(rest, min(entry.size - produced + 1, _STEP))
            rest = inflater.unconsumed_tail
            produced += len(piece)
            if produced > entry.size:
                break
            if piece:
                yield piece
        if produced != entry.size:
            raise Damaged("the size of an object is not what its header says")


class Objects:
    """The objects of some packs, by hash.

    Args:
        packs: Searched in this order. They are closed with this.
        directory: For temporary files.
        object_format: The repository's object format.
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
        # Two generations, of which the older is dropped as a whole: cheaper than an age per object.
        self._recent: dict[tuple[int, int], tuple[int, bytes]] = {}
        self._former: dict[tuple[int, int], tuple[int, bytes]] = {}
        self._recent_bytes = 0
        # The last large content, since the next entry of a pack is often based on it.
        self._large: tuple[tuple[int, int], int, BinaryIO] | None = None

    def close(self) -> None:
        """Close all files."""
        self.forget_large()
        for pack in self.packs:
            with suppress(OSError):
                pack.close()
        self.packs.clear()

    def __contains__(self, name: bytes) -> bool:
        return self.find(name) is not None

    def read(self, name: bytes, kind: int) -> bytes:
        """Read an object into memory.

        Args:
            name: Its hash.
            kind: The kind that it must have.

        Raises:
            Damaged: It is missing, damaged or of another kind.
            LimitExceeded: It is too large for memory.
        """
        most = MAX_IN_MEMORY if kind == BLOB else _MAX_OTHERS_BYTES
        content = self.open(name, kind)
        if isinstance(content, bytes):
            return content
        with content:
            whole = content.read(most + 1)
        if len(whole) > most:
            raise too_large(kind, most)
        return whole

    def kind(self, name: bytes) -> int:
        """Return an object's kind.

        Raises:
            Damaged: The object is missing or damaged.
        """
        place = self.find(name)
        if place is None:
            raise Damaged(f"the object {name.hex()} is missing")
        kind, content = self.resolve(*place)
        if not isinstance(content, bytes):
            content.close()
        return kind

    def open(self, name: bytes, kind: int = BLOB) -> Content:
        """Read an object, as bytes if it is small, else as an open temporary file.

        Raises:
            Damaged: It is missing, damaged or of another kind.
        """
        place = self.find(name)
        if place is None:
            raise Damaged(f"the object {name.hex()} is missing")
        found, content = self.resolve(*place)
        if found != kind:
            raise Damaged(f"the object {name.hex()} is not a {KINDS[kind].decode()}")
        if content_name(found, content, self.object_format) != name:
            raise Damaged(f"the object {name.hex()} is damaged")
        return content

    def resolve(self, pack: Pack, offset: int) -> tuple[int, Content]:
        """Read an entry's kind and content, and apply deltas.

        Raises:
            Damaged: The entry, or the base of a delta, is missing or damaged.
            LimitExceeded: It takes too much work.
        """
        chain: list[tuple[Pack, int, Entry]] = []
        while (found := self._at_hand(pack, offset)) is None:
            entry = pack.entry(offset)
            chain.append((pack, offset, entry))
            if entry.base is None:
                break
            if len(chain) > _MAX_CHAIN:
                raise Damaged("a chain of deltas is circular or too long")
            self._operation.check_sometimes()
            pack, offset = self._base(pack, entry.base)
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
            else:
                self._keep_large(pack, offset, kind, content)
        return kind, content if isinstance(content, bytes) else open_reader(content)

    def size_of(self, pack: Pack, entry: Entry) -> int:
        """The size of an entry's content, as its header says.

        Raises:
            Damaged: The entry is malformed.
        """
        if entry.base is None:
            return entry.size
        head = b""
        for piece in pack.pieces(entry, self._operation.check):
            head += piece
            if len(head) >= MAX_SIZES_BYTES:
                break
        return sizes(head)[1]

    def remember(self, pack: Pack, offset: int, kind: int, content: bytes) -> None:
        """Keep a content for some time, since deltas may be based on it."""
        if self._recent_bytes > _GENERATION_BYTES:
            self._former, self._recent, self._recent_bytes = self._recent, {}, 0
        self._recent[id(pack), offset] = (kind, content)
        self._recent_bytes += len(content) + _OVERHEAD

    def recent(self, pack: Pack, offset: int) -> tuple[int, bytes] | None:
        """A content that was read recently."""
        place = (id(pack), offset)
        return self._recent.get(place) or self._former.get(place)

    def find(self, name: bytes) -> tuple[Pack, int] | None:
        """Find the pack that has an object, and its offset."""
        for pack in self.packs:
            offset = pack.index.find(name)
            if offset is not None:
                return pack, offset
        return None

    def _at_hand(self, pack: Pack, offset: int) -> tuple[int, Content] | None:
        if self._large is not None and self._large[0] == (id(pack), offset):
            return self._large[1:]
        return self.recent(pack, offset)

    def _keep_large(self, pack: Pack, offset: int, kind: int, content: BinaryIO) -> None:
        self.forget_large()
        self._large = (id(pack), offset), kind, content

    def forget_large(self) -> None:
        """Close the last large content, but not the packs."""
        if self._large is not None:
            self._large[2].close()
            self._large = None

    def _base(self, pack: Pack, base: int | bytes) -> tuple[Pack, int]:
        if isinstance(base, int):
            return pack, base
        place = self.find(base)
        if place is None:
            raise Damaged("the base of a delta is missing")
        return place

    def _whole(self, pack: Pack, entry: Entry) -> Content:
        self._operation.reread(entry.size)
        pieces = pack.pieces(entry, self._operation.check)
        if entry.size <= MAX_IN_MEMORY:
            return b"".join(pieces)
        with self._new_file() as (file, write):
            for piece in pieces:
                write(piece)
        return file

    @contextmanager
    def _new_file(self) -> Iterator[tuple[BinaryIO, Callable[[bytes], object]]]:
        """Open a temporary file, which is closed on an error, and a function that writes to it."""
        file = cast(BinaryIO, TemporaryFile(dir=self._directory, buffering=0))  # noqa: SIM115

        def write(piece: bytes) -> None:
            self._operation.check()
            rest = memoryview(piece)
            while rest:
                rest = rest[file.write(rest) :]

        try:
            yield file, write
        except BaseException:
            file.close()
            raise

    def _applied(self, base: Content, pack: Pack, entry: Entry) -> Content:
        if isinstance(base, bytes) and entry.size <= MAX_IN_MEMORY:
            delta = b"".join(pack.pieces(entry, self._operation.check))
            made = sizes(delta)[1]
            if made <= MAX_IN_MEMORY:
                self._operation.reread(made + len(delta))
                return apply_in_memory(base, delta)
        return self._applied_in_steps(base, pack, entry)

    def _applied_in_steps(self, base: Content, pack: Pack, entry: Entry) -> Content:
        self._operation.reread(self.size_of(pack, entry) + entry.size)
        pieces = pack.pieces(entry, self._operation.check)
        with self._new_file() as (result, write):
            wanted, made = apply_in_steps(read_function(base), pieces, write)
            if wanted != content_size(base):
                raise Damaged("a delta does not fit its base")
        if made > MAX_IN_MEMORY:
            return result
        with result:
            return os.pread(result.fileno(), made, 0)
