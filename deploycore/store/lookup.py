"""Find rows by name, and raise errors for unknown names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table, select

from deploycore.errors import ConfigurationError
from deploycore.text.suggestions import closest, did_you_mean

__all__ = ["COMMANDS", "named_row", "named_rows", "refuse_taken"]

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
    """Return the row with a name; arguments and errors as in ``named_rows``."""
    return named_rows(connection, noun, table, [name], locked=locked)[0]


def named_rows(
    connection: Connection, noun: str, table: Table, names: Sequence[str], *, locked: bool = False
) -> list[Any]:
    """Return the rows with these names.

    Args:
        locked: Whether to lock the rows, in the order of the names, until the transaction ends.
            SQLite has one writer, so it needs no lock.

    Raises:
        ConfigurationError: Rows do not exist. The message has all of their names, and the hint
            names similar ones.
    """
    found = {}
    for name in dict.fromkeys(names):
        query = select(table).where(table.c.name == name)
        # FOR NO KEY UPDATE: new rows that refer to this one, such as triggers, do not wait for it.
        query = query.with_for_update(key_share=True) if locked else query
        found[name] = connection.execute(query).mappings().one_or_none()
    unknown = [name for name, row in found.items() if row is None]
    if unknown:
        raise _unknown(connection, noun, table, unknown)
    return [found[name] for name in names]


def _unknown(
    connection: Connection, noun: str, table: Table, names: Sequence[str]
) -> ConfigurationError:
    near = {name: _names_near(connection, table, name) for name in names}
    if len(names) == 1:
        said, details = f"is no {noun} {names[0]!r}", {noun: names[0]}
        instead = did_you_mean(names[0], near[names[0]])
    else:
        said, details = f"are no {noun}s {', '.join(map(repr, names[:-1]))} and {names[-1]!r}", {}
        meant = ((name, closest(name, known)) for name, known in near.items())
        instead = "".join(f"For {name!r}, did you mean {best!r}? " for name, best in meant if best)
    return ConfigurationError(
        f"There {said}.", hint=f"{instead}List them: {COMMANDS[noun]} list", **details
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
