"""Read the lists that commands print from a SQLite database, without SQLAlchemy.

Importing SQLAlchemy takes longer than printing a list. So lists are read with Python's ``sqlite3``,
by the same statements that the store sends; ``docs/statements.py`` records them. This works only
for SQLite databases of this version whose rows all match their checksums. In all other cases
``read_listing`` returns ``None``, and the caller uses the store, which also raises the right
errors.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from deploycore.settings import Settings
from deploycore.store.checksums import CHECKSUMS, checksum_of
from deploycore.store.listed_records import PreviewRecord, ProviderRecord
from deploycore.store.listing_statements import (
    APPLICATION_FIELDS,
    COLUMNS,
    REVISION,
    STATEMENTS,
)
from deploycore.text.storable import find_unstorable, is_storable_text

if TYPE_CHECKING:
    from deploycore.deployment_records import DeploymentRecord

__all__ = ["Listing", "read_listing"]

_REVISION = "SELECT version_num FROM alembic_version"
_WAIT_SECONDS = 5  # then the store waits for longer
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}", re.ASCII)
_VALUES: Mapping[str, Any] = {"": object, "text": str, "number": (int, float)}
_AT_ONCE = 1000
_UNREADABLE = (
    sqlite3.Error,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    OverflowError,
    RecursionError,
)

T = TypeVar("T")


class _Unusual(Exception):
    """The store must be used."""


class Listing:
    """One transaction for reading. If something is unusual, such as an unknown name, a method
    raises an error that ``read_listing`` catches."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def providers(self) -> list[ProviderRecord]:
        """Return the same as ``Store.list_providers``."""
        return list(map(_provider, self._rows("providers", "providers")))

    def provider(self, name: str) -> ProviderRecord:
        """Return the same as ``Store.get_provider``."""
        return _provider(_only(self._rows("providers", "provider", name)))

    def definitions(self) -> list[Mapping[str, Any]]:
        """Return the stored definitions of the applications that ``Store.list_applications``
        returns."""
        return list(map(_definition, self._rows("applications", "applications")))

    def target(self, application: str) -> Path:
        """Return the target of the application that ``Store.get_application`` returns."""
        row = _only(self._rows("applications", "application", application))
        return Path(_definition(row)["target"])

    def previews(self) -> list[PreviewRecord]:
        """Return the same as ``Previews.list``."""
        return [PreviewRecord(**row) for row in self._rows("previews", "previews")]

    def deployment(self, number: int) -> DeploymentRecord:
        """Return the same as ``Deployments.get``."""
        return _deployment(_only(self._rows("deployments", "deployment", number)))

    def last_deployment(self, application: str) -> DeploymentRecord:
        """Return the first result of ``Deployments.list``."""
        return self._deployments("deployments", application, 1)[0]

    def history(self, application: str | None, limit: int) -> list[DeploymentRecord]:
        """Return the same as ``Deployments.history``."""
        found = [
            each
            for table in ("deployments", "removed_deployments")
            for each in self._deployments(table, application, limit)
        ]
        return sorted(found, key=lambda each: each.id, reverse=True)[:limit]

    def of_releases(self, application: str, releases: Sequence[str]) -> dict[str, DeploymentRecord]:
        """Return the same as ``Deployments.of_releases``."""
        found: list[DeploymentRecord] = []
        for start in range(0, len(releases), _AT_ONCE):
            some = releases[start : start + _AT_ONCE]
            marks = f"IN ({', '.join('?' * len(some))})"
            text = STATEMENTS["of_releases"].replace("IN (?)", marks)
            values = (application, "deploy", *some)
            found += map(_deployment, self._read("deployments", text, values))
        found.sort(key=lambda each: each.id)
        return {each.release: each for each in found if each.release}

    def _deployments(
        self, table: str, application: str | None, limit: int
    ) -> list[DeploymentRecord]:
        values: tuple[Any, ...] = (limit, 0)
        name = table
        if application is not None:
            name, values = f"{table} of one", (application, *values)
            if table == "deployments":
                _only(self._rows("applications", "application", application))
        return list(map(_deployment, self._rows(table, name, *values)))

    def _rows(self, table: str, statement: str, *values: Any) -> Iterator[dict[str, Any]]:
        return self._read(table, STATEMENTS[statement], values)

    def _read(self, table: str, text: str, values: Sequence[Any]) -> Iterator[dict[str, Any]]:
        for row in self._connection.execute(text, values):
            yield _checked(table, row)


def read_listing(read: Callable[[Listing], T], settings: Settings | None = None) -> T | None:
    """Call a function that reads an ordinary SQLite database.

    Args:
        settings: The settings (default: those of the environment).

    Returns:
        The function's result; ``None`` if the store must be used.

    Raises:
        ConfigurationError: The settings in the environment are invalid.
    """
    settings = settings or Settings.from_environment()
    path = _path_of(settings.database_url)
    if path is None:
        return None
    try:
        if not path.stat().st_size:
            return None
        # Opened as the store opens it, but never made.
        address = f"file:{quote(str(path))}?mode=rw"
        with closing(sqlite3.connect(address, uri=True, timeout=_WAIT_SECONDS)) as connection:
            connection.isolation_level = None
            connection.execute("BEGIN")
            if connection.execute(_REVISION).fetchall() != [(REVISION,)]:
                return None
            return read(Listing(connection))
    except (_Unusual, *_UNREADABLE):
        return None


def _path_of(database_url: str) -> Path | None:
    """Return the file of a SQLite URL with an absolute path; ``None`` for any other URL."""
    path = database_url.removeprefix("sqlite:///")
    if path == database_url or not path.startswith("/") or "?" in path:
        return None
    plain = path.replace("%25", "%").replace("%3F", "?")
    is_ours = plain.replace("%", "%25").replace("?", "%3F") == path
    return Path(plain) if is_ours else None


def _only(rows: Iterator[dict[str, Any]]) -> dict[str, Any]:
    found = list(rows)
    if len(found) != 1:
        raise _Unusual
    return found[0]


def _deployment(row: dict[str, Any]) -> DeploymentRecord:
    from deploycore.deployment_records import DeploymentRecord

    return DeploymentRecord(**row)


def _provider(row: Mapping[str, Any]) -> ProviderRecord:
    return ProviderRecord(**{name: row[name] for name in ProviderRecord.__dataclass_fields__})


def _definition(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The definition of an application. With its checksum it is what some version has validated;
    that it has no other fields than this version knows tells that this one would take it."""
    found: Mapping[str, Any] = row["definition"]
    texts = ("name", "provider", "repository", "ref", "target")
    is_known = row["definition_checksum"] is not None and APPLICATION_FIELDS.issuperset(found)
    if not is_known or not all(isinstance(found[each], str) for each in texts):
        raise _Unusual
    return found


def _checked(table: str, row: Sequence[Any]) -> dict[str, Any]:
    """Return the values of a row whose checksum matches."""
    columns = COLUMNS[table]
    found = {
        name: _read_value(value, kind, may_be_empty=may_be_empty, choices=choices)
        for value, (name, kind, may_be_empty, choices) in zip(row, columns, strict=True)
    }
    for each in CHECKSUMS.get(table, ()):
        known = found[each.column]
        if known is not None and known != checksum_of(*(found[name] for name in each.of)):
            raise _Unusual
    return found


def _read_value(value: Any, kind: str, *, may_be_empty: bool, choices: tuple[str, ...]) -> Any:
    """Return the value of a column, read like the column's type in ``columns``."""
    if value is None:
        if not may_be_empty:
            raise _Unusual
        return None
    read = _READERS[kind]
    return read(value, choices)


def _text(value: Any, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str) or not is_storable_text(value):
        raise _Unusual
    if choices and value not in choices:
        raise _Unusual
    return value


def _number(value: Any, choices: tuple[str, ...]) -> int:
    if type(value) is not int:
        raise _Unusual
    return value


def _flag(value: Any, choices: tuple[str, ...]) -> bool:
    if value not in (0, 1):
        raise _Unusual
    return bool(value)


def _time(value: Any, choices: tuple[str, ...]) -> datetime:
    if not _TIME.fullmatch(value):
        raise _Unusual
    return datetime.fromisoformat(value).replace(tzinfo=UTC)


def _path(value: Any, choices: tuple[str, ...]) -> Path:
    text = _text(value, choices)
    if not text.startswith("/"):
        raise _Unusual
    return Path(text)


def _document(value: Any, choices: tuple[str, ...]) -> dict[str, Any]:
    found = json.loads(value)
    kinds = _VALUES[choices[0]]
    if not isinstance(found, dict) or not all(isinstance(each, kinds) for each in found.values()):
        raise _Unusual
    if next(find_unstorable(found), None):
        raise _Unusual
    return found


_READERS: Mapping[str, Callable[[Any, tuple[str, ...]], Any]] = {
    "text": _text,
    "number": _number,
    "flag": _flag,
    "time": _time,
    "path": _path,
    "document": _document,
}
