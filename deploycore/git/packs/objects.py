"""Git objects as bytes: what names them, and what commits, tags and trees say.

Nothing here reads a file or a socket. Trees, of which there are many, are read by one regular
expression, since a list of dulwich's entries takes 13 times the tree's size. Of commits and tags
only what they name has to be right, as for git itself: old importers and other programs wrote
authors, dates and messages of every kind, and those are read as far as they can be.

Format: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects; what git requires:
``parse_commit_buffer`` (commit.c) and ``split_ident_line`` (ident.c).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple

from deploycore.errors import LimitExceeded
from deploycore.git.wording import clean

__all__ = [
    "BLOB",
    "COMMIT",
    "KINDS",
    "OBJECT_FORMATS",
    "SHA1",
    "TAG",
    "TREE",
    "CommitInfo",
    "Damaged",
    "ObjectFormat",
    "TreeEntry",
    "format_of",
    "read_commit",
    "read_tree",
    "tagged",
    "too_large",
]

COMMIT, TREE, BLOB, TAG = 1, 2, 3, 4
KINDS = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob", TAG: b"tag"}
_PARENT = b"parent "
_DAY_HOURS = 24
_MAX_TEXT_BYTES = 4096  # of a name, or of a message's first line
_MAX_DATE_BYTES = 64
# At the end of the line of an author or committer: seconds, and a time zone as hours and minutes
# or as any word.
_DATE = re.compile(
    rb"(?:^|[> \t])(-?[0-9]{1,20})"
    rb"(?:[ \t]+(?:([+-]?)([0-9]{1,6})([0-9]{2})|[A-Za-z0-9:+-]{1,8}))?[ \t\r]*$"
)


class Damaged(Exception):
    """An object, or a pack, is not what it should be; its source is named by who catches this."""


@dataclass(frozen=True)
class ObjectFormat:
    """How one repository names its objects: by which hash of their contents.

    Attributes:
        name: As git has it in its protocol and in a repository's configuration.
        hash_bytes: The length of a hash.
        algorithm: From ``hashlib``.
        tree_entry: One line of a tree.
    """

    name: str
    hash_bytes: int
    algorithm: Callable[..., hashlib._Hash]
    tree_entry: re.Pattern[bytes]

    @property
    def digits(self) -> int:
        """The length of a hash as people and servers write it, in hexadecimal."""
        return 2 * self.hash_bytes

    def new_hash(self, data: bytes = b"") -> hashlib._Hash:
        """Begin a hash, with the first bytes of what is hashed."""
        return self.algorithm(data, usedforsecurity=False)

    def object_name(self, kind: int, content: bytes) -> bytes:
        """The hash that names an object."""
        header = b"%s %d\0" % (KINDS[kind], len(content))
        # Without new_hash, whose call would come on top for each object of a repository.
        return self.algorithm(header + content, usedforsecurity=False).digest()

    def unhex(self, name: bytes | str) -> bytes:
        """The hash that hexadecimal digits stand for.

        Raises:
            Damaged: They stand for none of this format.
        """
        digits = name if isinstance(name, str) else name.decode("ascii", "replace")
        with suppress(ValueError):
            found = bytes.fromhex(digits)
            if len(digits) == self.digits == 2 * len(found):
                return found
        raise Damaged(f"{clean(digits)!r} is not the name of a {self.name} object")


def _tree_entry(hash_bytes: int) -> re.Pattern[bytes]:
    return re.compile(rb"([0-7]{1,7}) ([^\0]*)\0(.{%d})" % hash_bytes, re.DOTALL)


#: What git takes where nothing else is said.
SHA1 = ObjectFormat("sha1", 20, hashlib.sha1, _tree_entry(20))
OBJECT_FORMATS = (SHA1, ObjectFormat("sha256", 32, hashlib.sha256, _tree_entry(32)))


def format_of(name: str) -> ObjectFormat:
    """The format in which an object can have this name.

    Args:
        name: In hexadecimal digits.

    Raises:
        Damaged: There is none.
    """
    for each in OBJECT_FORMATS:
        if len(name) == each.digits:
            return each
    raise Damaged(f"{clean(name)!r} is not the name of an object")


class TreeEntry(NamedTuple):
    """One line of a tree object; nothing of it is to be trusted.

    Attributes:
        hash: In bytes, as all hashes within this package; digits are for people and servers.
        position: Where the line begins in the tree.
    """

    name: bytes
    mode: int
    hash: bytes
    position: int


@dataclass(frozen=True)
class CommitInfo:
    """A commit, its texts fit for a terminal.

    Attributes:
        tree: The hash of its tree.
        author: A name, or an email address if there is no name; may be empty, as the subject.
        committed_at: ``None`` if the commit has no date that can be read.
    """

    tree: bytes
    has_parents: bool
    author: str
    subject: str
    committed_at: datetime | None


def read_tree(content: bytes, object_format: ObjectFormat) -> Iterator[TreeEntry]:
    """The lines of a tree, in its order.

    Raises:
        Damaged: It is malformed.
    """
    match = object_format.tree_entry.match
    position = 0
    while position < len(content):
        found = match(content, position)
        if found is None:
            raise Damaged("a tree is malformed")
        yield TreeEntry(found[2], int(found[1], 8), found[3], position)
        position = found.end()


def read_commit(content: bytes, object_format: ObjectFormat) -> CommitInfo:
    """What a commit says.

    Raises:
        Damaged: Its tree or a parent can't be read. Nothing else has to be there.
    """
    tree, rest = _named(b"tree", content, object_format)
    if not rest:
        raise Damaged("a commit ends after its first line")
    has_parents = rest.startswith(_PARENT)
    while rest.startswith(_PARENT):
        _, rest = _named(b"parent", rest, object_format)
    head, _, message = rest.partition(b"\n\n")
    if rest.startswith(b"\n"):  # there is no header besides
        head, message = b"", rest
    author, committer = _header(b"author", head), _header(b"committer", head)
    encoding = _header(b"encoding", head).decode("ascii", "replace") or "utf-8"
    return CommitInfo(
        tree=tree,
        has_parents=has_parents,
        author=_person(author, encoding),
        subject=_text(message.lstrip().split(b"\n", 1)[0], encoding),
        committed_at=_moment(committer) or _moment(author),
    )


def tagged(content: bytes, object_format: ObjectFormat) -> bytes:
    """The hash of the object that an annotated tag names.

    Raises:
        Damaged: It can't be read.
    """
    return _named(b"object", content, object_format)[0]


def too_large(kind: int, most: int) -> LimitExceeded:
    """The error for an object that is not read, since it would have to be in memory."""
    what = KINDS[kind].decode()
    return LimitExceeded(
        f"The repository has a {what} of more than {most:,} bytes, which is too large to read.",
        hint=f"Find it with git cat-file --batch-all-objects --batch-check, and replace the {what}"
        " with a smaller one.",
        limit="object_bytes",
    )


def _named(header: bytes, content: bytes, object_format: ObjectFormat) -> tuple[bytes, bytes]:
    """The hash in the first line, which has this header, and what follows that line.

    Raises:
        Damaged: It is another line.
    """
    end = len(header) + 1 + object_format.digits
    if not content.startswith(header + b" ") or content[end : end + 1] != b"\n":
        raise Damaged(f"a commit or tag lacks its {header.decode()!r} line")
    return object_format.unhex(content[len(header) + 1 : end]), content[end + 1 :]


def _header(name: bytes, head: bytes) -> bytes:
    """The value of the first header of this name; empty if there is none."""
    found = re.search(rb"^%s[ \t]*(.*)$" % name, head, re.MULTILINE)
    return found[1] if found else b""


def _person(line: bytes, encoding: str) -> str:
    """The name in the line of an author, or else the email address."""
    who = line[: _date_in(line)[0]]
    name, _, rest = who.partition(b"<")
    return _text(name.rstrip(b"> "), encoding) or _text(rest.partition(b">")[0], encoding)


def _text(raw: bytes, encoding: str) -> str:
    """Text in the encoding that the commit says to have, if Python knows it; else in UTF-8."""
    raw = raw[:_MAX_TEXT_BYTES]
    with suppress(LookupError, ValueError):  # of an unknown encoding, or a wrong one
        return clean(raw.decode(encoding))
    return clean(raw)


def _date_in(line: bytes) -> tuple[int, re.Match[bytes] | None]:
    """Where the date in the line of an author begins, and the date."""
    start = max(0, len(line) - _MAX_DATE_BYTES)
    found = _DATE.search(line[start:])
    return (start + found.start(1) if found else len(line)), found


def _moment(line: bytes) -> datetime | None:
    """The date in the line of an author or committer, in UTC if its time zone is impossible.

    ``None`` if there is none, or if it is one that no calendar has.
    """
    _, found = _date_in(line)
    if found is None:
        return None
    hours, minutes = int(found[3] or 0), int(found[4] or 0)
    sign = -1 if found[2] == b"-" else 1
    zone = UTC
    if hours < _DAY_HOURS and minutes < 60:
        zone = timezone(sign * timedelta(hours=hours, minutes=minutes))
    try:
        return datetime.fromtimestamp(int(found[1]), zone)
    except (ValueError, OverflowError, OSError):
        return None
