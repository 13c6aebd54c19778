"""The types of columns. Each accepts values that both databases can store, and reads a damaged
value as :class:`Damaged`.

A database can return any value: bits flip, people edit rows by hand, and other versions store other
forms. One damaged value must not prevent the rest of a result from being read. So no type raises
when it reads. ``reading`` converts rows to records, and reports which row is damaged.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, DateTime, Dialect, Float, Integer, String, Text
from sqlalchemy.types import TypeDecorator

from deploycore.store.values import (
    DAMAGED,
    check_storable,
    check_storable_document,
    read_choice,
    read_document,
    read_flag,
    read_number,
    read_path,
    read_real,
    read_text,
    read_texts,
    read_time,
)

__all__ = [
    "BigNumber",
    "Choice",
    "Document",
    "Flag",
    "Line",
    "Number",
    "PathText",
    "Real",
    "Texts",
    "UtcDateTime",
    "Words",
]


class _Checked(TypeDecorator[Any]):
    """A type that checks its values when they are written and read."""

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Return the value for the driver.

        Raises:
            Unstorable: A database could not store it.
        """
        return check_storable(value)

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
        return read_text(value)


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
        return read_choice(value, self.words)


class Number(_Checked):
    """An integer."""

    cache_ok = True
    impl = Integer

    def read(self, value: Any) -> Any:
        """The integer, if it is one."""
        return read_number(value)


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
        return read_real(value)


class Flag(_Checked):
    """True or false."""

    cache_ok = True
    impl = Boolean

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        """Return the function that converts the driver's value. SQLite has integers for both."""

        def process(value: Any) -> Any:
            if value is None:
                return None
            return read_flag(value)

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
        return read_time(value)


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
        return read_path(value)


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
        return check_storable_document(value)

    def read(self, value: Any) -> Any:
        """The object, if it is one."""
        return read_document(value, self.values)


class Texts(_Checked):
    """A JSON list of texts."""

    cache_ok = True
    impl = JSON

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """The list, if both databases can hold all of it."""
        return check_storable_document(value)

    def read(self, value: Any) -> Any:
        """The list, if it is one."""
        return read_texts(value)
