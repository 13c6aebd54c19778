"""What messages are made of: text from elsewhere made harmless, and failures of the disk.

Apart from the translation of network errors, since this needs no library and is needed early.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploycore.disk.durable import BrokenLink
from deploycore.errors import GitError

if TYPE_CHECKING:
    from pydantic import SecretStr

    from deploycore.models import CloneUrl
    from deploycore.redaction import Redactor

__all__ = ["clean", "file_failure", "quoted", "raising", "shown"]

_SAID_MOST = 300
_PATH_MOST = 200
_LOOKED_AT_MOST = 64 * 1024  # a whole line of the protocol


def clean(text: bytes | str, source: CloneUrl | None = None, *, most: int = _SAID_MOST) -> str:
    """Text of a server, fit for a terminal: no control characters, bounded, secrets masked.

    Args:
        source: Whose credential to mask.
        most: The most characters.
    """
    text = text[:_LOOKED_AT_MOST]
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    printable = "".join(each if each.isprintable() else " " for each in text)
    secret = source.credential.password if source and source.credential else None
    masked = _redactor([secret] if secret else []).mask(" ".join(printable.split()))
    return masked if len(masked) <= most else masked[: most - 1] + "…"


def _redactor(secrets: list[SecretStr]) -> Redactor:
    from deploycore.redaction import Redactor  # pydantic takes long to import

    return Redactor(secrets)


def shown(path: bytes, *, most: int = _PATH_MOST) -> str:
    """A path of a repository, for messages: what can't be printed is told as an escape.

    Args:
        most: The most characters.
    """
    text = path[:_LOOKED_AT_MOST].decode("utf-8", "surrogateescape")
    printable = "".join(each if each.isprintable() else _escape(each) for each in text)
    masked = _redactor([]).mask(printable)
    return masked if len(masked) <= most else masked[: most - 1] + "…"


def quoted(path: bytes) -> str:
    """The same in quotation marks, so that spaces at its ends are seen."""
    text = shown(path)
    mark = '"' if "'" in text and '"' not in text else "'"
    return f"{mark}{text}{mark}"


def raising(limit: str) -> str:
    """The hint for a limit that was reached.

    Args:
        limit: A field of ``GitSettings`` whose name without ``_most`` is one of an application's
            ``limits``.
    """
    return (
        f"If you trust this repository, set limits: {{{limit.removesuffix('_most')}: NUMBER}} for"
        f" the application, or {limit} of GitSettings in Python."
    )


def _escape(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is no UTF-8
        return f"\\x{number - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def file_failure(path: object, error: OSError) -> GitError:
    """The error for a failed call of the file system.

    Args:
        path: What was going to be written.
    """
    is_link = isinstance(error, BrokenLink)
    name = None if is_link else error.filename
    within = f", at {clean(str(name))!r}" if name and str(name) != str(path) else ""
    return GitError(
        f"{path} cannot be written: {error.strerror or type(error).__name__}{within}.",
        hint=BrokenLink.HINT
        if is_link
        else "Check the directory's permissions and the free space on its disk.",
        path=str(path),
    )
