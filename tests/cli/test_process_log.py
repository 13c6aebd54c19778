"""What a server or a worker logs."""

from __future__ import annotations

import io
import logging

import pytest

from deploycore.cli.process_log import log_to_standard_error


@pytest.fixture
def levels():
    """The levels of other libraries' loggers, as they were before."""
    loggers = [logging.getLogger(name) for name in ("alembic", "procrastinate", "psycopg")]
    before = [each.level for each in loggers]
    yield
    for each, level in zip(loggers, before, strict=True):
        each.setLevel(level)


def test_a_line_has_level_field_logger_and_message(monkeypatch, levels):
    class Field(logging.Filter):
        def filter(self, record):
            record.worker = "one"
            return True

    given = {}
    monkeypatch.setattr(logging, "basicConfig", lambda **options: given.update(options))
    log_to_standard_error(Field(), extra_format="[%(worker)s] ")
    (handler,) = given["handlers"]
    handler.setStream(written := io.StringIO())
    handler.handle(logging.LogRecord("deploycore", logging.INFO, "", 1, "ready", (), None))
    assert written.getvalue().endswith(" INFO [one] deploycore: ready\n")
    assert given["level"] == logging.INFO
    assert logging.getLogger("psycopg").level == logging.CRITICAL
