"""Values of columns: which ones can be stored, how SQLite stores them, and how they are read.

A value that cannot be read becomes :class:`Damaged`. The types of ``columns`` use these functions
too, for both databases. This module imports no SQLAlchemy.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploycore.text.storable import find_unstorable, is_storable_text, why_unstorable

__all__ = [
    "DAMAGED",
    "DOCUMENTS",
    "Damaged",
    "Unstorable",
    "check_storable",
    "check_storable_document",
    "load_json",
    "read_choice",
    "read_document",
    "read_flag",
    "read_number",
    "read_path",
    "read_real",
    "read_text",
    "read_texts",
    "read_time",
    "sqlite_reader",
    "sqlite_value",
]


class Damaged:
    """Represents a value that cannot be read. It has no part of the value, which may be a
    secret."""

    def __repr__(self) -> str:
        return "<damaged>"

    def __bool__(self) -> bool:
        return False


DAMAGED = Damaged()

DOCUMENTS: Mapping[str, Any] = {"": object, "text": str, "number": (int, float)}
"""The types of a document's values, by the words for them."""


class Unstorable(ValueError):
    """A value cannot be stored in one of the databases.

    Args:
        why: The end of a sentence about the value, without the value.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def check_storable(value: Any) -> Any:
    """Return a value that both databases can store.

    Raises:
        Unstorable: One of them cannot store it.
    """
    if why := why_unstorable(value):
        raise Unstorable(why)
    return value


def check_storable_document(value: Any) -> Any:
    """Return an object or a list if both databases can store all of it.

    Raises:
        Unstorable: One of them cannot store it.
    """
    for _, why in find_unstorable(value):
        raise Unstorable(why)
    return value


def load_json(text: str | bytes) -> Any:
    """Parse stored JSON. The result is ``Damaged`` if it is invalid, or has values that cannot be
    stored."""
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return DAMAGED
    return DAMAGED if next(find_unstorable(value), None) else value


def read_text(value: Any) -> Any:
    """Return the text, if it is one."""
    return value if isinstance(value, str) and is_storable_text(value) else DAMAGED


def read_choice(value: Any, words: frozenset[str]) -> Any:
    """Return the word, if it is one of these."""
    return value if isinstance(value, str) and value in words else DAMAGED


def read_number(value: Any) -> Any:
    """Return the integer, if it is one."""
    return value if type(value) is int else DAMAGED


def read_real(value: Any) -> Any:
    """Return the number, if it is one."""
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if is_number else DAMAGED


def read_flag(value: Any) -> Any:
    """Return whether a value is true. SQLite has integers for both."""
    return bool(value) if value in (0, 1) else DAMAGED


def read_time(at: datetime) -> datetime:
    """Return the time in UTC."""
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def read_path(value: Any) -> Any:
    """Return the path, if it is an absolute one."""
    is_text = isinstance(value, str) and is_storable_text(value)
    return Path(value) if is_text and value.startswith("/") else DAMAGED


def read_document(value: Any, values: Any) -> Any:
    """Return the object, if it is one whose values have this type."""
    is_right = isinstance(value, dict) and all(isinstance(each, values) for each in value.values())
    return value if is_right else DAMAGED


def read_texts(value: Any) -> Any:
    """Return the list of texts, if it is one."""
    is_right = isinstance(value, list) and all(isinstance(each, str) for each in value)
    return value if is_right else DAMAGED


def sqlite_reader(kind: str, choices: tuple[str, ...]) -> Callable[[Any], Any]:
    """Return the function that reads what SQLite has in a column. It never raises.

    Args:
        kind: The kind of the column, as in ``statements``.
        choices: The words that it may have, or the word for the values of a document.
    """
    read: Callable[[Any], Any]
    if choices and kind == "document":
        values = DOCUMENTS[choices[0]]

        def read(value: Any) -> Any:
            return read_document(load_json(value), values)

    elif choices:
        words = frozenset(choices)

        def read(value: Any) -> Any:
            return read_choice(value, words)

    else:
        read = _READERS[kind]

    def process(value: Any) -> Any:
        if value is None:
            return None
        try:
            return read(value)
        except Exception:
            return DAMAGED  # without the error, whose text may quote the value

    return process


def sqlite_value(kind: str, value: Any) -> Any:
    """Return a value of a column as SQLite stores it.

    Raises:
        Unstorable: One of the databases cannot store it.
    """
    if value is None:
        return None
    if kind in ("document", "texts"):
        try:
            return json.dumps(check_storable_document(value))
        except TypeError:
            raise Unstorable("should be JSON") from None
    check_storable(value)
    if kind == "time":
        try:
            return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
        except (AttributeError, OverflowError):
            raise Unstorable("should be a time between the years 1 and 9999") from None
    if kind == "path":
        return str(value)
    return int(value) if kind == "flag" else value


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "flag": read_flag,
    "number": read_number,
    "path": read_path,
    "real": read_real,
    "text": read_text,
    "texts": lambda value: read_texts(load_json(value)),
    "time": lambda value: read_time(datetime.fromisoformat(value)),
}
