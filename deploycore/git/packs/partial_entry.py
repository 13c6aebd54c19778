"""An entry of a pack of which only a part has arrived."""

from __future__ import annotations

from deploycore.git.packs.compression import decompressobj
from deploycore.git.packs.consumer import Consumer, LargeFile
from deploycore.git.packs.content import MAX_IN_MEMORY
from deploycore.git.packs.delta import MAX_SIZES_BYTES
from deploycore.git.packs.entry import Entry
from deploycore.git.packs.objects import BLOB, KINDS, Damaged, ObjectFormat, too_large

__all__ = ["PartialEntry"]

_MAX_HELD = 16 * 1024 * 1024


class PartialEntry:
    """An entry of which a part has arrived."""

    def __init__(
        self, entry: Entry, offset: int, consumer: Consumer, object_format: ObjectFormat
    ) -> None:
        self.entry = entry
        self.offset = offset
        self.inflater = decompressobj()
        self.produced = 0
        self.held: list[bytes] = []
        self.file: LargeFile | None = None
        self.digest = None
        kind, size = entry.kind, entry.size
        if kind in KINDS:
            self.digest = object_format.new_hash(b"%s %d\0" % (KINDS[kind], size))
        # Of a large delta, only the beginning is held; it is read again in the end.
        self.holds = size <= MAX_IN_MEMORY or (kind in KINDS and kind != BLOB)
        if kind == BLOB and not self.holds:
            self.file = consumer.large_blob(size)
        elif self.holds and size > _MAX_HELD:
            raise too_large(kind, _MAX_HELD)

    def add(self, piece: bytes) -> None:
        """Take the next unpacked bytes.

        Raises:
            Damaged: The object is longer than its entry says.
        """
        before = self.produced
        self.produced += len(piece)
        if self.produced > self.entry.size:
            raise Damaged("the size of an object is not what its header says")
        if self.digest is not None:
            self.digest.update(piece)
        if self.file is not None:
            self.file.write(piece)
        elif self.holds or before < MAX_SIZES_BYTES:
            self.held.append(piece)
