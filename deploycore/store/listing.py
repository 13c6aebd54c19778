"""Read the lists that commands print from a SQLite database, without SQLAlchemy.

Lists need no pydantic either, so definitions of applications stay as they are stored. The
statements are those of ``named``. This works only for SQLite databases of this version whose rows
can all be read. In all other cases ``read_listing`` returns ``None``, and the caller uses the
store, which also raises the right errors.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from deploycore.settings import Settings
from deploycore.store.direct import SqliteFile, path_of
from deploycore.store.listed_records import PreviewRecord, ProviderRecord
from deploycore.store.named import Row, Statements
from deploycore.store.provider_records import provider_of, without_expired
from deploycore.store.reading import damage_in
from deploycore.store.statements import APPLICATION_FIELDS

if TYPE_CHECKING:
    from deploycore.deployment_records import DeploymentRecord

__all__ = ["Listing", "read_listing"]

_WAIT_SECONDS = 5  # if this is not enough, the store waits longer
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
    """Raised if the store must be used."""


class Listing:
    """One transaction for reading. If something is unusual, such as an unknown name, a method
    raises an error that ``read_listing`` catches."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def providers(self) -> list[ProviderRecord]:
        """Return the same as ``Store.list_providers``."""
        return list(map(provider_of, self._rows("providers", "providers")))

    def provider(self, name: str) -> ProviderRecord:
        """Return the same as ``Store.get_provider``."""
        record = provider_of(_only(self._rows("providers", "provider", name=name)))
        return without_expired(record, self._statements.present())

    def definitions(self) -> list[Mapping[str, Any]]:
        """Return the stored definitions of the applications that ``Store.list_applications``
        returns."""
        return list(map(_definition, self._rows("applications", "applications")))

    def target(self, application: str) -> Path:
        """Return the target of the application that ``Store.get_application`` returns."""
        return Path(self.definition(application)["target"])

    def definition(self, application: str) -> Mapping[str, Any]:
        """Return the stored definition of the application that ``Store.get_application``
        returns."""
        return _definition(_only(self._rows("applications", "application", name=application)))

    def has_deploy_key(self, definition: Mapping[str, Any]) -> bool:
        """Return whether ``Store.find_deploy_key`` finds a key."""
        names = {each: definition[each] for each in ("name", "provider", "repository")}
        return bool(self._rows("deploy_keys", "deploy key", **names))

    def previews(self) -> list[PreviewRecord]:
        """Return the same as ``Previews.list``."""
        return [PreviewRecord(**row) for row in self._rows("previews", "previews")]

    def deployment(self, number: int) -> DeploymentRecord:
        """Return the same as ``Deployments.get``."""
        return _deployment(_only(self._rows("deployments", "deployment", number=number)))

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
            rows = self._rows(
                "deployments", "deployments of releases", of=application, releases=some
            )
            found += map(_deployment, rows)
        found.sort(key=lambda each: each.id)
        return {each.release: each for each in found if each.release}

    def _deployments(
        self, table: str, application: str | None, limit: int
    ) -> list[DeploymentRecord]:
        name = table.replace("_", " ")
        if application is None:
            return list(map(_deployment, self._rows(table, name, limit=limit)))
        if table == "deployments":
            _only(self._rows("applications", "application", name=application))
        rows = self._rows(table, f"{name} of one", of=application, limit=limit)
        return list(map(_deployment, rows))

    def _rows(self, table: str, statement: str, /, **values: Any) -> Sequence[Row]:
        rows = self._statements.run(statement, **values).rows
        if any(damage_in(table, each) is not None for each in rows):
            raise _Unusual
        return rows


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
    path = path_of(settings.database_url)
    if path is None:
        return None
    try:
        if not path.stat().st_size:
            return None
        with closing(SqliteFile(path, wait=_WAIT_SECONDS)) as file:
            if not file.is_up_to_date():
                return None
            with file.transaction(writes=False) as statements:
                return read(Listing(statements))
    except (_Unusual, *_UNREADABLE):
        return None


def _only(rows: Sequence[Row]) -> Row:
    if len(rows) != 1:
        raise _Unusual
    return rows[0]


def _deployment(row: Row) -> DeploymentRecord:
    from deploycore.deployment_records import DeploymentRecord

    return DeploymentRecord(**row)


def _definition(row: Row) -> Mapping[str, Any]:
    """Return the definition of an application.

    Its checksum shows that some version of deploycore has validated it. If it has only fields that
    this version knows, this version would accept it too.
    """
    found: Mapping[str, Any] = row["definition"]
    texts = ("name", "provider", "repository", "ref", "target")
    is_known = row["definition_checksum"] is not None and APPLICATION_FIELDS.issuperset(found)
    if not is_known or not all(isinstance(found[each], str) for each in texts):
        raise _Unusual
    return found
