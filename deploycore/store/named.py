"""Run statements by name, in a transaction: on SQLite without SQLAlchemy, else through it.

SQLAlchemy takes longer to import than most commands take to run, and several times as long as
SQLite for each statement. So the statements of these commands, and of webhook deliveries, have
names. ``definitions`` builds them with SQLAlchemy; ``statements`` has the generated
text of each for SQLite, which ``direct`` sends to the driver. A database of another kind gets them
from SQLAlchemy. Operations of the store call them by name, in one way for both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from sqlalchemy import Connection, Executable

__all__ = ["Result", "Row", "Statements", "StatementsOfEngine"]

Row = Mapping[Any, Any]


class Result:
    """The result of a statement.

    Attributes:
        rows: The rows, by the names of their columns.
        count: The number of rows that it has changed.
    """

    __slots__ = ("count", "rows")

    def __init__(self, rows: Sequence[Row], count: int) -> None:
        self.rows = rows
        self.count = count

    @property
    def values(self) -> list[Any]:
        """The values of rows that have one column."""
        return [value for row in self.rows for value in row.values()]

    @property
    def value(self) -> Any:
        """The value of the first row; ``None`` if there is no row."""
        return next(iter(self.values), None)

    @property
    def row(self) -> Row | None:
        """The only row; ``None`` if there is none."""
        if not self.rows:
            return None
        (found,) = self.rows
        return found


class Statements(Protocol):
    """A transaction in which statements are sent by name."""

    def run(self, name: str, /, **values: Any) -> Result:
        """Send a statement.

        Args:
            name: Its name in ``definitions``.
            values: The values of its parameters.
        """

    def change(self, name: str, changes: Mapping[str, Any], /, **values: Any) -> Result:
        """Send a statement that changes some columns.

        Args:
            name: Its name in ``definitions``.
            changes: The values of its assignments.
            values: The values of its other parameters.
        """

    def present(self) -> datetime:
        """Return the current time of the database; see ``engine.present``."""

    def lock(self, number: int, /) -> None:
        """Hold a lock until the transaction ends. SQLite has one writer, so it needs none."""


class StatementsOfEngine:
    """Sends statements in a transaction of SQLAlchemy."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def run(self, name: str, /, **values: Any) -> Result:
        """Send a statement; see ``Statements``."""
        from deploycore.store.definitions import definition_for

        return self._sent(definition_for(self._connection.dialect.name, name), values)

    def change(self, name: str, changes: Mapping[str, Any], /, **values: Any) -> Result:
        """Send a statement that changes some columns; see ``Statements``."""
        from deploycore.store.definitions import CHANGES

        statement, assignments = CHANGES[name]
        chosen = dict(assignments[each] for each in changes)
        return self._sent(statement.values(chosen), {**changes, **values})

    def present(self) -> datetime:
        """Return the current time of the database; see ``engine.present``."""
        from deploycore.store.engine import present

        return present(self._connection)

    def lock(self, number: int, /) -> None:
        """Hold an advisory lock of PostgreSQL; see ``Statements``.

        Source: https://www.postgresql.org/docs/current/explicit-locking.html
        """
        if self._connection.dialect.name == "postgresql":
            from sqlalchemy import func, select

            self._connection.execute(select(func.pg_advisory_xact_lock(number)))

    def _sent(self, statement: Executable, values: Mapping[str, Any]) -> Result:
        done = self._connection.execute(statement, values)
        if done.returns_rows:
            rows = done.mappings().all()
            return Result(rows, len(rows))
        return Result((), done.rowcount)
