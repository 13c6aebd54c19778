"""Parts of messages: text from elsewhere made safe to print, hints for limits, disk failures.

The translation of network errors is another module, since it needs libraries and this does not.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from deploycore.disk.durable import BrokenLink
from deploycore.errors import GitError

if TYPE_CHECKING:
    from deploycore.models import CloneUrl

__all__ = ["clean", "file_failure", "limit_hint", "quoted", "shown"]

_MAX_TEXT = 300
_MAX_PATH = 200
_MAX_EXAMINED = 64 * 1024  # a whole line of the protocol


def clean(text: bytes | str, source: CloneUrl | None = None, *, most: int = _MAX_TEXT) -> str:
    """Make text from a server safe to print: no control characters, bounded, secrets masked.

    Args:
        source: The repository whose credential is masked.
        most: Maximum number of characters.
    """
    text = text[:_MAX_EXAMINED]
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    printable = "".join(each if each.isprintable() else " " for each in text)
    masked = _masked(" ".join(printable.split()), source)
    return masked if len(masked) <= most else masked[: most - 1] + "…"


def _masked(text: str, source: CloneUrl | None) -> str:
    if source is None or source.credential is None:
        return text
    from deploycore.redaction import Redactor, secrets_in  # importing pydantic takes long

    return Redactor(secrets_in(source)).mask(text)


def shown(path: bytes, *, most: int = _MAX_PATH) -> str:
    """Make a repository's path safe to print: unprintable characters become escapes.

    Args:
        most: Maximum number of characters.
    """
    text = path[:_MAX_EXAMINED].decode("utf-8", "surrogateescape")
    printable = "".join(each if each.isprintable() else _escape(each) for each in text)
    return printable if len(printable) <= most else printable[: most - 1] + "…"


def quoted(path: bytes) -> str:
    """Like ``shown``, in quotation marks, so that spaces at the ends are visible."""
    text = shown(path)
    mark = '"' if "'" in text and '"' not in text else "'"
    return f"{mark}{text}{mark}"


def limit_hint(limit: str) -> str:
    """Return the hint for a limit that was reached.

    Args:
        limit: A field of ``GitSettings`` whose name without ``max_`` is one of an application's
            ``limits``.
    """
    return (
        f"If you trust this repository, set limits: {{{limit.removeprefix('max_')}: NUMBER}} for"
        f" the application, or {limit} of GitSettings in Python."
    )


def _escape(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is no UTF-8
        return f"\\x{number - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def file_failure(path: object, error: OSError) -> GitError:
    """Return the error for a failed file system call.

    Args:
        path: The file or directory to be written.
    """
    is_link = isinstance(error, BrokenLink)
    name = None if is_link or error.filename == str(path) else error.filename
    within = f", at {quoted(os.fsencode(name))}" if name else ""
    if is_link:
        hint = BrokenLink.HINT
    elif error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "Free space on its disk, then try again. Nothing was left there."
    else:
        hint = "Check the directory's permissions and the free space on its disk."
    return GitError(
        f"{path} cannot be written: {error.strerror or type(error).__name__}{within}.",
        hint=hint,
        path=str(path),
    )
