"""Find rows by name, and raise errors for unknown names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deploycore.errors import ConfigurationError
from deploycore.store.named import Statements, StatementsOfEngine
from deploycore.text.suggestions import did_you_mean

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["COMMANDS", "find_row", "named_row", "refuse_taken"]

COMMANDS = {
    "provider": "deploycore provider",
    "application": "deploycore app",
    "token": "deploycore token",
    "user": "deploycore user",
}
"""The command of each noun."""


def named_row(
    connection: Connection, noun: str, name: str, *, locked: bool = False
) -> Mapping[Any, Any]:
    """The same as ``find_row``, in a transaction of SQLAlchemy."""
    return find_row(StatementsOfEngine(connection), noun, name, locked=locked)


def find_row(
    statements: Statements, noun: str, name: str, *, locked: bool = False
) -> Mapping[Any, Any]:
    """Return the row with a name.

    Args:
        noun: What it is: a key of ``COMMANDS``.
        locked: Whether to lock the row until the transaction ends. SQLite has one writer, so it
            needs no lock.

    Raises:
        ConfigurationError: The row does not exist. The hint names a similar one.
    """
    row = statements.run(f"{noun}, locked" if locked else noun, name=name).row
    if row is not None:
        return row
    # If there are very many names, those next to it in order.
    found = [
        each
        for side in ("before", "after")
        for each in statements.run(f"names {side} {noun}", name=name).values
    ]
    names = [each for each in found if isinstance(each, str)]
    raise ConfigurationError(
        f"There is no {noun} {name!r}.",
        hint=f"{did_you_mean(name, names)}List them: {COMMANDS[noun]} list",
        **{noun: name},
    )


def refuse_taken(connection: Connection, noun: str, name: str) -> None:
    """Raise an error if another record of the table has a name."""
    if StatementsOfEngine(connection).run(noun, name=name).rows:
        raise ConfigurationError(
            f"The {noun} name {name!r} is taken.",
            hint=f"Choose another name, or remove it first: {COMMANDS[noun]} remove {name}",
            **{noun: name},
        )
