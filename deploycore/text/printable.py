"""Untrusted text in a form that is safe to print: one line, escaped and limited in length."""

from __future__ import annotations

import logging
import unicodedata
from datetime import UTC, datetime
from typing import Any

from deploycore.times import for_machines

__all__ = ["LogFormatter", "printable"]

_LINE_LENGTH = 4000


def printable(text: str) -> str:
    """Escape control characters and characters that change direction, such as ``\\x1b``."""
    if text.isprintable():
        return text
    return "".join(_visible(character) for character in text)


class LogFormatter(logging.Formatter):
    """Formats log lines safely: headers, paths, names and plugins' text may contain anything.

    Times are in UTC (RFC 3339), so that lines of several machines can be sorted and parsed. A
    record is one line of at most 4,000 characters, followed by the lines of its traceback.
    """

    def formatTime(  # noqa: N802 - logging's name
        self, record: logging.LogRecord, datefmt: str | None = None
    ) -> str:
        """Format the time of a record, to the millisecond."""
        at = datetime.fromtimestamp(record.created, UTC)
        return for_machines(at, timespec="milliseconds")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Format a record without its traceback."""
        return _line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """Format a traceback."""
        return "\n".join(map(_line, super().formatException(ei).split("\n")))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - logging's name
        """Format a stack."""
        return "\n".join(map(_line, super().formatStack(stack_info).split("\n")))


def _line(text: str) -> str:
    # Cut before and after escaping: an escape is longer than its character.
    shown = printable(text[: _LINE_LENGTH + 1])
    return shown if len(shown) <= _LINE_LENGTH else shown[: _LINE_LENGTH - 1] + "…"


def _visible(character: str) -> str:
    if character.isprintable() or character == " ":
        return character
    if unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode("ascii")
