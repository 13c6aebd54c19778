"""Find known forms of secrets in bytes: where they are, and where one may have begun.

There may be much output and many secrets. So the search must be fast if there is nothing to find,
and linear even for input that is made to be slow.
"""

from __future__ import annotations

import re
import sys
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

__all__ = ["CONTEXT_BYTES", "Search", "Span"]

_WORD = 8
_WORDED = 2 * _WORD - 1
_START = 4
# The number of bytes that can be checked in the time of one search for a start.
_BYTES_A_SEARCH = 2
# An index is made before more than this many bytes are searched: to look for a form in so many of
# them takes as long as to index it. A text of _BYTES_A_TEXT takes twice as long as an empty one.
_BYTES_AN_INDEX = 8192
_BYTES_A_TEXT = 200
# Tools wrap base64 at 64 or 76 characters.
_WRAPPED_AT_LEAST = 60
_BASE64 = rb"[A-Za-z0-9+/_-]{%d}" % _WRAPPED_AT_LEAST
_WRAP = re.compile(rb"\n(?:(?<=%b\n)|(?<=%b\r\n))|\r\Z(?<=%b\r)" % (_BASE64, _BASE64, _BASE64))
CONTEXT_BYTES = _WRAPPED_AT_LEAST + 2
"""The number of bytes before a position that decide whether a line was wrapped there."""

Span = tuple[int, int]


class Search:
    """All forms to search for. Threads can share it: it does not change, except that it prepares
    faster ways to search when they are needed.

    A little text is searched for one form after another. For more text, an index is made once:

    The text is cut into words of eight bytes. A form of at least fifteen bytes contains a whole
    word, wherever the form begins. So one pass over the words shows which forms may be in the text.
    Its cost does not depend on the number of forms.

    Args:
        forms: The forms, each of at least four bytes, the longest first.
    """

    def __init__(self, forms: Iterable[bytes]) -> None:
        self._forms = dict.fromkeys(forms)
        self.longest = max(map(len, self._forms), default=0)
        self._searched = 0
        self._index: _Index | None = None
        self._beginnings: _Beginnings | None = None

    def extended(self, forms: Iterable[bytes]) -> Search:
        """Return a search for additional forms. It is a copy, which is much faster than finding the
        forms of all secrets again."""
        made = Search(())
        new = [form for form in dict.fromkeys(forms) if form not in self._forms]
        made._forms = {**self._forms, **dict.fromkeys(new)}
        made.longest = max(map(len, new), default=0)
        made.longest = max(made.longest, self.longest)
        made._searched = self._searched
        if self._index is not None:
            made._index = self._index.extended(new)
        return made

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
        held = self._begun(data)
        view = _Unwrapped.of(data, context)
        if view is not None:
            begun = self._begun(view.data)
            if begun < len(view.data):
                held = min(held, view.place_in_data(begun))
        return self._spans(data, view), held

    def spans_in_whole(self, data: bytes) -> list[Span]:
        """Find forms in a text that is not part of a longer one; see ``spans``."""
        return self._spans(data, _Unwrapped.of(data, b""))

    def _spans(self, data: bytes, view: _Unwrapped | None) -> list[Span]:
        found = list(self._occurrences(data))
        if view is not None:
            found += [view.span_in_data(span) for span in self._occurrences(view.data)]
        return found

    def _occurrences(self, data: bytes) -> Iterator[Span]:
        for form in self._candidates(data):
            size = len(form)
            start = data.find(form)
            while start >= 0:
                yield start, start + size
                # If several spans overlap or touch this one, the last of them covers the others.
                following = data.rfind(form, start + 1, start + 2 * size)
                start = following if following >= 0 else data.find(form, start + size)

    def _candidates(self, data: bytes) -> Collection[bytes]:
        if self._index is None:
            self._searched += len(data) + _BYTES_A_TEXT
            if self._searched < _BYTES_AN_INDEX:
                return self._forms
            self._index = _Index.of(self._forms)
        return self._index.candidates(data)

    def _begun(self, data: bytes) -> int:
        """Return the first position from which all remaining bytes are the beginning of a longer
        form."""
        if self._beginnings is None:
            self._beginnings = _Beginnings(self._forms)
        return self._beginnings.first_in(data)


class _Index(NamedTuple):
    """Finds the forms that may be in a text.

    Attributes:
        words: The forms with each word.
        short: The forms that may not contain a whole word.
    """

    words: dict[int, tuple[bytes, ...]]
    short: list[bytes]

    @classmethod
    def of(cls, forms: Iterable[bytes]) -> _Index:
        return cls({}, []).extended(forms)

    def extended(self, forms: Iterable[bytes]) -> _Index:
        """Return an index of additional forms."""
        words, short = self.words.copy(), self.short.copy()
        for form in forms:
            if len(form) < _WORDED:
                short.append(form)
                continue
            for offset in range(_WORD):
                word = int.from_bytes(form[offset : offset + _WORD], sys.byteorder)
                words[word] = (*words.get(word, ()), form)
        return _Index(words, short)

    def candidates(self, data: bytes) -> set[bytes]:
        """Return the forms that may be in the text."""
        found = set(self.short)
        if self.words:
            words = memoryview(data)[: len(data) // _WORD * _WORD].cast("Q")
            for word in self.words.keys() & words:
                found.update(self.words[word])
        return found


class _Beginnings:
    """Finds where a form may have begun at the end of a text."""

    def __init__(self, forms: Collection[bytes]) -> None:
        self._longest = max(map(len, forms), default=0)
        self._shortest: set[bytes] = set()
        self._starts: dict[bytes, list[bytes]] = {}
        for form in sorted(forms, key=len, reverse=True):
            self._starts.setdefault(form[:_START], []).append(form)
        for start in self._starts:
            self._shortest.update(start[:size] for size in range(1, _START))

    def first_in(self, data: bytes) -> int:
        """Return the first position from which all remaining bytes are the beginning of a longer
        form."""
        earliest = len(data)
        for size in range(1, _START):
            if size <= len(data) and data[-size:] in self._shortest:
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
        first, end = max(0, len(data) - self._longest + 1), len(data) - _START + 1
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
