"""Deltas: an object told as copies from another one, and what is new in between.

Small ones are dulwich's, compiled where its wheel has it. It makes the whole result in memory,
so large ones are applied here, in steps, from one file to another.

Format: https://git-scm.com/docs/gitformat-pack ("Deltified representation")
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from inspect import isbuiltin
from io import BytesIO
from typing import BinaryIO

from dulwich.errors import ApplyDeltaError
from dulwich.pack import apply_delta

from deploycore.git.objects import Damaged

__all__ = ["apply_in_memory", "apply_in_steps", "sizes"]

_STEP = 64 * 1024
# dulwich's Python code looks at the result's size when all is made, its compiled code before.
_IS_BOUNDED = isbuiltin(apply_delta)
_COPY = 0x80
_COPY_SIZE_IF_ZERO = 0x10000


def sizes(delta: bytes) -> tuple[int, int]:
    """The size of what a delta is based on, and of what it makes.

    Args:
        delta: Its first bytes are enough, 20 of them.

    Raises:
        Damaged: It has no sizes.
    """
    base, position = _number(delta, 0)
    result, _ = _number(delta, position)
    return base, result


def apply_in_memory(base: bytes, delta: bytes) -> bytes:
    """What a delta makes of its base.

    Raises:
        Damaged: It does not fit its base, or is malformed.
    """
    base_size, result_size = sizes(delta)
    if base_size != len(base):
        raise Damaged("a delta does not fit its base")
    if not _IS_BOUNDED:
        made = BytesIO()
        apply_in_steps(BytesIO(base), iter((delta,)), made.write)
        return made.getvalue()
    try:
        result = b"".join(apply_delta(base, delta))
    except ApplyDeltaError as error:
        raise Damaged(f"a delta is malformed: {error}") from None
    if len(result) != result_size:
        raise Damaged("a delta does not make what it says")
    return result


def apply_in_steps(
    base: BinaryIO, delta: Iterator[bytes], write: Callable[[bytes], object]
) -> tuple[int, int]:
    """What a delta makes of its base, with no more than some steps of 64 KiB in memory.

    Args:
        base: Can be read anywhere.
        delta: Its bytes, in pieces of whatever size.

    Returns:
        The size that the base should have, and the size of the result.

    Raises:
        Damaged: It is malformed, or does not make what it says.
    """
    source = _Pieces(delta)
    base_size, result_size = source.number(), source.number()
    made = 0
    while not source.at_end():
        command = source.byte()
        if command & _COPY:
            offset = sum(source.byte() << 8 * n for n in range(4) if command >> n & 1)
            size = sum(source.byte() << 8 * n for n in range(3) if command >> 4 + n & 1)
            size = size or _COPY_SIZE_IF_ZERO
            pieces = _copied(base, offset, size)
        elif command:
            size = command
            pieces = source.pieces(size)
        else:
            raise Damaged("a delta has a command that is reserved")
        made += size
        if made > result_size:
            break
        for piece in pieces:
            write(piece)
    if made != result_size:
        raise Damaged("a delta does not make what it says")
    return base_size, result_size


def _copied(base: BinaryIO, offset: int, size: int) -> Iterator[bytes]:
    base.seek(offset)
    while size:
        piece = base.read(min(size, _STEP))
        if not piece:
            raise Damaged("a delta copies what its base does not have")
        size -= len(piece)
        yield piece


def _number(data: bytes, position: int) -> tuple[int, int]:
    number, shift = 0, 0
    while position < len(data) and shift < 64:
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return number, position
    raise Damaged("a delta has no sizes")


class _Pieces:
    """Bytes that come in pieces, read in others."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._more = pieces
        self._piece = b""
        self._position = 0

    def at_end(self) -> bool:
        while self._position == len(self._piece):
            self._piece, self._position = next(self._more, b""), 0
            if not self._piece:
                return True
        return False

    def byte(self) -> int:
        if self.at_end():
            raise Damaged("a delta ends too early")
        self._position += 1
        return self._piece[self._position - 1]

    def number(self) -> int:
        number, shift = 0, 0
        while True:
            byte = self.byte()
            number |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return number
            if shift > 63:
                raise Damaged("a delta has no sizes")

    def pieces(self, size: int) -> Iterator[bytes]:
        while size:
            if self.at_end():
                raise Damaged("a delta ends too early")
            piece = self._piece[self._position : self._position + size]
            self._position += len(piece)
            size -= len(piece)
            yield piece
