"""The content of an object: bytes if it is small, else an open temporary file.

What is larger than ``MAX_IN_MEMORY`` is read and hashed in pieces, so that memory stays bounded
whatever a repository holds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import BufferedReader, BytesIO, RawIOBase
from typing import TYPE_CHECKING, BinaryIO

from deploycore.git.packs.delta import ReadAt
from deploycore.git.packs.objects import KINDS, ObjectFormat

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = [
    "MAX_IN_MEMORY",
    "Content",
    "close_content",
    "content_name",
    "content_pieces",
    "content_size",
    "open_reader",
    "read_function",
]

MAX_IN_MEMORY = 1024 * 1024
_STEP = 64 * 1024

Content = bytes | BinaryIO


def content_size(content: Content) -> int:
    """Return the number of bytes of a content; the position in a file stays."""
    return len(content) if isinstance(content, bytes) else os.fstat(content.fileno()).st_size


def content_pieces(content: Content) -> Iterator[bytes]:
    """Read a content from its beginning, in pieces of at most 64 KiB."""
    file = BytesIO(content) if isinstance(content, bytes) else content
    file.seek(0)
    return iter(lambda: file.read(_STEP), b"")


def close_content(content: Content) -> None:
    """Close a content that is a file."""
    if not isinstance(content, bytes):
        content.close()


def read_function(content: Content) -> ReadAt:
    """Return the function that reads any part of a content."""
    if isinstance(content, bytes):
        return lambda start, size: content[start : start + size]
    return lambda start, size: os.pread(content.fileno(), size, start)


def content_name(kind: int, content: Content, object_format: ObjectFormat) -> bytes:
    """Return the hash that names a content; a file is left at its beginning."""
    if isinstance(content, bytes):
        return object_format.object_name(kind, content)
    size = content.seek(0, os.SEEK_END)
    digest = object_format.new_hash(b"%s %d\0" % (KINDS[kind], size))
    content.seek(0)
    while piece := content.read(_STEP):
        digest.update(piece)
    content.seek(0)
    return digest.digest()


def open_reader(file: BinaryIO) -> BinaryIO:
    """Open a file once more, with a position of its own."""
    return BufferedReader(_Reader(file.fileno()), _STEP)


class _Reader(RawIOBase):
    """Reads a file from a position of its own, while others read the same file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = os.dup(descriptor)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        into = memoryview(buffer)
        piece = os.pread(self._descriptor, len(into), self._position)
        into[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        starts = {
            os.SEEK_SET: 0,
            os.SEEK_CUR: self._position,
            os.SEEK_END: os.fstat(self._descriptor).st_size,
        }
        self._position = starts[whence] + offset
        return self._position

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()
