"""Errors of the database, as a sentence for people with a next step.

The database's own message is used only if it cannot contain a value of a row. The statement, its
parameters, and URLs with passwords are never used.
"""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploycore.errors import ConfigurationError, StoreError
from deploycore.records import record
from deploycore.settings import DATABASE_URL, HOME
from deploycore.store.values import Unstorable

if TYPE_CHECKING:
    from pydantic import SecretStr
    from sqlalchemy import URL

__all__ = [
    "Place",
    "Unanswered",
    "place_of",
    "place_of_file",
    "store_error",
    "typed_errors",
    "unanswered",
]

# The beginning of SQLite's own message, which has no error code of its own.
_WITHOUT_TABLES = re.compile(r"no\ssuch\s(?:table|column)\b")
_FULL = (
    "cannot be written: the disk is full",
    "Free space on that disk, then try again. Nothing was half-written.",
)
_SQLITE_FAILURES = {
    # https://sqlite.org/rescode.html; primary codes, unless an extended one is more precise
    sqlite3.SQLITE_NOTADB: (
        "is damaged, or is no SQLite database",
        "Restore a backup, or move the file away to start with an empty database.",
    ),
    sqlite3.SQLITE_CORRUPT: (
        "is damaged",
        "Restore a backup, or move the file away to start with an empty database.",
    ),
    sqlite3.SQLITE_BUSY: (
        "is busy: another process has locked it",
        "Try again. If it happens again, find the process that has the file open.",
    ),
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_IOERR_SHMSIZE: _FULL,  # no space for the index of the write-ahead log
    sqlite3.SQLITE_READONLY: (
        "cannot be written",
        f"Make the file and its directory writable, or set {HOME} to another directory.",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "cannot be opened",
        "Check that its directory exists, and that you may read and write both.",
    ),
    sqlite3.SQLITE_PERM: (
        "cannot be opened",
        "Check that you may read and write the file and its directory.",
    ),
    sqlite3.SQLITE_IOERR: (
        "cannot be read or written: the disk reports an error",
        "Check that the disk is mounted, has free space and is healthy, then try again.",
    ),
}

_UNANSWERED = "ConnectionTimeout"  # psycopg's, which has no code
_SERVER_FAILURES = {
    # https://www.postgresql.org/docs/current/errcodes-appendix.html
    "55P03": (
        "kept an operation waiting for a row that another process has locked",
        "Try again. If it happens again, find the process that holds the lock: SELECT * FROM"
        " pg_stat_activity WHERE state = 'idle in transaction'",
    ),
    "57014": (
        "did not finish an operation in time",
        "Try again. If it happens again, find what keeps the database busy.",
    ),
    "25P03": (
        "ended a transaction of this process, which was idle for too long",
        "Try again. If it happens again, find what paused the process.",
    ),
    "53300": (
        "has no connection left",
        "Raise max_connections, or run fewer processes; then try again.",
    ),
}


@record
class Place:
    """The database, described without a password.

    Attributes:
        name: The description.
        path: The file, for SQLite.
    """

    name: str
    path: Path | None
    password: SecretStr | None

    def error(self, problem: str, hint: str) -> StoreError:
        """Create a :class:`StoreError` about this database."""
        return StoreError(f"{self.name} {problem}.", hint=hint, path=self.path and str(self.path))


def place_of(url: URL) -> Place:
    """Return the description of a URL's database."""
    from pydantic import SecretStr

    if url.get_backend_name() == "sqlite" and url.database:
        return Place(f"The database {url.database}", Path(url.database), None)
    server = f"{url.host or ''}{f':{url.port}' if url.port else ''}"
    password = SecretStr(str(url.password)) if url.password else None
    return Place(f"The database {url.drivername}://{server}/{url.database}", None, password)


def place_of_file(path: Path) -> Place:
    """Return the description of a SQLite file."""
    return Place(f"The database {path}", path, None)


@contextmanager
def typed_errors(place: Place) -> Iterator[None]:
    """Convert errors of the database to typed errors, without values of rows.

    Raises:
        StoreError, ConfigurationError: The converted error.
    """
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise store_error(error, place) from None
    except Unstorable as error:
        raise _unstorable(error.why) from None
    except UnicodeEncodeError:
        raise _unstorable("should be valid Unicode text") from None
    except OverflowError:
        raise _unstorable("should be an integer of at most 64 bits") from None
    except Exception as error:
        if not _is(error, "SQLAlchemyError"):
            raise
        cause = _cause(error)
        if isinstance(cause, Unstorable):
            raise _unstorable(cause.why) from None
        if _is(error, "DBAPIError"):
            vars(error)["params"] = None
        raise store_error(error, place) from None


def _unstorable(why: str) -> ConfigurationError:
    return ConfigurationError(
        f"A value cannot be stored or found, because it {why}.",
        hint="Remove control characters and invalid characters from the values.",
    )


def _is(error: BaseException | None, name: str) -> bool:
    """Whether an error is one of SQLAlchemy's. They exist only after SQLAlchemy was imported."""
    module: Any = sys.modules.get("sqlalchemy.exc")
    return module is not None and isinstance(error, getattr(module, name))


def _cause(error: Exception) -> BaseException | None:
    """Return the driver's error in place of SQLAlchemy's."""
    cause: BaseException | None = error
    return vars(error)["orig"] if _is(error, "StatementError") else cause


def store_error(error: Exception, place: Place) -> StoreError:
    """Return the typed error for an exception of SQLAlchemy, a driver, the lock or the file
    system."""
    if isinstance(error, TimeoutError):  # that of filelock; no other one is raised here
        return place.error(
            "is being set up by another process, which does not finish",
            "Try again. If it happens again, stop the other deploycore process.",
        )
    if isinstance(error, OSError):
        return place.error(
            f"cannot be opened: {error.strerror or type(error).__name__}",
            f"Set {HOME} or {DATABASE_URL} to a directory that exists and that you may write to.",
        )
    if _is(error, "TimeoutError"):
        return place.error(
            "is busy: all connections of this process are in use",
            "Try again in a minute. If it happens again, find what keeps transactions waiting.",
        )
    cause = _cause(error)
    if type(cause).__name__ == _UNANSWERED:
        return unanswered(place)
    if (known := _SERVER_FAILURES.get(getattr(cause, "sqlstate", None) or "")) is not None:
        return place.error(*known)
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        # Extended codes contain the primary one.
        if known := _SQLITE_FAILURES.get(code) or _SQLITE_FAILURES.get(code & 0xFF):
            return place.error(*known)
        if _WITHOUT_TABLES.match(str(cause)):
            return place.error(
                f"does not have the tables of this version of deploycore: {_said(cause, place)}",
                f"Use the version that it was last used with, restore a backup, or set {HOME} to"
                " another directory.",
            )
    return place.error(
        f"refused an operation: {_said(cause, place)}",
        f"Check that {DATABASE_URL} names the right database, and that the server is up.",
    )


class Unanswered(StoreError):
    """The database server did not respond in time."""


def unanswered(place: Place) -> Unanswered:
    """Return the error for a server that does not respond."""
    return Unanswered(
        f"{place.name} did not answer in time.",
        hint=f"Check that the server is up and can be reached, and that {DATABASE_URL} names it.",
    )


def _said(cause: BaseException | None, place: Place) -> str:
    """Return the first line of an error, if the driver's class guarantees that it quotes no row."""
    name = type(cause).__name__
    if name != "OperationalError":  # each driver has its own class of this name (PEP 249)
        return name
    from deploycore.redaction import Redactor

    redactor = Redactor([place.password] if place.password else [])
    return redactor.mask(str(cause)).strip().partition("\n")[0].removesuffix(".")
