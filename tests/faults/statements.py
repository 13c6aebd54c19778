"""Each call of ``os`` and each statement of SQLite fails in turn.

Calls of ``os`` fail as in ``refusals``. SQLite makes its calls in C, so its statements fail
instead, with the error that SQLite has for the same reason.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable

import pytest

from deploycore.errors import DeploycoreError
from tests.faults.refusals import CALLS, Refuser

__all__ = ["CALLS_MOST", "NUMBERS", "refuse"]

NUMBERS = {
    errno.EPERM: (sqlite3.SQLITE_IOERR, "disk I/O error"),
    errno.EACCES: (sqlite3.SQLITE_CANTOPEN, "unable to open database file"),
    errno.EROFS: (sqlite3.SQLITE_READONLY, "attempt to write a readonly database"),
    errno.ENOSPC: (sqlite3.SQLITE_FULL, "database or disk is full"),
}
CALLS_MOST = 300


@pytest.fixture
def refuse(tmp_path, monkeypatch):
    """Runs a function whose n-th call or statement fails; returns the error and the count."""
    counting: list[Refuser] = []

    def judge() -> None:
        if counting and counting[0].armed:
            refuser = counting[0]
            refuser.count += 1
            if refuser.count == refuser._at:
                code, said = NUMBERS[refuser._number]
                error = sqlite3.OperationalError(said)
                error.sqlite_errorcode = code
                raise error

    class Cursor(sqlite3.Cursor):
        def execute(self, statement, *arguments):
            if not statement.startswith(("SELECT", "PRAGMA")):
                judge()
            return super().execute(statement, *arguments)

    class Connection(sqlite3.Connection):
        def cursor(self, factory=Cursor):
            return super().cursor(factory)

        def commit(self):
            judge()
            super().commit()

    connect = sqlite3.dbapi2.connect
    monkeypatch.setattr(
        sqlite3.dbapi2,
        "connect",
        lambda *args, **given: connect(*args, factory=Connection, **given),
    )

    def run(
        action: Callable[[], object], at: int, calls: tuple[str, ...] = CALLS
    ) -> tuple[DeploycoreError | None, int]:
        number = [*NUMBERS][at % len(NUMBERS)]
        refuser = Refuser(str(tmp_path), at, number, calls)
        counting[:] = [refuser]
        refuser.armed = True
        try:
            action()
        except DeploycoreError as error:
            return error, refuser.count
        finally:
            refuser.armed = False
            refuser.undo()
            counting.clear()
        return None, refuser.count

    return run
