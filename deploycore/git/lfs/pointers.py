"""Pointers: what git holds in place of files that are kept in Git LFS.

Source: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from deploycore.errors import GitError

__all__ = ["EMPTY_POINTER", "Pointer", "begins_as_pointer", "parse_pointer"]

_POINTER_BYTES = 1024
_LINE = re.compile(rb"([a-z0-9.-]+) ([^ \r\n][^\r\n]*)")
# The last two URLs are those of the program's first releases, whose pointers are still valid.
_BEGINNING = re.compile(
    rb"\s*version (?:https://git-lfs\.github\.com/spec/v1|https://hawser\.github\.com/spec/v1"
    rb"|http://git-media\.io/v/2)\r?(?:\n|\Z)"
)
_OID = re.compile(rb"sha256:([0-9a-f]{64})")
_SIZE = re.compile(rb"\+?[0-9]{1,30}")
_MAX_SIZE = 2**63 - 1


@dataclass(frozen=True)
class Pointer:
    """The pointer that git holds in place of a file.

    Attributes:
        oid: SHA-256 of the content: 64 hexadecimal digits, in lower case.
        size: Size of the content in bytes.
    """

    oid: str
    size: int


EMPTY_POINTER = Pointer(hashlib.sha256().hexdigest(), 0)


def begins_as_pointer(content: bytes) -> bool:
    """Whether a file begins with the first line of a pointer, in a known version."""
    return _BEGINNING.match(content) is not None


def parse_pointer(content: bytes, name: str = "A file") -> Pointer | None:
    """Read a pointer file (docs/spec.md, "The Pointer"), with the deviations that git-lfs accepts.

    The program (``DecodeFrom`` in lfs/pointer.go) accepts surrounding white space, CR at the ends
    of lines, empty lines, and any number that Go can parse.

    Args:
        name: The file, for messages.

    Returns:
        ``None`` for any other file, such as one that was never in Git LFS.

    Raises:
        GitError: The pointer needs an extension, a program that makes the file from the object
            (docs/extensions.md).
    """
    if not begins_as_pointer(content):
        return None
    values = _pointer_values(content)
    oid = _OID.fullmatch(values.get(b"oid", b""))
    size = _SIZE.fullmatch(values.get(b"size", b""))
    if not oid or not size or int(size[0]) > _MAX_SIZE:
        return None
    if any(key.startswith(b"ext-") for key in values):
        raise GitError(
            f"{name} was stored with an extension of Git LFS, which is not supported.",
            hint="Remove the extension (lfs.extension) from the configuration of git, and commit"
            " the file again. Or deploy with lfs: false.",
            oid=oid[1].decode(),
        )
    return Pointer(oid[1].decode(), int(size[0]))


def _pointer_values(content: bytes) -> dict[bytes, bytes]:
    """Read the keys and values of a pointer; none if it is malformed."""
    lines = [line.removesuffix(b"\r") for line in content.strip().split(b"\n")]
    found = [_LINE.fullmatch(line) for line in lines if line]
    pairs = [(each[1], each[2]) for each in found if each]
    keys = [key for key, _ in pairs]
    is_whole = len(pairs) == len(found) and keys[1:] == sorted(set(keys[1:]) - {b"version"})
    return dict(pairs) if is_whole and len(content) < _POINTER_BYTES and _is_text(content) else {}


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
