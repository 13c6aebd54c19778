"""Find secrets that are stored encrypted, wherever they are."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from deploycore.secrets import is_sealed
from deploycore.store.named import Row, Statements
from deploycore.store.reading import readable_records

__all__ = ["ROWS_AT_ONCE", "sealed_secrets"]

ROWS_AT_ONCE = 50
"""Rows that one statement reads, because usually the first secret is enough."""


def sealed_secrets(statements: Statements) -> Iterator[str]:
    """Yield the encrypted secrets of providers, webhooks, deploy keys and applications, except
    those of damaged records."""
    for provider in _readable(statements, "providers"):
        yield from filter(is_sealed, provider["secrets"].values())
        yield from filter(is_sealed, (provider["former_secrets"] or {}).values())
    for row in _rows(statements, "provider_tokens"):
        if isinstance(row["token"], str):
            yield row["token"]
    for webhook in _readable(statements, "webhooks"):
        yield from filter(is_sealed, [webhook["secret"]])
    for key in _readable(statements, "deploy_keys"):
        yield from filter(is_sealed, [key["secret"]])
    for application in _readable(statements, "applications"):
        yield from filter(is_sealed, application["secrets"].values())


def _readable(statements: Statements, table: str) -> Iterator[Row]:
    return readable_records(table, _rows(statements, table), lambda row: row)


def _rows(statements: Statements, table: str) -> Iterator[Row]:
    for start in count(0, ROWS_AT_ONCE):
        found = statements.run(f"secrets of {table}", start=start, limit=ROWS_AT_ONCE).rows
        yield from found
        if len(found) < ROWS_AT_ONCE:
            break
