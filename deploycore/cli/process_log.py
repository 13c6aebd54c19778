"""The log of a command that runs until it is stopped: lines on standard error, with UTC times."""

from __future__ import annotations

import logging

from deploycore.text.log_format import LogFormatter

__all__ = ["log_to_standard_error"]


def log_to_standard_error(
    extra_field: logging.Filter | None = None, *, extra_format: str = "", level: int = logging.INFO
) -> None:
    """Log to standard error: time, level, logger and message.

    Args:
        extra_field: Gives each record one more attribute.
        extra_format: Where that stands in a line, in logging's ``%`` style with a space behind it.
        level: The least that is logged.
    """
    handler = logging.StreamHandler()
    if extra_field is not None:
        handler.addFilter(extra_field)
    handler.setFormatter(
        LogFormatter(f"%(asctime)s %(levelname)s {extra_format}%(name)s: %(message)s")
    )
    logging.basicConfig(level=level, handlers=[handler])
    logging.getLogger("alembic").setLevel(logging.WARNING)
    for name in ("procrastinate", "psycopg"):  # the worker tells it, without tracebacks
        logging.getLogger(name).setLevel(logging.CRITICAL)
