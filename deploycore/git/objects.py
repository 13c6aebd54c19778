"""Git objects as bytes: what names them, and what commits, tags and trees say.

Nothing here reads a file or a socket. dulwich's parsers are used where there are few objects;
trees, of which there are many, are read by one regular expression, since a list of dulwich's
entries takes 13 times the tree's size.

Format: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
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
    "TAG",
    "TREE",
    "CommitInfo",
    "Damaged",
    "TreeEntry",
    "object_name",
    "read_commit",
    "read_tree",
    "tagged",
]

COMMIT, TREE, BLOB, TAG = 1, 2, 3, 4
KINDS = {COMMIT: b"commit", TREE: b"tree", BLOB: b"blob", TAG: b"tag"}
_COMMIT_BYTES_MOST = 1024 * 1024
_ENTRY = re.compile(rb"([0-7]{1,7}) ([^\0]*)\0(.{20})", re.DOTALL)


class Damaged(Exception):
    """An object, or a pack, is not what it should be; its source is named by who catches this."""


class TreeEntry(NamedTuple):
    """One line of a tree object; nothing of it is to be trusted.

    Attributes:
        hash: 20 bytes.
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
        tree: 20 bytes.
    """

    tree: bytes
    has_parents: bool
    author: str
    subject: str
    committed_at: datetime


def object_name(kind: int, content: bytes) -> bytes:
    """The hash that names an object, 20 bytes."""
    header = b"%s %d\0" % (KINDS[kind], len(content))
    return hashlib.sha1(header + content, usedforsecurity=False).digest()


def read_tree(content: bytes) -> Iterator[TreeEntry]:
    """The lines of a tree, in its order.

    Raises:
        Damaged: It is malformed.
    """
    position = 0
    while position < len(content):
        found = _ENTRY.match(content, position)
        if found is None:
            raise Damaged("a tree is malformed")
        yield TreeEntry(found[2], int(found[1], 8), found[3], position)
        position = found.end()


def read_commit(content: bytes) -> CommitInfo:
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
            tree=bytes.fromhex(commit.tree.decode("ascii")),
            has_parents=bool(commit.parents),
            author=clean(author.split(b"<")[0]) or clean(author),
            subject=clean(commit.message.lstrip().split(b"\n", 1)[0]),
            committed_at=_moment(commit.commit_time, commit.commit_timezone),
        )


def tagged(content: bytes) -> bytes:
    """The object that an annotated tag names, 20 bytes.

    Raises:
        LimitExceeded: The tag is larger than tags are.
        Damaged: It is malformed.
    """
    _refuse_large(content)
    with _naming_damage():
        tag = Tag.from_string(content)
        return bytes.fromhex(tag.object[1].decode("ascii"))


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
