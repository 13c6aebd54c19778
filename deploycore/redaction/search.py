"""Find known forms of secrets in bytes: where they are, and where one may have begun.

There may be much output and many secrets. So the search must be fast if there is nothing to find,
and linear even for input that is made to be slow.
"""

from __future__ import annotations

import re
import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

__all__ = ["CONTEXT_BYTES", "Search", "Span"]

_WORD = 8
_WORDED = 2 * _WORD - 1
_START = 4
# The number of bytes that can be checked in the time of one search for a start.
_BYTES_A_SEARCH = 2
# Tools wrap base64 at 64 or 76 characters.
_WRAPPED_AT_LEAST = 60
_BASE64 = rb"[A-Za-z0-9+/_-]{%d}" % _WRAPPED_AT_LEAST
_WRAP = re.compile(rb"\n(?:(?<=%b\n)|(?<=%b\r\n))|\r\Z(?<=%b\r)" % (_BASE64, _BASE64, _BASE64))
CONTEXT_BYTES = _WRAPPED_AT_LEAST + 2
"""The number of bytes before a position that decide whether a line was wrapped there."""

Span = tuple[int, int]


class Search:
    """All forms to search for. It is immutable, so threads can share it.

    The text is cut into words of eight bytes. A form of at least fifteen bytes contains a whole
    word, wherever the form begins. So one pass over the words shows which forms may be in the text.
    Its cost does not depend on the number of forms.

    Args:
        forms: The forms, each of at least four bytes, the longest first.
    """

    def __init__(self, forms: Iterable[bytes]) -> None:
        self._words: dict[int, tuple[bytes, ...]] = {}
        self._short: list[bytes] = []
        self._beginnings: set[bytes] = set()
        self._starts: dict[bytes, list[bytes]] = {}
        self.longest = 0
        for form in forms:
            self._add(form)

    def extended(self, forms: Iterable[bytes]) -> Search:
        """Return a search for additional forms. It is a copy, which is much faster than finding the
        forms of all secrets again."""
        made = Search(())
        made._words, made._short = self._words.copy(), self._short.copy()
        made._beginnings, made.longest = self._beginnings.copy(), self.longest
        made._starts = self._starts.copy()
        for form in forms:
            known = made._starts.get(form[:_START], [])
            if form not in known:
                made._starts[form[:_START]] = known.copy()
                made._add(form)
                made._starts[form[:_START]].sort(key=len, reverse=True)
        return made

    def _add(self, form: bytes) -> None:
        self.longest = max(self.longest, len(form))
        self._starts.setdefault(form[:_START], []).append(form)
        self._beginnings.update(form[:size] for size in range(1, _START))
        if len(form) < _WORDED:
            self._short.append(form)
            return
        for offset in range(_WORD):
            word = int.from_bytes(form[offset : offset + _WORD], sys.byteorder)
            self._words[word] = (*self._words.get(word, ()), form)

    @property
    def reach(self) -> int:
        """The maximum number of bytes from a form's beginning to its end, including the line ends
        within it."""
        return self.longest + 2 * (self.longest // _WRAPPED_AT_LEAST + 1)

    def spans(self, data: bytes, context: bytes = b"") -> tuple[list[Span], int]:
        """Find forms, including those that base64's line ends cut into pieces.

        Args:
            context: The bytes before ``data``; the last ``CONTEXT_BYTES`` matter.

        Returns:
            The spans, which may overlap, in no order; and the position from which ``data`` must be
            held back, because a form may begin there.
        """
        if not self.longest:
            return [], len(data)
        found, held = list(self._occurrences(data)), self._begun(data)
        view = _Unwrapped.of(data, context)
        if view is not None:
            found += [view.span_in_data(span) for span in self._occurrences(view.data)]
            begun = self._begun(view.data)
            if begun < len(view.data):
                held = min(held, view.place_in_data(begun))
        return found, held

    def _occurrences(self, data: bytes) -> Iterator[Span]:
        for form in self._candidates(data):
            size = len(form)
            start = data.find(form)
            while start >= 0:
                yield start, start + size
                # If several spans overlap or touch this one, the last of them covers the others.
                following = data.rfind(form, start + 1, start + 2 * size)
                start = following if following >= 0 else data.find(form, start + size)

    def _candidates(self, data: bytes) -> set[bytes]:
        candidates = set(self._short)
        if self._words:
            words = memoryview(data)[: len(data) // _WORD * _WORD].cast("Q")
            for word in self._words.keys() & words:
                candidates.update(self._words[word])
        return candidates

    def _begun(self, data: bytes) -> int:
        """Return the first position from which all remaining bytes are the beginning of a longer
        form."""
        earliest = len(data)
        for size in range(1, _START):
            if size <= len(data) and data[-size:] in self._beginnings:
                earliest = len(data) - size
        for place in self._places_of_starts(data):
            if place < earliest:
                rest = data[place:]
                forms = self._starts[rest[:_START]]
                if any(len(form) > len(rest) and form.startswith(rest) for form in forms):
                    earliest = place
        return earliest

    def _places_of_starts(self, data: bytes) -> Iterator[int]:
        """Yield the positions in the last bytes at which a form may begin, in no order.

        The bytes are checked one by one, or searched once for each start, whichever is less work.
        """
        first, end = max(0, len(data) - self.longest + 1), len(data) - _START + 1
        if end - first < _BYTES_A_SEARCH * len(self._starts):
            starts = self._starts
            yield from (at for at in range(first, end) if data[at : at + _START] in starts)
            return
        for start, forms in self._starts.items():
            place = data.find(start, max(0, len(data) - len(forms[0]) + 1))
            while place >= 0:
                yield place
                place = data.find(start, place + 1)


class _Unwrapped(NamedTuple):
    """Bytes without the line ends that base64 tools put in, and the way back.

    Attributes:
        cuts: The positions in ``data`` at which a line end was removed, in order.
        removed: The number of bytes that were removed up to each of these positions.
    """

    data: bytes
    cuts: list[int]
    removed: list[int]

    @classmethod
    def of(cls, data: bytes, context: bytes) -> _Unwrapped | None:
        """Create a view; ``None`` if there is nothing to remove, as in nearly all output."""
        known = len(context)
        pieces: list[bytes] = []
        cuts: list[int] = []
        removed: list[int] = []
        done = gone = 0
        for wrap in _WRAP.finditer(context + data, known):
            end = wrap.end() - known
            start = wrap.start() - known
            if data[max(start - 1, 0) : start] == b"\r":
                start -= 1
            pieces.append(data[done:start])
            cuts.append(start - gone)
            gone += end - start
            removed.append(gone)
            done = end
        if not cuts:
            return None
        return cls(b"".join((*pieces, data[done:])), cuts, removed)

    def place_in_data(self, place: int) -> int:
        """Return the position in the original data of a byte of the view."""
        before = bisect_right(self.cuts, place)
        return place + (self.removed[before - 1] if before else 0)

    def span_in_data(self, span: Span) -> Span:
        """Return the span in the original data of a span of the view."""
        return self.place_in_data(span[0]), self.place_in_data(span[1] - 1) + 1
