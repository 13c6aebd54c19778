"""Git objects as bytes: what names them, and what commits, tags and trees say.

Nothing here reads a file or a socket. dulwich's parsers are used where there are few objects;
trees, of which there are many, are read by one regular expression, since a list of dulwich's
entries takes 13 times the tree's size.

Format: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple

from dulwich.objects import Commit, Tag

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
]

COMMIT, TREE, BLOB, TAG = 1, 2, 3, 4
KINDS = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob", TAG: b"tag"}
_COMMIT_BYTES_MOST = 1024 * 1024


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
        raise Damaged(f"{clean(digits)!r} names no object in a repository with {self.name}")


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
    raise Damaged(f"{clean(name)!r} names no object")


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
    """

    tree: bytes
    has_parents: bool
    author: str
    subject: str
    committed_at: datetime


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
        LimitExceeded: It is larger than commits are.
        Damaged: It is malformed.
    """
    _refuse_large(content)
    with _naming_damage():
        commit = Commit.from_string(content)
        author = commit.author
        return CommitInfo(
            tree=object_format.unhex(commit.tree),
            has_parents=bool(commit.parents),
            author=clean(author.split(b"<")[0]) or clean(author),
            subject=clean(commit.message.lstrip().split(b"\n", 1)[0]),
            committed_at=_moment(commit.commit_time, commit.commit_timezone),
        )


def tagged(content: bytes, object_format: ObjectFormat) -> bytes:
    """The hash of the object that an annotated tag names.

    Raises:
        LimitExceeded: The tag is larger than tags are.
        Damaged: It is malformed.
    """
    _refuse_large(content)
    with _naming_damage():
        tag = Tag.from_string(content)
        return object_format.unhex(tag.object[1])


@contextmanager
def _naming_damage() -> Iterator[None]:
    """dulwich has no one kind of exception for what it can't parse."""
    try:
        yield
    except Exception as error:
        raise Damaged(clean(str(error)) or type(error).__name__) from None


def _refuse_large(content: bytes) -> None:
    if len(content) > _COMMIT_BYTES_MOST:
        raise LimitExceeded(f"The commit or tag is larger than {_COMMIT_BYTES_MOST:,} bytes.")


def _moment(seconds: int, offset: int) -> datetime:
    """A commit's time; the epoch where somebody wrote a time that no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, timezone(timedelta(seconds=offset)))
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)
