"""Convert rows to records. All other modules use this one, and each row is read separately.

For a damaged row, messages name its table, key and column, but never its content. If several rows
are read, a damaged one is logged once and left out. If only this row is read, it is an error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar, cast

from deploycore.errors import StoreError
from deploycore.store.checksums import CHECKSUMS, Checksum, checksum_of
from deploycore.store.statements import COLUMNS, KEYS
from deploycore.store.values import Damaged

if TYPE_CHECKING:
    from sqlalchemy import Connection, Select, Table

__all__ = [
    "CHECKSUMS",
    "Checksum",
    "as_record",
    "checksums",
    "damage_in",
    "first_readable",
    "read_record",
    "read_records",
    "readable_records",
]

logger = logging.getLogger(__name__)

T = TypeVar("T")
Row = Mapping[Any, Any]
Make = Callable[[Row], T]

_MOST_TOLD = 1000
_told: set[tuple[str, ...]] = set()


def checksums(table: Table | str, values: Mapping[str, Any]) -> dict[str, str]:
    """Return the checksums of values that will be written.

    Args:
        values: The values by column. They must include all columns of a checksum, or none of them.
    """
    return {
        each.column: checksum_of(*(values[name] for name in each.of))
        for each in CHECKSUMS[_name(table)]
        if each.of[0] in values
    }


def damage_in(table: Table | str, row: Row) -> StoreError | None:
    """Describe what is wrong with a row of a table; ``None`` if it can be read.

    Args:
        row: All columns of the table.
    """
    name = _name(table)
    for column in COLUMNS[name]:
        value = row[column.name]
        if isinstance(value, Damaged):
            return _damage(name, row, column.name, "holds a value that cannot be read")
        if value is None and not column.nullable:
            return _damage(name, row, column.name, "is empty, although it needs a value")
    for each in CHECKSUMS.get(name, ()):
        known = row[each.column]
        if known is not None and known != checksum_of(*(row[column] for column in each.of)):
            return _damage(name, row, each.of[0], "does not match its checksum")
    return None


def read_record(table: Table | str, row: Row, make: Make[T]) -> T:
    """Return the record of a row.

    Args:
        row: All columns of the table.
        make: Creates the record from the row, after the row was found readable.

    Raises:
        StoreError: The row is damaged, or ``make`` raised it.
    """
    damage = damage_in(table, row)
    if damage is not None:
        raise damage
    return make(row)


def read_records(
    connection: Connection,
    table: Table | str,
    query: Select[Any],
    make: Make[T],
    *,
    damaged: list[Row] | None = None,
    errors: list[StoreError] | None = None,
) -> Iterator[T]:
    """Return the records of a query, without damaged ones.

    Args:
        query: Selects all columns of the table.
        damaged, errors: As for ``readable_records``.
    """
    rows = connection.execute(query).mappings()
    yield from readable_records(table, rows, make, damaged=damaged, errors=errors)


def readable_records(
    table: Table | str,
    rows: Iterable[Row],
    make: Make[T],
    *,
    damaged: list[Row] | None = None,
    errors: list[StoreError] | None = None,
) -> Iterator[T]:
    """Return the records of rows, without damaged ones.

    Args:
        rows: They have all columns of the table.
        damaged: A list to which each damaged row is added.
        errors: A list to which each error is added. Without it, errors are logged, once in a
            process.
    """
    for row in rows:
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


def as_record(record: type[T], table: Table | str) -> Make[T]:
    """Return a function that creates a record from a row. The record's fields are columns of the
    table, or have defaults."""
    columns = {each.name for each in COLUMNS[_name(table)]}
    names = [each.name for each in fields(cast(Any, record)) if each.name in columns]
    return lambda row: record(**{name: row[name] for name in names})


def first_readable(connection: Connection, query: Select[Any]) -> Any:
    """Return the first readable value of a query for one column; ``None`` if there is none."""
    for value in connection.scalars(query):
        if value is not None and not isinstance(value, Damaged):
            return value
    return None


def _name(table: Table | str) -> str:
    return table if isinstance(table, str) else table.name


def _damage(table: str, row: Row, column: str, what: str) -> StoreError:
    key = _key(table, row)
    return StoreError(
        f"The record {key} of the table {table!r} is damaged: its column {column!r} {what}.",
        hint=_HINTS.get(table, "Restore a backup of the database."),
        table=table,
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


def _key(table: str, row: Row) -> str:
    parts = [row[column] for column in KEYS[table]]
    shown = ["(unreadable)" if isinstance(part, Damaged) else repr(part) for part in parts]
    return "/".join(shown)


def _log_once(error: StoreError) -> None:
    told = tuple(str(error.details.get(name)) for name in ("table", "key", "column"))
    if told not in _told and len(_told) < _MOST_TOLD:
        _told.add(told)
        logger.warning("%s", error)
