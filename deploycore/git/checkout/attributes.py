"""The attributes of ``.gitattributes`` that an export applies.

They say which paths are left out, which line endings files get, and which files are in Git LFS.
Filters and drivers are never applied, since they run programs. Anyone who can push can change these
files, so only relevant lines are kept, and their size counts against a limit.

Sources: https://git-scm.com/docs/gitattributes, and git's attr.c, quote.c and convert.c.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from io import BytesIO
from typing import BinaryIO

from deploycore.git.checkout.patterns import Patterns
from deploycore.git.operation import Operation

__all__ = ["Attributes", "LineEnding", "convert", "convert_file"]

_FILE = b".gitattributes"
_MAX_LINE_BYTES = 2048
_LINE_BYTES_A_STEP = 16
# Approximate memory of a rule and of each word of it; the operation adds an overhead.
_RULE_BYTES = 250
_WORD_BYTES = 64
_STEP = 64 * 1024
_BLANK = b" \t\r\n"
_QUOTED = re.compile(rb'"((?:[^"\\]|\\[abfnrtv"\\]|\\[0-3][0-7]{2})*+)"')
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
_ESCAPES = dict(zip(b"abfnrtv", b"\a\b\f\n\r\t\v", strict=True))
_UNTIL_BLANK = re.compile(rb"[^ \t\r\n]+")
_NAME = rb"[0-9A-Za-z_.][-0-9A-Za-z_.]*"
_is_name = re.compile(_NAME).fullmatch
_WORD = re.compile(rb"([-!]?)(" + _NAME + rb")(=.*)?", re.DOTALL)
_MACRO = b"[attr]"
_LONE_LF = re.compile(rb"(?<!\r)\n")
_LONE_CR = re.compile(rb"\r(?!\n)")
# Bytes that convert.c counts as unprintable.
_UNPRINTABLE = bytes(n for n in range(32) if n not in b"\b\t\n\r\033\014") + b"\x7f"
_ASKED_FOR = frozenset((b"export-ignore", b"text", b"crlf", b"eol", b"filter"))

Value = bytes | bool | None
# The words of one line, the last one first, as git reads them. If a name is repeated, only its last
# word is here.
Words = tuple[tuple[bytes, Value], ...]


class LineEnding(Enum):
    """The conversion of a file's line endings on a system that uses LF."""

    UNCHANGED = 0
    CRLF = 1
    CRLF_IF_TEXT = 2


class _Rules:
    """The rules of one file, without its macros."""

    def __init__(self, operation: Operation) -> None:
        self.patterns = Patterns(operation.match)
        self.words: list[Words] = []


class Attributes:
    """The attributes of the paths in a tree.

    Args:
        files: The content of each ``.gitattributes`` file, by its path.
        operation: Limits memory and time.

    Raises:
        LimitExceeded: There are too many rules.
    """

    def __init__(self, files: Mapping[bytes, bytes], operation: Operation) -> None:
        self._operation = operation
        # Macros are read first, since lines before their definition may use them.
        self._macros = self._read_macros(files.get(_FILE, b""))
        self._relevant = _leading_to(_ASKED_FOR, self._macros)
        self._files: dict[bytes, _Rules] = {}
        for path, content in files.items():
            rules = self._read(content)
            if rules.words:
                self._files[path.rpartition(b"/")[0]] = rules
        self._latest: tuple[bytes, bool, dict[bytes, Value]] = (b"", True, {})

    def export_ignored(self, path: bytes, directory: bool) -> bool:
        """Whether an export leaves out a path and everything below it."""
        return self._values(path, directory).get(b"export-ignore") is True

    def kept_in_lfs(self, path: bytes) -> bool:
        """Whether git has a pointer to Git LFS in place of a file."""
        return self._values(path, False).get(b"filter") == b"lfs"

    def line_ending(self, path: bytes) -> LineEnding:
        """The conversion of a file's line endings."""
        values = self._values(path, False)
        text = _text(values.get(b"text"))
        if text is None:
            text = _text(values.get(b"crlf"))
        if text is False or values.get(b"eol") != b"crlf":
            return LineEnding.UNCHANGED
        return LineEnding.CRLF_IF_TEXT if text == b"auto" else LineEnding.CRLF

    def _values(self, path: bytes, directory: bool) -> dict[bytes, Value]:
        """Apply rules from the last to the first, like ``fill`` in attr.c; the first value wins."""
        if self._latest[:2] == (path, directory):
            return self._latest[2]
        self._operation.match(1)
        values: dict[bytes, Value] = {}
        for words in self._matching(path, directory):
            self._fill(values, words)
            if values.keys() >= _ASKED_FOR:
                break
        self._latest = (path, directory, values)
        return values

    def _matching(self, path: bytes, directory: bool) -> Iterator[Words]:
        above, _, name = path.rpartition(b"/")
        while True:
            rules = self._files.get(above)
            if rules is not None:
                inner = path[len(above) + 1 :] if above else path
                for number in rules.patterns.matching(inner, name, directory):
                    yield rules.words[number]
            if not above:
                return
            above = above.rpartition(b"/")[0]

    def _fill(self, values: dict[bytes, Value], words: Words) -> None:
        """Set the values of a line. A macro is expanded only if it sets its own name here.

        Without recursion, since macros may be nested to any depth.
        """
        self._operation.match(1 + len(words))
        pending = [iter(words)]
        while pending:
            name, value = next(pending[-1], (b"", None))
            if not name:
                pending.pop()
            elif name not in values:
                values[name] = value
                if value is True and name in self._macros:
                    self._operation.match(1 + len(self._macros[name]))
                    pending.append(iter(self._macros[name]))

    def _read_macros(self, content: bytes) -> dict[bytes, Words]:
        macros: dict[bytes, Words] = {
            b"binary": ((b"text", False), (b"merge", False), (b"diff", False))
        }
        for pattern, words in self._lines(content):
            name = _macro(pattern)
            if name is not None and _is_name(name):
                macros[name] = words
                self._operation.hold(_RULE_BYTES + len(words) * _WORD_BYTES)
        return macros

    def _read(self, content: bytes) -> _Rules:
        rules = _Rules(self._operation)
        same: dict[Words, Words] = {}
        for pattern, words in self._lines(content):
            words = tuple(each for each in words if each[0] in self._relevant)
            if not words or pattern.startswith(b"!") or _macro(pattern) is not None:
                continue
            rules.words.append(same.setdefault(words, words))
            size = rules.patterns.add(pattern)
            self._operation.hold(_RULE_BYTES + size + len(words) * _WORD_BYTES)
        return rules

    def _lines(self, content: bytes) -> Iterator[tuple[bytes, Words]]:
        """The pattern, or the macro's name, and the words of each line that git accepts."""
        for line in BytesIO(content.partition(b"\0")[0]):
            self._operation.match(1 + len(line) // _LINE_BYTES_A_STEP)
            line = line.removesuffix(b"\n")
            found = _split(line) if len(line) < _MAX_LINE_BYTES else None
            words = _words(found[1]) if found else None
            if found is not None and words is not None:
                yield found[0], words


def _leading_to(names: frozenset[bytes], macros: Mapping[bytes, Words]) -> frozenset[bytes]:
    """These names, and all macros that expand to one of them, directly or indirectly."""
    users: dict[bytes, list[bytes]] = {}
    for macro, words in macros.items():
        for name, _ in words:
            users.setdefault(name, []).append(macro)
    found, pending = set(names), list(names)
    while pending:
        for macro in users.get(pending.pop(), ()):
            if macro not in found:
                found.add(macro)
                pending.append(macro)
    return frozenset(found)


def _split(line: bytes) -> tuple[bytes, bytes] | None:
    """Split a line into its pattern and the rest; ``None`` if it is empty or a comment."""
    line = line.lstrip(_BLANK)
    quoted = _QUOTED.match(line)
    if quoted:
        return _ESCAPE.sub(_unescaped, quoted[1]), line[quoted.end() :]
    plain = _UNTIL_BLANK.match(line)
    if plain is None or line.startswith(b"#"):
        return None
    return plain[0], line[plain.end() :]


def _macro(pattern: bytes) -> bytes | None:
    """The name of the macro that a line defines, valid or not; ``None`` if it defines none."""
    if not pattern.startswith(_MACRO) or pattern == _MACRO:
        return None
    name = _UNTIL_BLANK.match(pattern[len(_MACRO) :].lstrip(_BLANK))
    return name[0].partition(b"\0")[0] if name else b""


def _words(text: bytes) -> Words | None:
    """Read the words of a line; ``None`` if a name is invalid, so that git ignores the line."""
    found: dict[bytes, Value] = {}
    for each in reversed(_UNTIL_BLANK.findall(text)):
        word = _WORD.fullmatch(each)
        if word is None:
            return None
        sign, name, value = word.groups()
        if sign:
            found.setdefault(name, False if sign == b"-" else None)
        else:
            found.setdefault(name, value[1:] if value is not None else True)
    return tuple(found.items())


def _is_text(content: bytes) -> bool:
    """Whether git's own detection considers a content to be text."""
    if b"\0" in content or _LONE_CR.search(content):
        return False
    unprintable = sum(map(content.removesuffix(b"\x1a").count, _BYTES_UNPRINTABLE))
    plain = len(content) - content.count(b"\n") - content.count(b"\r") - unprintable
    return plain >> 7 >= unprintable


def convert(content: bytes, ending: LineEnding) -> bytes:
    """Convert the line endings of a file's content."""
    if ending is LineEnding.UNCHANGED:
        return content
    if ending is LineEnding.CRLF_IF_TEXT and (b"\r" in content or not _is_text(content)):
        return content
    return _LONE_LF.sub(b"\r\n", content)


def convert_file(content: BinaryIO, ending: LineEnding, result: BinaryIO) -> None:
    """Convert the line endings of a file that is too large for memory.

    Args:
        content: The file, which is read from its beginning.
        result: The file that the result is written to.
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
    """Whether a file is text without CR."""
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


def _text(value: Value) -> Value:
    if value is True or value is False or value == b"auto":
        return value
    return b"input" if value == b"input" else None


def _unescaped(found: re.Match[bytes]) -> bytes:
    escape = found[1]
    if len(escape) == 3:
        return bytes([int(escape, 8) & 0xFF])
    return bytes([_ESCAPES.get(escape[0], escape[0])])
