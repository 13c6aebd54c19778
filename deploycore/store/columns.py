"""The types of columns. Each accepts values that both databases can store, and reads a damaged
value as :class:`Damaged`.

A database can return any value: bits flip, people edit rows by hand, and other versions store other
forms. One damaged value must not prevent the rest of a result from being read. So no type raises
when it reads. ``reading`` converts rows to records, and reports which row is damaged.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, DateTime, Dialect, Float, Integer, String, Text
from sqlalchemy.types import TypeDecorator

from deploycore.text.storable import find_unstorable, is_storable_text, why_unstorable

__all__ = [
    "BigNumber",
    "Choice",
    "Damaged",
    "Document",
    "Flag",
    "Line",
    "Number",
    "PathText",
    "Real",
    "Texts",
    "Unstorable",
    "UtcDateTime",
    "Words",
    "load_json",
]


class Damaged:
    """Represents a value that cannot be read. It has no part of the value, which may be a
    secret."""

    def __repr__(self) -> str:
        return "<damaged>"

    def __bool__(self) -> bool:
        return False


DAMAGED = Damaged()


class Unstorable(ValueError):
    """A value cannot be stored in one of the databases.

    Args:
        why: The end of a sentence about the value, without the value.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def load_json(text: str | bytes) -> Any:
    """Parse stored JSON. The result is ``Damaged`` if it is invalid, or has values that cannot be
    stored."""
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return DAMAGED
    return DAMAGED if next(find_unstorable(value), None) else value


class _Checked(TypeDecorator[Any]):
    """A type that checks its values when they are written and read."""

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Return the value for the driver.

        Raises:
            Unstorable: A database could not store it.
        """
        if why := why_unstorable(value):
            raise Unstorable(why)
        return value

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        """Return the function that converts the driver's value. It never raises."""
        convert = self.impl_instance.result_processor(dialect, coltype)

        def process(value: Any) -> Any:
            if value is None:
                return None
            try:
                return self.read(value if convert is None else convert(value))
            except Exception:
                return DAMAGED  # without the error, whose text may quote the value

        return process

    def read(self, value: Any) -> Any:
        """Return the value for the record. If it is invalid, return ``Damaged`` or raise."""
        raise NotImplementedError


class _Text(_Checked):
    def read(self, value: Any) -> Any:
        """The text, if it is one."""
        return value if isinstance(value, str) and is_storable_text(value) else DAMAGED


class Words(_Text):
    """Text of any length."""

    cache_ok = True
    impl = Text


class Line(_Text):
    """Text of a limited length."""

    cache_ok = True
    impl = String


class Choice(_Text):
    """One of a few words.

    Args:
        length: The length of the column.
        words: The allowed words.
    """

    cache_ok = True
    impl = String

    def __init__(self, length: int, words: Collection[str]) -> None:
        super().__init__(length)
        self.words = frozenset(words)

    def read(self, value: Any) -> Any:
        """The word, if there is such a one."""
        return value if isinstance(value, str) and value in self.words else DAMAGED


class Number(_Checked):
    """An integer."""

    cache_ok = True
    impl = Integer

    def read(self, value: Any) -> Any:
        """The integer, if it is one."""
        return value if type(value) is int else DAMAGED


class BigNumber(Number):
    """An integer of 64 bits."""

    cache_ok = True
    impl = BigInteger


class Real(_Checked):
    """A finite number."""

    cache_ok = True
    impl = Float

    def read(self, value: Any) -> Any:
        """The number, if it is one."""
        is_number = isinstance(value, int | float) and math.isfinite(value)
        return float(value) if is_number else DAMAGED


class Flag(_Checked):
    """True or false."""

    cache_ok = True
    impl = Boolean

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        """Return the function that converts the driver's value. SQLite has integers for both."""

        def process(value: Any) -> Any:
            if value is None:
                return None
            return bool(value) if value in (0, 1) else DAMAGED

        return process


class UtcDateTime(_Checked):
    """Times in UTC, with a time zone. SQLite itself stores no time zone."""

    cache_ok = True
    impl = DateTime(timezone=True)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The time in UTC."""
        return value and value.astimezone(UTC)

    def read(self, value: Any) -> datetime:
        """The time in UTC."""
        at: datetime = value
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


class PathText(_Checked):
    """Paths, as text."""

    cache_ok = True
    impl = Text

    def process_bind_param(self, value: Path | None, dialect: Dialect) -> str | None:
        """The path as text."""
        super().process_bind_param(value, dialect)
        return None if value is None else str(value)

    def read(self, value: Any) -> Any:
        """The path, if it is an absolute one."""
        is_text = isinstance(value, str) and is_storable_text(value)
        return Path(value) if is_text and value.startswith("/") else DAMAGED


class Document(_Checked):
    """A JSON object.

    Args:
        values: The type of its values (default: any).
    """

    cache_ok = True
    impl = JSON

    def __init__(self, values: type | tuple[type, ...] = object) -> None:
        super().__init__(none_as_null=True)
        self.values = values

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """The object, if both databases can hold all of it."""
        for _, why in find_unstorable(value):
            raise Unstorable(why)
        return value

    def read(self, value: Any) -> Any:
        """The object, if it is one."""
        is_right = isinstance(value, dict) and all(
            isinstance(each, self.values) for each in value.values()
        )
        return value if is_right else DAMAGED


class Texts(_Checked):
    """A JSON list of texts."""

    cache_ok = True
    impl = JSON

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """The list, if both databases can hold all of it."""
        for _, why in find_unstorable(value):
            raise Unstorable(why)
        return value

    def read(self, value: Any) -> Any:
        """The list, if it is one."""
        is_right = isinstance(value, list) and all(isinstance(each, str) for each in value)
        return value if is_right else DAMAGED
