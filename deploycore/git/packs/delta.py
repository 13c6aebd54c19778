"""Apply deltas. A delta describes an object by copies from a base object and by new data.

dulwich applies small deltas, with compiled code if its wheel has that. It builds the result in
memory, so large deltas are applied here, in steps, from one file to another.

Format: https://git-scm.com/docs/gitformat-pack ("Deltified representation")
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from inspect import isbuiltin

from dulwich.errors import ApplyDeltaError
from dulwich.pack import apply_delta

from deploycore.git.packs.objects import Damaged

__all__ = ["MAX_SIZES_BYTES", "ReadAt", "apply_in_memory", "apply_in_steps", "sizes"]

ReadAt = Callable[[int, int], bytes]

MAX_SIZES_BYTES = 20  # of the two sizes at the start of a delta

_STEP = 64 * 1024
# dulwich's compiled code checks the result's size before it builds the result; its Python code
# checks it afterwards.
_IS_BOUNDED = isbuiltin(apply_delta)
_STRETCH = 4 * 1024
_MAX_COMMAND = 128
_COPY = 0x80
_OFFSET_BITS = 32
_OFFSET_MASK = (1 << _OFFSET_BITS) - 1
# For the seven lower bits of a copy command: the shift of each byte that follows.
_SHIFTS = [[8 * bit for bit in range(7) if bits >> bit & 1] for bits in range(_COPY)]
_COPY_SIZE_IF_ZERO = 0x10000


def sizes(delta: bytes) -> tuple[int, int]:
    """Read the sizes of a delta's base and of its result.

    Args:
        delta: At least its first ``MAX_SIZES_BYTES`` bytes, or all of it.

    Raises:
        Damaged: The sizes are invalid.
    """
    base, position = _number(delta, 0)
    result, _ = _number(delta, position)
    return base, result


def apply_in_memory(base: bytes, delta: bytes) -> bytes:
    """Apply a delta to its base.

    Raises:
        Damaged: The delta is malformed or does not fit its base.
    """
    base_size, result_size = sizes(delta)
    if base_size != len(base):
        raise Damaged("a delta does not fit its base")
    if not _IS_BOUNDED:
        made = bytearray()
        apply_in_steps(lambda start, size: base[start : start + size], iter((delta,)), made.extend)
        return bytes(made)
    try:
        result = b"".join(apply_delta(base, delta))
    except ApplyDeltaError as error:
        raise Damaged(f"a delta is malformed: {error}") from None
    if len(result) != result_size:
        raise Damaged("the result of a delta has the wrong size")
    return result


def apply_in_steps(
    read: ReadAt, delta: Iterator[bytes], write: Callable[[bytes], object]
) -> tuple[int, int]:
    """Apply a delta to its base, with only a few steps of 64 KiB in memory.

    Args:
        read: Reads bytes of the base, by offset and size; fewer at its end.
        delta: The delta, in pieces of any size, none of them empty.

    Returns:
        The size that the base should have, and the size of the result.

    Raises:
        Damaged: The delta is malformed, or its result has the wrong size.
    """
    source = _Source(delta)
    base_size, result_size = source.sizes()
    base, made = _Base(read), bytearray()
    written = 0
    for offset, size, inserted in source.commands():
        if written + len(made) + size > result_size:
            raise Damaged("the result of a delta has the wrong size")
        if inserted:
            made += inserted
        elif size <= _STEP:
            made += base.piece(offset, size)
        else:
            for start in range(offset, offset + size, _STEP):
                write(bytes(made))
                written += len(made)
                made = bytearray(base.piece(start, min(_STEP, offset + size - start)))
        if len(made) >= _STEP:
            write(bytes(made))
            written += len(made)
            made.clear()
    write(bytes(made))
    if written + len(made) != result_size:
        raise Damaged("the result of a delta has the wrong size")
    return base_size, result_size


class _Base:
    """The base of a delta, read in stretches, since most deltas copy from it in order."""

    def __init__(self, read: ReadAt) -> None:
        self._read = read
        self._stretch = b""
        self._start = 0

    def piece(self, offset: int, size: int) -> bytes:
        at = offset - self._start
        if at < 0 or at + size > len(self._stretch):
            self._start, at = offset, 0
            self._stretch = self._read(offset, max(size, _STRETCH))
            if len(self._stretch) < size:
                raise Damaged("a delta copies data beyond the end of its base")
        return self._stretch[at : at + size]


class _Source:
    """Reads the commands of a delta that comes in pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._more = pieces
        self._data = b""
        self._position = 0

    def sizes(self) -> tuple[int, int]:
        self._fill()
        base, position = _number(self._data, 0)
        result, self._position = _number(self._data, position)
        return base, result

    def commands(self) -> Iterator[tuple[int, int, bytes]]:
        """The offset and the size of each copy, or the data to insert."""
        while self._fill():
            data, position = self._data, self._position
            # All data except the last command, which may continue in the next piece.
            last = len(data) - _MAX_COMMAND if len(data) > _MAX_COMMAND else len(data) - 1
            try:
                while position <= last:
                    command = data[position]
                    position += 1
                    if command & _COPY:
                        place = 0
                        for shift in _SHIFTS[command & ~_COPY]:
                            place |= data[position] << shift
                            position += 1
                        size = place >> _OFFSET_BITS or _COPY_SIZE_IF_ZERO
                        yield place & _OFFSET_MASK, size, b""
                        continue
                    if not command:
                        raise Damaged("a delta has a reserved command")
                    inserted = data[position : position + command]
                    position += command
                    if len(inserted) < command:
                        raise IndexError
                    yield 0, command, inserted
            except IndexError:
                raise Damaged("a delta ends too early") from None
            self._position = position

    def _fill(self) -> bool:
        """Read until a complete command is buffered; returns whether any data is left."""
        parts = [self._data[self._position :]]
        left = len(parts[0])
        while left < 2 * _MAX_COMMAND and (piece := next(self._more, b"")):
            parts.append(piece)
            left += len(piece)
        self._data, self._position = b"".join(parts), 0
        return bool(left)


def _number(data: bytes, position: int) -> tuple[int, int]:
    number, shift = 0, 0
    while position < len(data) and shift < 64:
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return number, position
    raise Damaged("a delta has no valid sizes")
