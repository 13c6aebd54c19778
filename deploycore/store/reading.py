"""The one place where rows become records, each apart.

A row that is damaged is named by its table, key and column, never by what it holds. Where many are
read, it is logged once and left out; where it alone is asked for, that is an error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Select, Table

from deploycore.errors import StoreError
from deploycore.store.checksums import CHECKSUMS, Checksum, checksum_of
from deploycore.store.columns import Damaged

__all__ = [
    "CHECKSUMS",
    "Checksum",
    "as_record",
    "checksums",
    "damage_in",
    "first_readable",
    "read_record",
    "read_records",
]

logger = logging.getLogger(__name__)

T = TypeVar("T")
Make = Callable[[Mapping[Any, Any]], T]

_MOST_TOLD = 1000
_told: set[tuple[str, ...]] = set()


def checksums(table: Table, values: Mapping[str, Any]) -> dict[str, str]:
    """The checksums of values that are about to be written.

    Args:
        values: By column. Those that a checksum is over must be there all, or none of them.
    """
    return {
        each.column: checksum_of(*(values[name] for name in each.of))
        for each in CHECKSUMS[table.name]
        if each.of[0] in values
    }


def damage_in(table: Table, row: Mapping[Any, Any]) -> StoreError | None:
    """What is wrong with a row of a table; ``None`` where it can be read.

    Args:
        row: All columns of the table.
    """
    for column in table.columns:
        value = row[column.name]
        if isinstance(value, Damaged):
            return _damage(table, row, column.name, "holds a value that cannot be read")
        if value is None and not column.nullable:
            return _damage(table, row, column.name, "is empty, although it needs a value")
    for each in CHECKSUMS.get(table.name, ()):
        known = row[each.column]
        if known is not None and known != checksum_of(*(row[name] for name in each.of)):
            return _damage(table, row, each.of[0], "does not match its checksum")
    return None


def read_record(table: Table, row: Mapping[Any, Any], make: Make[T]) -> T:
    """The record of a row.

    Args:
        row: All columns of the table.
        make: Makes it of the row, which was found to be readable.

    Raises:
        StoreError: The row is damaged, or ``make`` raised it.
    """
    damage = damage_in(table, row)
    if damage is not None:
        raise damage
    return make(row)


def read_records(
    connection: Connection,
    table: Table,
    query: Select[Any],
    make: Make[T],
    *,
    damaged: list[Mapping[Any, Any]] | None = None,
    errors: list[StoreError] | None = None,
) -> Iterator[T]:
    """The records of a query, without those that are damaged.

    Args:
        query: Selects all columns of the table.
        damaged: Gets each row that is damaged.
        errors: Gets what is wrong with it, which is logged otherwise, once a process.
    """
    for row in connection.execute(query).mappings():
        try:
            record = read_record(table, row, make)
        except StoreError as error:
            if damaged is not None:
                damaged.append(row)
            if errors is None:
                _log_once(error)
            else:
                errors.append(error)
        else:
            yield record


def as_record(record: type[T], table: Table) -> Make[T]:
    """What makes a record of a row: its fields are columns of the table, or have defaults."""
    names = [each.name for each in fields(cast(Any, record)) if each.name in table.c]
    return lambda row: record(**{name: row[name] for name in names})


def first_readable(connection: Connection, query: Select[Any]) -> Any:
    """The first value of a query for one column that can be read; ``None`` where there is none."""
    for value in connection.scalars(query):
        if value is not None and not isinstance(value, Damaged):
            return value
    return None


def _damage(table: Table, row: Mapping[Any, Any], column: str, what: str) -> StoreError:
    key = _key(table, row)
    return StoreError(
        f"The record {key} of the table {table.name!r} is damaged: its column {column!r} {what}.",
        hint=_HINTS.get(table.name, "Restore a backup of the database."),
        table=table.name,
        key=key,
        column=column,
    )


_HINTS = {
    "applications": "Apply the application's file again, or remove the application and create it"
    " again, or restore a backup of the database.",
    "providers": "Add the provider again under the same name, which replaces the record, or restore"
    " a backup of the database.",
    "tokens": "Remove the token and add it again: deploycore token remove NAME",
    "audit": "The audit log leaves out this entry. To read it, restore a backup of the database.",
    "sessions": "Sign out everywhere on the page of your account, and sign in again.",
    "sign_in_links": "Create a new link: deploycore user link NAME",
    "users": "Remove the user and add it again: deploycore user remove NAME",
    "webhooks": "Remove the webhook and register it again: deploycore webhook remove APPLICATION",
}


def _key(table: Table, row: Mapping[Any, Any]) -> str:
    parts = [row[column.name] for column in table.primary_key]
    shown = ["(unreadable)" if isinstance(part, Damaged) else repr(part) for part in parts]
    return "/".join(shown)


def _log_once(error: StoreError) -> None:
    told = tuple(str(error.details.get(name)) for name in ("table", "key", "column"))
    if told not in _told and len(_told) < _MOST_TOLD:
        _told.add(told)
        logger.warning("%s", error)
