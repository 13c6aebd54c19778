"""Patterns with the syntax of ``.gitattributes`` and ``.gitignore``, which match paths as in git.

Anyone who can push chooses the patterns, or the paths that they are tried on. So there may be many
of them, and unusual ones. Patterns without wildcards, and those that only say how a name ends, are
looked up and not tried one by one. The others never backtrack: the time is bounded by the pattern's
length times the path's.

Sources: git's dir.c (``parse_path_pattern``, ``match_basename``, ``match_pathname``) and
wildmatch.c.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

__all__ = ["Patterns", "is_valid_pattern"]

# Approximate memory of a compiled pattern for each of its bytes.
_COMPILED = 24

_PLAIN = re.compile(rb"[^*?\[\\]*")
_CLASS = re.compile(rb"\[:([^\]]*)(\]?)")
_CLASSES = {
    b"alnum": b"0-9A-Za-z",
    b"alpha": b"A-Za-z",
    b"blank": rb" \t",
    b"cntrl": rb"\x00-\x1f\x7f",
    b"digit": b"0-9",
    b"graph": rb"\x21-\x7e",
    b"lower": b"a-z",
    b"print": rb"\x20-\x7e",
    b"punct": rb"\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e",
    b"space": rb" \t\n\r",
    b"upper": b"A-Z",
    b"xdigit": b"0-9A-Fa-f",
}

Matches = Callable[[bytes], object]
_ANY: None = None  # in place of a segment: ``**``, which stands for any number of them


class _Other(NamedTuple):
    """A pattern that cannot be looked up, so that it is tried on each path.

    Attributes:
        start: The literal start of a matching path; ``None`` if only the last name is compared.
        segments: The rest of the pattern, split at slashes.
        steps: The work of one try, in about microseconds, for each name of a path and for each
            segment that is tried on it.
    """

    number: int
    directories_only: bool
    start: bytes | None
    segments: list[Matches | None]
    steps: int

    def matches(self, path: bytes, name: bytes, directory: bool) -> bool:
        if self.directories_only and not directory:
            return False
        if self.start is None:
            return _match(self.segments, [name])
        if not path.startswith(self.start):
            return False
        return _match(self.segments, path[len(self.start) :].split(b"/"))


class Patterns:
    """Patterns, numbered from 0 in the order in which they are added.

    Args:
        work: Called with the number of steps before they are taken, each of about a microsecond.
            It may raise to stop.
    """

    def __init__(self, work: Callable[[int], None]) -> None:
        self._work = work
        self._count = 0
        # Patterns for directories only have a slash at their ends.
        self._names: dict[bytes, list[int]] = {}
        self._paths: dict[bytes, list[int]] = {}
        self._endings: dict[bytes, list[int]] = {}
        self._lengths: set[int] = set()
        self._others: list[_Other] = []

    def add(self, pattern: bytes) -> int:
        """Add a pattern.

        Returns:
            Its approximate size in memory, in bytes.
        """
        pattern = pattern.partition(b"\0")[0]
        slash = b"/" if pattern.endswith(b"/") else b""
        pattern = pattern.removesuffix(b"/")
        number, self._count = self._count, self._count + 1
        kept: dict[bytes, list[int]] | None = None
        if b"/" in pattern:
            pattern = pattern.removeprefix(b"/")
            if _is_plain(pattern):
                kept = self._paths
            else:
                self._add_path(number, pattern, directories_only=bool(slash))
        elif _is_plain(pattern):
            kept = self._names
        elif pattern.startswith(b"*") and _is_plain(pattern[1:]):
            pattern, kept = pattern[1:], self._endings
            self._lengths.add(len(pattern + slash))
        else:
            segments = list(_segments(pattern))
            self._others.append(_Other(number, bool(slash), None, segments, _steps(pattern)))
        if kept is None:
            return len(pattern) * _COMPILED
        kept.setdefault(pattern + slash, []).append(number)
        return len(pattern)

    def matching(self, path: bytes, name: bytes, directory: bool) -> list[int]:
        """The numbers of all patterns that match, the last first.

        Args:
            path: Relative to the directory of the patterns' file.
            name: The last part of the path.
        """
        found: list[int] = []
        self._work(1 + len(self._lengths) // 8)
        for slash in (b"", b"/") if directory else (b"",):
            found += self._names.get(name + slash, ())
            found += self._paths.get(path + slash, ())
            whole = name + slash
            for length in self._lengths:
                if length <= len(whole):
                    found += self._endings.get(whole[len(whole) - length :], ())
        names = 1 + path.count(b"/")
        for other in self._others:
            steps = other.steps
            if other.start is not None and path.startswith(other.start):
                steps *= names * (1 + len(other.segments) // 4)
            self._work(steps)
            if other.matches(path, name, directory):
                found.append(other.number)
        self._work(len(found) // 4)
        found.sort(reverse=True)
        return found

    def _add_path(self, number: int, pattern: bytes, *, directories_only: bool) -> None:
        # As in dir.c, the part without wildcards is compared and removed first. In `a**/b`, the
        # stars are then at the beginning, and so stand for any number of directories.
        start = _PLAIN.match(pattern)[0]  # type: ignore[index]  # it matches nothing, at the least
        segments = list(_segments(pattern[len(start) :]))
        steps = _steps(pattern)
        self._others.append(_Other(number, directories_only, start, segments, steps))


def is_valid_pattern(pattern: bytes) -> bool:
    """Whether git can match a pattern: a set is closed, a backslash is followed by something."""
    return all(texts is not None for texts, _ in _divided(pattern))


def _steps(pattern: bytes) -> int:
    return 1 + len(pattern) // 64


def _is_plain(pattern: bytes) -> bool:
    return _PLAIN.fullmatch(pattern) is not None


def _match(pattern: list[Matches | None], path: list[bytes]) -> bool:
    """Whether the segments of a pattern match those of a path.

    On a mismatch, only the last ``**`` is extended: to extend an earlier one could not help.
    """
    at, place = 0, 0
    back: tuple[int, int] | None = None
    while place < len(path):
        matches = pattern[at] if at < len(pattern) else _nothing
        if matches is _ANY:
            if at + 1 == len(pattern):
                return True
            at, back = at + 1, (at + 1, place)
        elif matches(path[place]):
            at, place = at + 1, place + 1
        elif back is not None:
            back = (back[0], back[1] + 1)
            at, place = back
        else:
            return False
    return at == len(pattern)


def _segments(pattern: bytes) -> Iterator[Matches | None]:
    """Compile the segments of a pattern. An invalid one matches nothing, as in git."""
    for segment, escaped in _divided(pattern):
        if segment is None:
            yield _nothing
        elif len(segment) <= 2 or any(segment):
            yield _matcher(segment)
        else:
            if escaped:  # in wildmatch.c, `**` stands for no directory only before a plain slash
                yield _something
            yield _ANY


def _divided(pattern: bytes) -> Iterator[tuple[list[bytes] | None, bool]]:
    """Split a pattern into segments.

    Returns:
        For each segment the regular expressions of the parts between its stars, or ``None`` if it
        is invalid; and whether the slash after it is escaped.
    """
    texts = [b""]
    at = 0
    while at < len(pattern):
        byte = pattern[at : at + 1]
        at += 1
        if byte == b"\\":
            byte = pattern[at : at + 1]
            at += 1
            if byte == b"/":
                yield texts, True
                texts = [b""]
            elif byte:
                texts[-1] += re.escape(byte)
            else:
                yield None, False
                return
        elif byte == b"/":
            yield texts, False
            texts = [b""]
        elif byte == b"*":
            texts.append(b"")
        elif byte == b"[":
            found = _set(pattern, at)
            if found is None:
                yield None, False
                return
            text, at = found
            texts[-1] += text
        else:
            texts[-1] += b"." if byte == b"?" else re.escape(byte)
    yield texts, False


def _matcher(texts: list[bytes]) -> Matches:
    """Compile one segment.

    A part between two stars is searched once, in an atomic group without backtracking: if its first
    match does not lead to success, a later one could not either.
    """
    first, *rest = texts
    if not rest:
        return re.compile(first, re.DOTALL).fullmatch
    *middle, last = rest
    between = b"".join(b"(?>.*?" + text + b")" for text in middle if text)
    return re.compile(first + between + b".*" + last, re.DOTALL).fullmatch


def _set(pattern: bytes, at: int) -> tuple[bytes, int] | None:
    """Read the set whose opening bracket is before ``at``.

    It follows wildmatch.c step by step, since any shortcut would accept another language: the first
    member may be a bracket, the end of a range may be anything, and a class must be closed.

    Returns:
        The set as a regular expression, and the position after it; ``None`` if it is invalid.
    """
    inverted = pattern[at : at + 1] in (b"!", b"^")
    at += inverted
    members = b""
    before = -1  # the character that a range may begin with
    while at < len(pattern):
        byte = pattern[at]
        named = _CLASS.match(pattern, at)
        if byte == b"\\"[0]:
            at += 1
            if at == len(pattern):
                return None
            byte = pattern[at]
            members += _member(byte)
        elif byte == b"-"[0] and before > 0 and pattern[at + 1 : at + 2] not in (b"", b"]"):
            at += 2 if pattern[at + 1 : at + 2] == b"\\" else 1
            if at == len(pattern):
                return None
            if before <= pattern[at]:
                members += _member(before) + b"-" + _member(pattern[at])
            byte = -1
        elif named and named[1].endswith(b":") and named[2]:
            if named[1][:-1] not in _CLASSES:
                return None
            members += _CLASSES[named[1][:-1]]
            at, byte = named.end() - 1, -1
        elif named and not named[2]:
            return None
        else:
            members += _member(byte)
        before = byte
        at += 1
        if pattern[at : at + 1] == b"]":
            return _bracketed(members, inverted), at + 1
    return None


def _member(byte: int) -> bytes:
    return b"\\x%02x" % byte


def _bracketed(members: bytes, inverted: bool) -> bytes:
    if not members:
        return b"." if inverted else b"(?!)"
    return b"[" + b"^" * inverted + members + b"]"


def _nothing(name: bytes) -> bool:
    return False


def _something(name: bytes) -> bool:
    return True
