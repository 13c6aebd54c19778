"""The output of a step, as lines of text without secrets, for output of any size.

A step may print a gigabyte. Then only the beginning and the end are shown. The part in between is
neither masked nor decoded, because that would be most of the work.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from deploycore.redaction import Redactor, StreamRedactor

__all__ = ["LINE_BYTES_MOST", "OUTPUT_BYTES_MOST", "TAIL_BYTES", "StepOutput"]

OUTPUT_BYTES_MOST = 1024 * 1024
"""How many bytes of the beginning are shown."""
TAIL_BYTES = 64 * 1024
"""How many bytes of the end are shown, if there is more output."""
LINE_BYTES_MOST = 8 * 1024
"""Maximum length of a line in bytes. Longer lines are split."""

Show = Callable[[str], None]


class StepOutput:
    """Takes bytes as they are printed, and passes on each complete line at once.

    Args:
        redactor: Masks the secrets.
        show: Called with each line, without its line end.
    """

    def __init__(self, redactor: Redactor, show: Show) -> None:
        self._redactor = redactor
        self._stream = redactor.stream()
        self._show = show
        self._lines = _Lines(show)
        self._room = OUTPUT_BYTES_MOST
        self._end = _End(TAIL_BYTES + _margin(self._stream))

    def feed(self, data: bytes) -> None:
        """Take output that was printed."""
        beginning = data[: self._room]
        if beginning:
            self._room -= len(beginning)
            self._lines.feed(self._stream.feed(beginning))
        self._end.feed(data[len(beginning) :])

    def finish(self) -> None:
        """Show the rest; there is no more output."""
        kept = self._end.kept()
        if not self._end.dropped:
            self._lines.feed(self._stream.feed(kept) + self._stream.finish())
            self._lines.finish()
            return
        # The bytes that are held back here may be the first part of a secret whose other part was
        # dropped, so they are dropped too.
        self._lines.finish()
        self._show_end(kept, self._end.dropped + self._stream.held)

    def _show_end(self, kept: bytes, dropped: int) -> None:
        stream = self._redactor.stream()
        # A secret whose beginning was dropped ends before this position.
        start = _margin(stream)
        start = kept.find(b"\n", start, start + LINE_BYTES_MOST) + 1 or start
        stream.feed(kept[:start])
        self._show(f"… {dropped + start:,} bytes of output are left out here …")
        self._lines.feed(stream.feed(kept[start:]) + stream.finish())
        self._lines.finish()


def _margin(stream: StreamRedactor) -> int:
    return 2 * stream.reach


class _End:
    """Keeps the last bytes of a long output.

    Attributes:
        dropped: The number of bytes before the kept ones; correct after a call of ``kept``.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self.dropped = 0

    def feed(self, data: bytes) -> None:
        if not data:
            return
        self._chunks.append(data)
        self._size += len(data)
        while self._size - len(self._chunks[0]) >= self._most:
            self._size -= len(self._chunks[0])
            self.dropped += len(self._chunks.popleft())

    def kept(self) -> bytes:
        kept = b"".join(self._chunks)
        surplus = max(0, len(kept) - self._most)
        self.dropped += surplus
        self._size = len(kept) - surplus
        self._chunks = deque((kept[surplus:],))
        return kept[surplus:]


class _Lines:
    """Converts bytes to lines of text.

    If a line overwrites itself with carriage returns, as progress bars do, only its last state is
    shown.
    """

    def __init__(self, show: Show) -> None:
        self._show = show
        self._rest = b""

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._give(line)
        if len(self._rest) > LINE_BYTES_MOST:
            # A carriage return at the end may be the first half of a line end.
            self._rest = self._rest[self._rest.rfind(b"\r", 0, -1) + 1 :]
            while len(self._rest) > LINE_BYTES_MOST:
                self._rest = self._give_piece(self._rest)

    def finish(self) -> None:
        if self._rest:
            self._give(self._rest)
            self._rest = b""

    def _give(self, line: bytes) -> None:
        line = line.rstrip(b"\r").rpartition(b"\r")[2]
        while len(line) > LINE_BYTES_MOST:
            line = self._give_piece(line)
        self._show(line.decode("utf-8", "replace"))

    def _give_piece(self, line: bytes) -> bytes:
        """Show the part of a line that fits the maximum length, without splitting a character;
        return the rest."""
        size = LINE_BYTES_MOST
        while size > LINE_BYTES_MOST - 4 and line[size] & 0xC0 == 0x80:
            size -= 1
        self._show(line[:size].decode("utf-8", "replace"))
        return line[size:]
