"""Git objects as bytes: their hashes, and the content of commits, tags and trees.

Nothing here reads a file or a socket. Trees are read with one regular expression, since there are
many, and a list of dulwich's entries takes 13 times the tree's size. In commits and tags, only the
hashes that they name must be valid, as in git itself: old importers and other programs wrote
authors, dates and messages of every kind, which are read as far as possible.

Format: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects; what git requires:
``parse_commit_buffer`` (commit.c) and ``split_ident_line`` (ident.c).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
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
_MAX_TEXT_BYTES = 4096  # of a name, or of the first line of a message
_MAX_DATE_BYTES = 64
# The end of an author or committer line: seconds, and a time zone in hours and minutes or as a
# word.
_DATE = re.compile(
    rb"(?:^|[> \t])(-?[0-9]{1,20})"
    rb"(?:[ \t]+(?:([+-]?)([0-9]{1,6})([0-9]{2})|[A-Za-z0-9:+-]{1,8}))?[ \t\r]*$"
)


class Damaged(Exception):
    """An object or a pack is damaged. The handler turns it into an error that names the source."""


class ObjectFormat(NamedTuple):
    """The object format of a repository: the hash algorithm that names its objects.

    Attributes:
        name: The name in git's protocol and in a repository's configuration.
        hash_bytes: The length of a hash in bytes.
        algorithm: The function of ``hashlib``.
        tree_entry: Matches one entry of a tree.
    """

    name: str
    hash_bytes: int
    algorithm: Callable[..., hashlib._Hash]
    tree_entry: re.Pattern[bytes]

    @property
    def digits(self) -> int:
        """The length of a hash in hexadecimal digits."""
        return 2 * self.hash_bytes

    def new_hash(self, data: bytes = b"") -> hashlib._Hash:
        """Start a hash with its first bytes."""
        return self.algorithm(data, usedforsecurity=False)

    def object_name(self, kind: int, content: bytes) -> bytes:
        """Return the hash that names an object."""
        header = b"%s %d\0" % (KINDS[kind], len(content))
        # Without new_hash, to save a call for each object of a repository.
        return self.algorithm(header + content, usedforsecurity=False).digest()

    def unhex(self, name: bytes | str) -> bytes:
        """Return the bytes of a hash in hexadecimal digits.

        Raises:
            Damaged: It is not a hash of this format.
        """
        digits = name if isinstance(name, str) else name.decode("ascii", "replace")
        with suppress(ValueError):
            found = bytes.fromhex(digits)
            if len(digits) == self.digits == 2 * len(found):
                return found
        raise Damaged(f"{clean(digits)!r} is not the name of a {self.name} object")


def _tree_entry(hash_bytes: int) -> re.Pattern[bytes]:
    return re.compile(rb"([0-7]{1,7}) ([^\0]*)\0(.{%d})" % hash_bytes, re.DOTALL)


#: Git's default format.
SHA1 = ObjectFormat("sha1", 20, hashlib.sha1, _tree_entry(20))
OBJECT_FORMATS = (SHA1, ObjectFormat("sha256", 32, hashlib.sha256, _tree_entry(32)))


def format_of(name: str) -> ObjectFormat:
    """Return the object format of a hash, by its length.

    Args:
        name: The hash in hexadecimal digits.

    Raises:
        Damaged: It has the length of no format.
    """
    for each in OBJECT_FORMATS:
        if len(name) == each.digits:
            return each
    raise Damaged(f"{clean(name)!r} is not the name of an object")


class TreeEntry(NamedTuple):
    """One entry of a tree, which is not checked yet.

    Attributes:
        hash: In bytes, like all hashes in this package. Only messages and servers use digits.
        position: The position of the entry in the tree.
    """

    name: bytes
    mode: int
    hash: bytes
    position: int


class CommitInfo(NamedTuple):
    """A commit. Its texts have no control characters.

    Attributes:
        tree: The hash of its tree.
        author: The name, or the email address if there is no name; may be empty, like the subject.
        committed_at: ``None`` if the commit has no readable date.
    """

    tree: bytes
    has_parents: bool
    author: str
    subject: str
    committed_at: datetime | None


def read_tree(content: bytes, object_format: ObjectFormat) -> Iterator[TreeEntry]:
    """Read the entries of a tree, in its order.

    Raises:
        Damaged: The tree is malformed.
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
    """Read a commit.

    Raises:
        Damaged: The line of its tree or of a parent is invalid. Everything else is optional.
    """
    tree, rest = _named(b"tree", content, object_format)
    if not rest:
        raise Damaged("a commit ends after its first line")
    has_parents = rest.startswith(_PARENT)
    while rest.startswith(_PARENT):
        _, rest = _named(b"parent", rest, object_format)
    head, _, message = rest.partition(b"\n\n")
    if rest.startswith(b"\n"):  # there are no other headers
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
    """Return the hash of the object that an annotated tag tags.

    Raises:
        Damaged: The tag is malformed.
    """
    return _named(b"object", content, object_format)[0]


def too_large(kind: int, most: int) -> LimitExceeded:
    """Return the error for an object that is too large for memory."""
    what = KINDS[kind].decode()
    return LimitExceeded(
        f"The repository has a {what} of more than {most:,} bytes, which is too large to read.",
        hint=f"Find it with git cat-file --batch-all-objects --batch-check, and replace the {what}"
        " with a smaller one.",
        limit="object_bytes",
    )


def _named(header: bytes, content: bytes, object_format: ObjectFormat) -> tuple[bytes, bytes]:
    """Read the hash in the first line, and return it with the rest.

    Raises:
        Damaged: The line has another header, or no hash.
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
    """The name in an author line, or the email address if there is no name."""
    who = line[: _date_in(line)[0]]
    name, _, rest = who.partition(b"<")
    return _text(name.rstrip(b"> "), encoding) or _text(rest.partition(b">")[0], encoding)


def _text(raw: bytes, encoding: str) -> str:
    """Decode a text in the commit's encoding, or in UTF-8 if Python does not know that one."""
    raw = raw[:_MAX_TEXT_BYTES]
    with suppress(LookupError, ValueError):  # of an unknown encoding, or a wrong one
        return clean(raw.decode(encoding))
    return clean(raw)


def _date_in(line: bytes) -> tuple[int, re.Match[bytes] | None]:
    """The position of the date in an author or committer line, and the match."""
    start = max(0, len(line) - _MAX_DATE_BYTES)
    found = _DATE.search(line[start:])
    return (start + found.start(1) if found else len(line)), found


def _moment(line: bytes) -> datetime | None:
    """The date in an author or committer line, in UTC if its time zone is invalid.

    ``None`` if there is no date, or none that a calendar has.
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
