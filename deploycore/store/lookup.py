"""Find rows by name, and raise errors for unknown names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table, select

from deploycore.errors import ConfigurationError
from deploycore.text.suggestions import did_you_mean

__all__ = ["COMMANDS", "named_row", "refuse_taken"]

_COMPARED = 500  # names before and after an unknown one

COMMANDS = {
    "provider": "deploycore provider",
    "application": "deploycore app",
    "token": "deploycore token",
    "user": "deploycore user",
}
"""The command of each noun."""


def named_row(
    connection: Connection, noun: str, table: Table, name: str, *, locked: bool = False
) -> Any:
    """Return the row with a name.

    Args:
        locked: Whether to lock the row until the transaction ends. SQLite has one writer, so it
            needs no lock.

    Raises:
        ConfigurationError: The row does not exist. The hint names a similar one.
    """
    query = select(table).where(table.c.name == name)
    # FOR NO KEY UPDATE: new rows that refer to this one, such as triggers, do not wait for it.
    query = query.with_for_update(key_share=True) if locked else query
    row = connection.execute(query).mappings().one_or_none()
    if row is not None:
        return row
    names = _names_near(connection, table, name)
    raise ConfigurationError(
        f"There is no {noun} {name!r}.",
        hint=f"{did_you_mean(name, names)}List them: {COMMANDS[noun]} list",
        **{noun: name},
    )


def _names_near(connection: Connection, table: Table, name: str) -> Sequence[str]:
    """Return similar names. If there are very many names, return those next to it in order."""
    column = table.c.name
    before = select(column).where(column < name).order_by(column.desc()).limit(_COMPARED)
    after = select(column).where(column > name).order_by(column).limit(_COMPARED)
    found = (each for query in (before, after) for each in connection.scalars(query))
    return [each for each in found if isinstance(each, str)]


def refuse_taken(connection: Connection, noun: str, table: Table, name: str) -> None:
    """Raise an error if another record of the table has a name."""
    taken = connection.scalar(select(table.c.name).where(table.c.name == name))
    if taken is not None:
        raise ConfigurationError(
            f"The {noun} name {name!r} is taken.",
            hint=f"Choose another name, or remove it first: {COMMANDS[noun]} remove {name}",
            **{noun: name},
        )
