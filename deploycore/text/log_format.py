"""Log lines in a form that is safe to show: without control characters, and limited in length.

This is separate from ``printable``, because importing logging takes longer than printing a help
text.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from deploycore.text.printable import printable
from deploycore.times import for_machines

__all__ = ["LogFormatter", "format_unhandled_warnings"]

_LINE_LENGTH = 4000


class LogFormatter(logging.Formatter):
    """Formats log lines with any content, such as headers, paths, names, or text from plugins.

    Times are in UTC, as in RFC 3339, so that lines of several machines can be sorted, and programs
    can read them. A record is one line of at most 4,000 characters, and the lines of its traceback.
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
    # Cut before and after escaping, because an escape is longer than its character.
    shown = printable(text[: _LINE_LENGTH + 1])
    return shown if len(shown) <= _LINE_LENGTH else shown[: _LINE_LENGTH - 1] + "…"


def format_unhandled_warnings() -> None:
    """Format the warnings that Python prints where no logging is set up."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(LogFormatter("%(message)s"))
