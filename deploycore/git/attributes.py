"""What ``.gitattributes`` says about paths: left out of an export, and which line endings.

Nothing else of it is obeyed: filters and drivers run programs. Patterns come from whoever can
push, so they are matched without going back: the time is bounded by the pattern's length times
the path's, whatever the pattern.

Sources: https://git-scm.com/docs/gitattributes, and git's attr.c, wildmatch.c and convert.c.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from functools import lru_cache
from typing import BinaryIO, NamedTuple

__all__ = ["Attributes", "LineEnding", "convert", "convert_file"]

_LINE_BYTES_MOST = 2048
_STEP = 64 * 1024
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"\s*(.*)', re.DOTALL)
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
_ESCAPES = dict(zip(b"abfnrtv", b"\a\b\f\n\r\t\v", strict=True))
_PLAIN = re.compile(rb"[^*?\[\\]*")
_STARS = re.compile(rb"\*{2,}")
_LONE_LF = re.compile(rb"(?<!\r)\n")
_LONE_CR = re.compile(rb"\r(?!\n)")
# What convert.c does not count as printable.
_UNPRINTABLE = bytes(n for n in range(32) if n not in b"\b\t\n\r\033\014") + b"\x7f"

Value = bytes | bool


class LineEnding(Enum):
    """What is done to a file's line endings when it is written on a system that has LF."""

    UNCHANGED = 0
    CRLF = 1
    CRLF_IF_TEXT = 2


class _Rule(NamedTuple):
    matches: Callable[[bytes, bytes, bool], bool]
    values: dict[bytes, Value | None]


class Attributes:
    """The attributes that a tree gives to its paths.

    Args:
        files: The content of each ``.gitattributes`` file, by its path.
    """

    def __init__(self, files: Mapping[bytes, bytes]) -> None:
        self._macros: dict[bytes, dict[bytes, Value | None]] = {
            b"binary": {b"binary": True, b"diff": False, b"merge": False, b"text": False}
        }
        self._rules: dict[bytes, list[_Rule]] = {}
        for path in sorted(files):
            directory = path.rpartition(b"/")[0]
            self._rules[directory] = list(self._read(files[path], directory))

    def export_ignored(self, path: bytes, directory: bool) -> bool:
        """Whether an export leaves a path out, with all that is below it."""
        return self._values(path, directory).get(b"export-ignore") is True

    def kept_in_lfs(self, path: bytes) -> bool:
        """Whether git has a pointer to Git LFS in place of a file."""
        return self._values(path, False).get(b"filter") == b"lfs"

    def line_ending(self, path: bytes) -> LineEnding:
        """What is to be done to a file's line endings."""
        values = self._values(path, False)
        text = _text(values.get(b"text"))
        if text is None:
            text = _text(values.get(b"crlf"))
        if text is False or values.get(b"eol") != b"crlf":
            return LineEnding.UNCHANGED
        return LineEnding.CRLF_IF_TEXT if text == b"auto" else LineEnding.CRLF

    def _values(self, path: bytes, directory: bool) -> dict[bytes, Value | None]:
        name = path.rpartition(b"/")[2]
        values: dict[bytes, Value | None] = {}
        for rule in self._applying(path.rpartition(b"/")[0]):
            if rule.matches(path, name, directory):
                values.update(rule.values)
        return values

    def _applying(self, directory: bytes) -> Iterator[_Rule]:
        """The rules of a directory, those of the ones above it first."""
        yield from self._rules.get(b"", ())
        parts = directory.split(b"/") if directory else []
        for number in range(len(parts)):
            yield from self._rules.get(b"/".join(parts[: number + 1]), ())

    def _read(self, content: bytes, directory: bytes) -> Iterator[_Rule]:
        for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
            if len(line) >= _LINE_BYTES_MOST:
                continue
            pattern, words = _split(line.strip(b" \t\r"))
            if pattern.startswith(b"[attr]"):
                if not directory:
                    name = pattern.removeprefix(b"[attr]").strip()
                    self._macros[name] = {name: True, **self._parse(words)}
            elif pattern and not pattern.startswith(b"!"):
                yield _Rule(_matcher(pattern, directory), self._parse(words))

    def _parse(self, words: Iterable[bytes]) -> dict[bytes, Value | None]:
        values: dict[bytes, Value | None] = {}
        for word in words:
            name, equals, value = word.partition(b"=")
            if word[:1] in (b"-", b"!"):
                values[word[1:]] = False if word[:1] == b"-" else None
            elif equals:
                values[name] = value
            else:
                values[name] = True
                values.update(self._macros.get(name, {}))
        return values


def _is_text(content: bytes) -> bool:
    """Whether git takes a content for text where it is to find out itself."""
    if b"\0" in content or _LONE_CR.search(content):
        return False
    unprintable = sum(map(content.removesuffix(b"\x1a").count, _BYTES_UNPRINTABLE))
    plain = len(content) - content.count(b"\n") - content.count(b"\r") - unprintable
    return plain >> 7 >= unprintable


def convert(content: bytes, ending: LineEnding) -> bytes:
    """A file's content as it is written."""
    if ending is LineEnding.UNCHANGED:
        return content
    if ending is LineEnding.CRLF_IF_TEXT and (b"\r" in content or not _is_text(content)):
        return content
    return _LONE_LF.sub(b"\r\n", content)


def convert_file(content: BinaryIO, ending: LineEnding, result: BinaryIO) -> None:
    """``convert`` for a file that is too large for memory.

    Args:
        content: Read from its beginning.
        result: Where what is written goes.
    """
    if ending is LineEnding.CRLF_IF_TEXT and not _is_plain_text(content):
        ending = LineEnding.UNCHANGED
    content.seek(0)
    after_cr = False
    while piece := content.read(_STEP):
        if ending is LineEnding.UNCHANGED:
            result.write(piece)
            continue
        joined = b"\r" + piece if after_cr else piece
        result.write(_LONE_LF.sub(b"\r\n", joined)[after_cr:])
        after_cr = piece.endswith(b"\r")


def _is_plain_text(content: BinaryIO) -> bool:
    """Whether a file is text with no CR in it."""
    content.seek(0)
    unprintable, plain, piece = 0, 0, b""
    while following := content.read(_STEP):
        piece = following
        if b"\0" in piece or b"\r" in piece:
            return False
        found = sum(map(piece.count, _BYTES_UNPRINTABLE))
        unprintable += found
        plain += len(piece) - piece.count(b"\n") - found
    return plain >> 7 >= unprintable - piece.endswith(b"\x1a")


_BYTES_UNPRINTABLE = [bytes([byte]) for byte in _UNPRINTABLE]


def _text(value: Value | None) -> Value | None:
    if value is True or value is False or value == b"auto":
        return value
    return b"input" if value == b"input" else None


def _split(line: bytes) -> tuple[bytes, list[bytes]]:
    if not line or line.startswith(b"#"):
        return b"", []
    quoted = _QUOTED.fullmatch(line)
    if quoted:
        return _ESCAPE.sub(_unescaped, quoted[1]), quoted[2].split()
    pattern, *words = line.split()
    if pattern == b"[attr]" or not words:
        return (pattern + b"".join(words[:1]), words[1:]) if words else (b"", [])
    return pattern, words


def _unescaped(found: re.Match[bytes]) -> bytes:
    escape = found[1]
    if len(escape) == 3:
        return bytes([int(escape, 8) & 0xFF])
    return bytes([_ESCAPES.get(escape[0], escape[0])])


def _matcher(pattern: bytes, base: bytes) -> Callable[[bytes, bytes, bool], bool]:
    directories_only = pattern.endswith(b"/")
    pattern = pattern.removesuffix(b"/")
    if b"/" not in pattern:
        whole = _segment(pattern)
        return lambda path, name, directory: (
            (directory or not directories_only) and whole(name) is not None
        )
    pattern = pattern.removeprefix(b"/")
    # As in dir.c, what has no wildcard is compared and cut off first: in `a**/b`, the stars
    # come to stand at the beginning, and so for any number of directories.
    plain = _PLAIN.match(pattern)[0]  # type: ignore[index]  # it matches nothing, at the least
    segments = [
        b"**" if _STARS.fullmatch(part) else part for part in pattern[len(plain) :].split(b"/")
    ]
    start = base + b"/" + plain if base else plain
    return lambda path, name, directory: (
        (directory or not directories_only)
        and path.startswith(start)
        and _match(segments, path[len(start) :].split(b"/"))
    )


def _match(pattern: list[bytes], path: list[bytes]) -> bool:
    """Whether the segments of a pattern match those of a path; ``**`` stands for any number.

    Only the last ``**`` is gone back to: an earlier one could give nothing more.
    """
    at, place = 0, 0
    back: tuple[int, int] | None = None
    while place < len(path):
        if at < len(pattern) and pattern[at] == b"**":
            if at + 1 == len(pattern):
                return True
            at, back = at + 1, (at + 1, place)
        elif at < len(pattern) and _segment(pattern[at])(path[place]):
            at, place = at + 1, place + 1
        elif back is not None:
            back = (back[0], back[1] + 1)
            at, place = back
        else:
            return False
    return at == len(pattern)


@lru_cache(maxsize=1024)
def _segment(pattern: bytes) -> Callable[[bytes], re.Match[bytes] | None]:
    """A pattern without slashes; one that git can't match matches nothing.

    What stands between two stars is looked for once, at its first place, in a group that is
    not gone back into: a later place could give nothing more.
    """
    texts: list[bytes] = [b""]
    position = 0
    while position < len(pattern):
        token = _TOKEN.match(pattern, position)
        if token is None:
            return _NOTHING
        position = token.end()
        if token["stars"]:
            texts.append(b"")
        else:
            texts[-1] += _translated(token)
    if len(texts) == 1:
        return _expression(texts[0])
    between = b"".join(b"(?>.*?" + text + b")" for text in texts[1:-1] if text)
    return _expression(texts[0] + between + b".*" + texts[-1])


def _expression(text: bytes) -> Callable[[bytes], re.Match[bytes] | None]:
    try:
        return re.compile(text, re.DOTALL).fullmatch
    except re.error:  # a range that ends before it begins
        return _NOTHING


def _translated(token: re.Match[bytes]) -> bytes:
    if token["any"]:
        return b"."
    if token["literal"] is not None:
        return re.escape(token["literal"][-1:])
    inverted = b"^" if token["not"] else b""
    members = _MEMBER.sub(_member, token["members"])
    return b"[" + inverted + members + b"]"


def _member(found: re.Match[bytes]) -> bytes:
    if found[1]:
        return _CLASSES.get(found[1], b"")
    character = found[0][-1:]
    return character if character.isalnum() or character == b"-" == found[0] else b"\\" + character


_NOTHING = re.compile(rb"(?!)").fullmatch
_TOKEN = re.compile(
    rb"(?P<stars>\*+)|(?P<any>\?)"
    rb"|\[(?P<not>[!^])?(?P<members>\]?(?:\[:[a-z]+:\]|\\.|[^\]\\])*)\]"
    rb"|(?P<literal>\\.|[^\\\[])",
    re.DOTALL,
)
_MEMBER = re.compile(rb"\[:([a-z]+):\]|\\.|.", re.DOTALL)
_CLASSES = {
    b"alnum": b"0-9A-Za-z",
    b"alpha": b"A-Za-z",
    b"blank": b" \\t",
    b"cntrl": rb"\x00-\x1f\x7f",
    b"digit": b"0-9",
    b"graph": rb"\x21-\x7e",
    b"lower": b"a-z",
    b"print": rb"\x20-\x7e",
    b"punct": rb"\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e",
    b"space": rb"\s",
    b"upper": b"A-Z",
    b"xdigit": b"0-9A-Fa-f",
}
