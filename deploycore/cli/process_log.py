"""Logging of long-running commands: lines on standard error, with times in UTC."""

from __future__ import annotations

import logging

from deploycore.text.log_format import LogFormatter

__all__ = ["log_to_standard_error"]


def log_to_standard_error(
    extra_field: logging.Filter | None = None, *, extra_format: str = "", level: int = logging.INFO
) -> None:
    """Log to standard error: time, level, logger and message.

    Args:
        extra_field: A filter that adds an attribute to each record.
        extra_format: The format of that attribute, in logging's ``%`` style, with a space after it.
        level: The lowest level that is logged.
    """
    handler = logging.StreamHandler()
    if extra_field is not None:
        handler.addFilter(extra_field)
    handler.setFormatter(
        LogFormatter(f"%(asctime)s %(levelname)s {extra_format}%(name)s: %(message)s")
    )
    logging.basicConfig(level=level, handlers=[handler])
    logging.getLogger("alembic").setLevel(logging.WARNING)
    for name in ("procrastinate", "psycopg"):  # the worker logs these errors, without tracebacks
        logging.getLogger(name).setLevel(logging.CRITICAL)
