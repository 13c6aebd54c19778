"""Find rows by name, and raise errors for unknown names."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deploycore.errors import ConfigurationError
from deploycore.store.named import Statements, StatementsOfEngine
from deploycore.text.suggestions import closest, did_you_mean

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["COMMANDS", "find_row", "find_rows", "lock_names", "named_row", "refuse_taken"]

_NAMES = 7023648104  # the number that this lock has in PostgreSQL

COMMANDS = {
    "provider": "deploycore provider",
    "application": "deploycore app",
    "token": "deploycore token",
    "user": "deploycore user",
}
"""The command that lists each kind of object, by its noun."""


def named_row(
    connection: Connection, noun: str, name: str, *, locked: bool = False
) -> Mapping[Any, Any]:
    """The same as ``find_row``, in a transaction of SQLAlchemy."""
    return find_row(StatementsOfEngine(connection), noun, name, locked=locked)


def find_row(
    statements: Statements, noun: str, name: str, *, locked: bool = False
) -> Mapping[Any, Any]:
    """Return the row with a name; errors as in ``find_rows``.

    Args:
        locked: Whether to lock the row until the transaction ends.
    """
    return find_rows(statements, noun, [name], locked=[name] if locked else ())[0]


def find_rows(
    statements: Statements, noun: str, names: Sequence[str], *, locked: Collection[str] = ()
) -> list[Mapping[Any, Any]]:
    """Return the rows with these names.

    Args:
        noun: What they are: a key of ``COMMANDS``.
        locked: The names of the rows to lock until the transaction ends, in the order of
            ``names``. SQLite has one writer, so it needs no lock.

    Raises:
        ConfigurationError: Rows do not exist. The message has all of their names, and the hint
            names similar ones.
    """
    found = {
        name: statements.run(f"{noun}, locked" if name in locked else noun, name=name).row
        for name in dict.fromkeys(names)
    }
    if unknown := [name for name, row in found.items() if row is None]:
        raise _unknown(statements, noun, unknown)
    return [row for name in names if (row := found[name]) is not None]


def _unknown(statements: Statements, noun: str, names: Sequence[str]) -> ConfigurationError:
    near = {name: _names_near(statements, noun, name) for name in names}
    details: dict[str, str] = {}
    if len(names) == 1:
        said, details = f"is no {noun} {names[0]!r}", {noun: names[0]}
        instead = did_you_mean(names[0], near[names[0]])
    else:
        said = f"are no {noun}s {', '.join(map(repr, names[:-1]))} and {names[-1]!r}"
        meant = ((name, closest(name, known)) for name, known in near.items())
        instead = "".join(f"For {name!r}, did you mean {best!r}? " for name, best in meant if best)
    return ConfigurationError(
        f"There {said}.", hint=f"{instead}List them: {COMMANDS[noun]} list", **details
    )


def _names_near(statements: Statements, noun: str, name: str) -> list[str]:
    """Return names to compare with. If there are very many, return those that are next in
    alphabetical order."""
    found = [
        each
        for side in ("before", "after")
        for each in statements.run(f"names {side} {noun}", name=name).values
    ]
    return [each for each in found if isinstance(each, str)]


def lock_names(statements: Statements) -> None:
    """Let no other transaction check whether a name is taken until this one ends. Otherwise, two
    could find the same name free."""
    statements.lock(_NAMES)


def refuse_taken(statements: Statements, noun: str, name: str) -> None:
    """Raise an error if another record of the table has a name."""
    lock_names(statements)
    if statements.run(noun, name=name).rows:
        raise ConfigurationError(
            f"The {noun} name {name!r} is taken.",
            hint=f"Choose another name, or remove it first: {COMMANDS[noun]} remove {name}",
            **{noun: name},
        )
