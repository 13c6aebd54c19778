"""Mask secrets in a stream of bytes that arrives in pieces, such as the output of a process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import SecretStr

from deploycore.redaction.forms import forms_of
from deploycore.redaction.search import CONTEXT_BYTES, Search, Span

__all__ = ["MASK", "StreamRedactor", "masked"]

MASK = "********"
_MASK = MASK.encode()


class StreamRedactor:
    """Replaces known secrets in one stream of bytes, even if a secret is split between pieces.

    All bytes of a known form of a secret are masked, and adjacent matches become one mask. Only
    bytes that may be the start of such a form are held back until more bytes arrive.

    Args:
        secrets: The values to mask; see :class:`Redactor`. Or the prepared search of a
            ``Redactor``, so that it is not prepared again for each stream.
    """

    def __init__(self, secrets: Iterable[SecretStr] | Search = ()) -> None:
        self._search = secrets if isinstance(secrets, Search) else Search(forms_of(secrets))
        self._context = b""
        self._held = b""
        # number of bytes at the beginning of the held bytes that belong to a found form
        self._hidden = 0
        self._masking = False  # whether the last byte that was returned was masked

    @property
    def reach(self) -> int:
        """The maximum number of bytes before a position that decide whether the position is
        masked."""
        return self._search.reach + CONTEXT_BYTES

    @property
    def held(self) -> int:
        """The number of bytes that are held back."""
        return len(self._held)

    def feed(self, data: bytes) -> bytes:
        """Take the next piece of the stream.

        Returns:
            The bytes that can be shown now; may be empty.
        """
        data = self._held + data
        spans, held_from = self._search.spans(data, self._context)
        return self._leave(data, spans, held_from)

    def finish(self) -> bytes:
        """Return the remaining bytes at the end of the stream."""
        spans, _ = self._search.spans(self._held, self._context)
        return self._leave(self._held, spans, len(self._held))

    def _leave(self, data: bytes, spans: list[Span], end: int) -> bytes:
        """Return ``data`` up to ``end``, masked."""
        if not end:
            self._held = data
            return b""
        if self._hidden:
            spans.append((0, self._hidden))
        hidden = list(_joined(spans))
        shown = self._shown(data, hidden, end) if hidden else data[:end]
        self._masking = any(start < end <= stop for start, stop in hidden)
        self._hidden = max((stop - end for start, stop in hidden if start < end < stop), default=0)
        self._context = (self._context + data[max(0, end - CONTEXT_BYTES) : end])[-CONTEXT_BYTES:]
        self._held = data[end:]
        return shown

    def _shown(self, data: bytes, hidden: list[Span], end: int) -> bytes:
        parts: list[bytes] = []
        place = 0
        for start, stop in hidden:
            if start >= end:
                break
            parts.append(data[place:start])
            if start or not self._masking:
                parts.append(_MASK)
            place = stop
        parts.append(data[place:end])
        return b"".join(parts)

    def __repr__(self) -> str:
        return "StreamRedactor()"


def masked(search: Search, data: bytes) -> bytes:
    """Return bytes with all forms masked, as a stream that ends after them."""
    parts: list[bytes] = []
    place = 0
    for start, stop in _joined(search.spans_in_whole(data)):
        parts += (data[place:start], _MASK)
        place = stop
    parts.append(data[place:])
    return b"".join(parts)


def _joined(spans: list[Span]) -> Iterator[Span]:
    """Return spans in order. Spans that overlap or touch are joined."""
    first, last = -1, -1
    for start, stop in sorted(spans):
        if start > last:
            if last >= 0:
                yield first, last
            first = start
        last = max(last, stop)
    if last >= 0:
        yield first, last
