"""Receive a pack: store, unpack and hash it in one pass, and pass its objects on.

Git sends commits, then trees, then blobs, so a file's path is known when its content arrives.
Nothing relies on that order: what cannot be used yet is read from the pack's file at the end, as is
a delta whose base has not arrived. The hash of each object is computed here from the received
content. No hash that a server claims is trusted.

Format: https://git-scm.com/docs/gitformat-pack
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from pathlib import Path

from deploycore.errors import LimitExceeded
from deploycore.git.operation import Operation
from deploycore.git.packs.compression import decompressobj
from deploycore.git.packs.consumer import Consumer
from deploycore.git.packs.content import (
    MAX_IN_MEMORY,
    Content,
    close_content,
    content_name,
    content_pieces,
    content_size,
)
from deploycore.git.packs.delta import apply_in_memory, sizes
from deploycore.git.packs.entry import (
    MAX_ENTRY_HEADER,
    PACK_HEADER,
    Entry,
    entry_header,
    entry_pieces,
    kind_and_size,
    object_count,
)
from deploycore.git.packs.hash_table import HashIndex, HashTable
from deploycore.git.packs.objects import BLOB, KINDS, Damaged, ObjectFormat
from deploycore.git.packs.pack import Objects, Pack
from deploycore.git.packs.pack_index import index_of
from deploycore.git.packs.partial_entry import PartialEntry
from deploycore.git.wording import limit_hint
from deploycore.records import record

__all__ = ["PackReceiver", "Received"]

_STEP = 64 * 1024
_AT_ONCE = 192 * 1024
_MAX_QUICK = 256 * 1024
_NUMBER_BITS = 32
_NUMBER_MASK = (1 << _NUMBER_BITS) - 1


@record
class Received:
    """A pack that was received completely.

    Attributes:
        path: The path of its file.
        pack: The open file.
        checksum: The pack's checksum, which is part of its name in a repository.
        index: Returns the content of its index file, in pieces.
        object_format: The repository's object format.
    """

    path: Path
    pack: Pack
    checksum: bytes
    index: Callable[[], Iterator[bytes]]
    object_format: ObjectFormat


class _Arrived:
    """The index of a pack that is still arriving."""

    def __init__(self, find: Callable[[bytes], int | None]) -> None:
        self.find = find

    def close(self) -> None:
        """Do nothing, since nothing is open."""


class PackReceiver:
    """Takes a pack's bytes and passes its objects on.

    Args:
        path: The path of the pack's file, which does not exist yet.
        consumer: Gets each object as soon as it is complete, in any order.
        operation: Checks the limits.
        known: Objects of the same repository, on which deltas may be based.

    Raises:
        OSError: The file cannot be created.
    """

    def __init__(
        self, path: Path, consumer: Consumer, operation: Operation, known: Objects
    ) -> None:
        self._path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o444)
        self._consumer = consumer
        self._operation = operation
        self._format = known.object_format
        self._hash_bytes = self._format.hash_bytes
        self._no_hash = bytes(self._hash_bytes)
        self._pack = Pack(self._descriptor, _Arrived(self._find), self._format)
        self._objects = Objects(
            [self._pack, *known.packs], os.fspath(path.parent), operation, self._format
        )
        self._waiting_bytes: list[bytes] = []
        self._waiting_size = 0
        self._rest = b""
        self._digest = self._format.new_hash()
        self._parsed = 0
        self._left: int | None = None
        self._unfinished: PartialEntry | None = None
        self._offsets = array("Q")
        self._names = bytearray()
        # Postponed deltas, by number, ascending. Their hash is zero until they are applied.
        self._missing = array("I")
        self._by_name = HashIndex(self._names, self._hash_bytes)
        self._foreign = HashTable(self._hash_bytes)

    def feed(self, data: bytes) -> None:
        """Take the next bytes, in any number.

        Raises:
            Damaged: The pack is damaged.
            DECOMPRESSION_ERRORS: The pack is damaged.
            LimitExceeded: The pack exceeds a limit.
            OSError: The file cannot be written.
        """
        self._waiting_bytes.append(data)
        self._waiting_size += len(data)
        if self._waiting_size >= _AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        data = b"".join(self._waiting_bytes)
        self._waiting_bytes.clear()
        self._waiting_size = 0
        _write(self._descriptor, data)
        self._operation.check()
        buffer = self._rest + data
        position = self._parse(buffer)
        self._digest.update(memoryview(buffer)[:position])
        self._parsed += position
        self._rest = buffer[position:]
        if self._left == 0 and len(self._rest) > self._hash_bytes:
            raise Damaged("data follows the end of the pack")

    def _parse(self, buffer: bytes) -> int:
        """Parse the buffered bytes; returns how many were used."""
        position = 0
        if self._left is None:
            if len(buffer) < PACK_HEADER:
                return 0
            self._left = object_count(buffer)
            self._refuse_too_many(self._left)
            self._consumer.begin(self._left)
            position = PACK_HEADER
        view = memoryview(buffer)
        while self._left:
            if self._unfinished is None:
                position = self._take_run(buffer, view, position)
                if not self._left:
                    break
                offset = self._parsed + position
                entry = entry_header(buffer, position, offset, self._hash_bytes)
                if entry is None:
                    return position
                self._operation.unpack(entry.size)
                after = self._unpack_at_once(view, position, offset, entry)
                if after:
                    position = after
                    continue
                self._unfinished = PartialEntry(entry, offset, self._consumer, self._format)
                position = entry.data
            position = self._go_on(self._unfinished, view, position)
            if self._unfinished is not None:
                return position
        return position

    def _refuse_too_many(self, objects: int) -> None:
        most = self._operation.settings.max_objects
        if objects > most:
            raise LimitExceeded(
                f"The server sends {objects:,} objects; the limit is {most:,}.",
                hint=limit_hint("max_objects"),
                limit="max_objects",
            )

    def _take_run(self, buffer: bytes, view: memoryview, position: int) -> int:
        """Take entries while they are complete, small and not deltas, as most entries are.

        It does the same as for any other entry, but without function calls.

        Returns:
            The position where the run ends.
        """
        last = len(buffer) - MAX_ENTRY_HEADER
        parsed, offsets, take = self._parsed, self._offsets, self._consumer.take
        remember, pack, name_of = self._objects.remember, self._pack, self._format.object_name
        max_quick = min(_MAX_QUICK, self._operation.settings.max_object_bytes)
        names, unpacked, before = self._names, 0, self._left or 0
        left = before
        while left and position < last:
            kind, size, data = kind_and_size(buffer, position)
            if kind not in KINDS or size > max_quick:
                break
            part = view[data : data + size + (size >> 8) + 64]
            inflater = decompressobj()
            content = inflater.decompress(part, size + 1)
            if not inflater.eof or len(content) != size:
                break
            name = name_of(kind, content)
            offsets.append(parsed + position)
            names += name
            remember(pack, parsed + position, kind, content)
            take(kind, name, content)
            position = data + len(part) - len(inflater.unused_data)
            left -= 1
            unpacked += size
        self._left = left
        self._operation.unpack(0, together=unpacked, objects=before - left)
        return position

    def _unpack_at_once(self, view: memoryview, start: int, offset: int, entry: Entry) -> int:
        """Unpack a complete entry; returns where it ends, or 0 if it is not complete."""
        size = entry.size
        if size > MAX_IN_MEMORY:
            return 0
        # A limited slice, since zlib copies what follows the entry.
        stop = min(entry.data + size + (size >> 8) + 64, len(view))
        inflater = decompressobj()
        content = inflater.decompress(view[entry.data : stop], size + 1)
        if not inflater.eof:
            return 0
        if len(content) != size:
            raise Damaged("the size of an object is not what its header says")
        end = stop - len(inflater.unused_data)
        self._offsets.append(offset)
        self._left -= 1  # type: ignore[operator]
        kind = entry.kind
        if kind not in KINDS:
            self._take_delta(kind, entry.base, content)
            return end
        self._take(kind, self._format.object_name(kind, content), content)
        return end

    def _go_on(self, unfinished: PartialEntry, view: memoryview, position: int) -> int:
        inflater = unfinished.inflater
        size = unfinished.entry.size
        tail = b""
        while not inflater.eof:
            if not tail:
                if position == len(view):
                    break
                tail = view[position : position + _STEP]  # type: ignore[assignment]
                position += len(tail)
            most = min(size - unfinished.produced + 1, _STEP)
            unfinished.add(inflater.decompress(tail, most))
            tail = inflater.unconsumed_tail
        position -= len(inflater.unused_data)
        if inflater.eof:
            self._finish_entry(unfinished)
        return position

    def _finish_entry(self, unfinished: PartialEntry) -> None:
        entry = unfinished.entry
        if unfinished.produced != entry.size:
            raise Damaged("the size of an object is not what its header says")
        self._unfinished = None
        self._offsets.append(unfinished.offset)
        self._left -= 1  # type: ignore[operator]
        if unfinished.digest is None:
            if unfinished.holds:
                self._take_delta(entry.kind, entry.base, b"".join(unfinished.held))
            else:
                self._operation.unpack(sizes(b"".join(unfinished.held))[1])
                self._leave()
            return
        name = unfinished.digest.digest()
        if unfinished.file is not None:
            unfinished.file.finish(name)
            self._names += name
        else:
            self._take(entry.kind, name, b"".join(unfinished.held))

    def _take(self, kind: int, name: bytes, content: bytes) -> None:
        self._names += name
        if len(content) <= MAX_IN_MEMORY:
            self._objects.remember(self._pack, self._offsets[-1], kind, content)
        self._consumer.take(kind, name, content)

    def _leave(self) -> None:
        """Postpone a delta to the end."""
        self._missing.append(len(self._offsets) - 1)
        self._names += self._no_hash

    def _take_delta(self, kind: int, base: int | bytes | None, delta: bytes) -> None:
        self._operation.unpack(sizes(delta)[1])
        found = self._small_base(base)
        if found is None or sizes(delta)[1] > MAX_IN_MEMORY:
            self._leave()
            return
        kind, content = found
        content = apply_in_memory(content, delta)
        name = self._format.object_name(kind, content)
        if name == base:
            raise _of_itself()
        self._take(kind, name, content)

    def _small_base(self, base: int | bytes | None) -> tuple[int, bytes] | None:
        """The base of a delta, if it is known already and small."""
        pack, offset = self._place(base)
        if pack is None:
            return None
        recent = self._objects.recent(pack, offset)
        if recent is not None:
            return recent
        # A large base is unpacked once, at the end, for all deltas that are based on it.
        if self._objects.size_of(pack, pack.entry(offset)) > MAX_IN_MEMORY:
            return None
        kind, content = self._objects.resolve(pack, offset)
        if isinstance(content, bytes):
            return kind, content
        content.close()
        raise Damaged("the result of a delta has the wrong size")

    def _place(self, base: int | bytes | None) -> tuple[Pack | None, int]:
        if isinstance(base, bytes):
            pack, offset = self._objects.find(base) or (None, 0)
            if pack not in (None, self._pack):
                self._add_foreign(base)
            return pack, offset
        number = self._number(base or 0)
        if self._name_of(number) == self._no_hash:
            return None, 0
        return self._pack, self._offsets[number]

    def _add_foreign(self, base: bytes) -> None:
        if self._foreign.get(base) is None:
            self._foreign.add(base, 0)

    def _number(self, offset: int) -> int:
        number = bisect_left(self._offsets, offset)
        if number == len(self._offsets) or self._offsets[number] != offset:
            raise Damaged("the base of a delta is not an object")
        return number

    def _find(self, name: bytes) -> int | None:
        # The current entry has an offset already, but no name yet.
        number = self._by_name.find(name)
        return None if number is None else self._offsets[number]

    def _name_of(self, number: int) -> bytes:
        size = self._hash_bytes
        return bytes(self._names[number * size : (number + 1) * size])

    def finish(self) -> Received:
        """Complete and check the pack, after all bytes were fed.

        Returns:
            The pack, still open.

        Raises:
            Damaged: The pack is damaged or incomplete.
            LimitExceeded: The pack exceeds a limit.
            OSError: The file cannot be written.
        """
        self._flush()
        if self._left is None or self._left or len(self._rest) < self._hash_bytes:
            raise Damaged("the pack ends too early")
        if self._rest != self._digest.digest():
            raise Damaged("the checksum of the pack is wrong")
        self._resolve_missing()
        if len(self._foreign):
            self._add_bases()
        self._objects.forget_large()
        return Received(self._path, self._pack, self._rest, self._index_content, self._format)

    def _add_bases(self) -> None:
        """Complete a thin pack with the bases of its deltas."""
        os.ftruncate(self._descriptor, self._parsed)
        os.lseek(self._descriptor, 0, os.SEEK_END)
        for name in self._foreign.ordered():
            self._add_base(name)
        os.pwrite(self._descriptor, len(self._offsets).to_bytes(4), 8)
        digest = self._format.new_hash()
        position = 0
        while piece := os.pread(self._descriptor, _AT_ONCE, position):
            digest.update(piece)
            position += len(piece)
        self._rest = digest.digest()
        _write(self._descriptor, self._rest)

    def _add_base(self, name: bytes) -> None:
        place = self._objects.find(name)
        if place is None:
            raise Damaged("the base of a delta is missing")
        kind, content = self._objects.resolve(*place)
        try:
            if content_name(kind, content, self._format) != name:
                raise Damaged("the base of a delta is missing")
            self._offsets.append(self._parsed)
            self._names += name
            for piece in entry_pieces(kind, content):
                self._operation.check_sometimes()
                _write(self._descriptor, piece)
                self._parsed += len(piece)
        finally:
            close_content(content)

    def _index_content(self) -> Iterator[bytes]:
        checksums = self._pack.entry_checksums(self._offsets, self._parsed)
        return index_of(self._names, self._offsets, checksums, self._rest, self._format)

    def close(self) -> None:
        """Close the file."""
        self._objects.forget_large()
        self._pack.close()

    def _resolve_missing(self) -> None:
        """Apply the postponed deltas."""
        by_name, by_number, ready = HashTable(self._hash_bytes), [], []
        for number in self._missing:
            base = self._pack.entry(self._offsets[number]).base
            if isinstance(base, bytes):
                by_name.add(base, number)
            elif self._name_of(below := self._number(base or 0)) == self._no_hash:
                by_number.append(below << _NUMBER_BITS | number)
            else:
                ready.append(number)
        upon = array("Q", sorted(by_number))
        del by_number
        for name in by_name.ordered():
            if self._place(name)[0]:
                ready += by_name.pop(name)
        resolved = 0
        while ready:
            self._operation.check()
            number = ready.pop()
            name = self._resolve(number)
            resolved += 1
            ready += _those_upon(upon, number)
            ready += by_name.pop(name)
        if resolved != len(self._missing):
            raise Damaged("the base of a delta is missing")

    def _resolve(self, number: int) -> bytes:
        offset = self._offsets[number]
        kind, content = self._objects.resolve(self._pack, offset)
        try:
            name = self._pass_on(kind, content)
        finally:
            close_content(content)
        if name == self._pack.entry(offset).base:
            raise _of_itself()
        size = self._hash_bytes
        self._names[number * size : (number + 1) * size] = name
        self._by_name.named(number)
        return name

    def _pass_on(self, kind: int, content: Content) -> bytes:
        """Pass on the object that a delta makes; returns its hash."""
        name = content_name(kind, content, self._format)
        if isinstance(content, bytes):
            self._consumer.take(kind, name, content)
        elif kind == BLOB:
            file = self._consumer.large_blob(content_size(content))
            for piece in content_pieces(content):
                self._operation.check()
                file.write(piece)
            file.finish(name)
        return name


def _those_upon(upon: array[int], number: int) -> list[int]:
    """The numbers of the deltas that are based on an entry, from pairs that are sorted."""
    first = bisect_left(upon, number << _NUMBER_BITS)
    last = bisect_left(upon, (number + 1) << _NUMBER_BITS)
    return [each & _NUMBER_MASK for each in upon[first:last]]


def _of_itself() -> Damaged:
    return Damaged("a delta is its own base")


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
