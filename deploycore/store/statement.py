"""The form of a statement's text, as ``docs/statements.py`` generates it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["Column", "Statement"]


class Column(NamedTuple):
    """A column of a table, or of a result.

    Attributes:
        name: Its name.
        kind: The kind of its values: a key of the readers in ``values``.
        nullable: Whether it may be empty.
        choices: The words that it may have, or the word for the type of a document's values.
    """

    name: str
    kind: str
    nullable: bool
    choices: tuple[str, ...] = ()


class Statement(NamedTuple):
    """A statement for SQLite.

    Attributes:
        text: The SQL. Each list is ``__[POSTCOMPILE_name]``, and ``{changes}`` is the place of the
            assignments.
        kinds: The kinds of its parameters, by name.
        constants: The values of parameters that are always the same.
        columns: The columns of its result: those of a table, or these.
        changes: The assignments that it may have, by the name of their parameter.
    """

    text: str
    kinds: Mapping[str, str] = {}
    constants: Mapping[str, Any] = {}
    columns: str | tuple[Column, ...] = ()
    changes: Mapping[str, str] = {}
