"""Add a provider; see ``Store.add_provider``."""

from __future__ import annotations

import re
from collections.abc import Callable

from deploycore.configuration import NAME_PATTERN
from deploycore.errors import ConfigurationError
from deploycore.secrets import is_sealed
from deploycore.store.listed_records import ProviderRecord
from deploycore.store.lookup import refuse_taken
from deploycore.store.named import Statements
from deploycore.store.reading import checksums, damage_in

__all__ = ["add", "refuse_malformed", "refuse_name"]


def refuse_malformed(name: str) -> None:
    """Refuse a text that cannot be the name of a provider."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise ConfigurationError(
            f"{name!r} is not a valid name for a provider.",
            hint="Use letters, digits, '.', '_' and '-', at most 63, the first a letter or digit.",
        )


def add(
    statements: Statements,
    record: ProviderRecord,
    refuse_second_key: Callable[[Statements], None],
) -> None:
    """Store a new provider; see ``Store.add_provider``.

    Args:
        refuse_second_key: Refuses to encrypt secrets with another key than before.
    """
    values = vars(record) | {"settings": dict(record.settings), "secrets": dict(record.secrets)}
    values |= checksums("providers", values)
    damaged = _is_damaged(statements, record.name)
    if not damaged:
        refuse_taken(statements, "provider", record.name)
    if any(map(is_sealed, record.secrets.values())):
        refuse_second_key(statements)
    if damaged:
        statements.run("replace provider", of=record.name, **values)
        # These tokens belong to an earlier provider of this name, perhaps of another host.
        statements.run("remove tokens of provider", of=record.name)
    else:
        statements.run("add provider", **values)


def refuse_name(statements: Statements, name: str) -> None:
    """Refuse the name of a provider that exists, and is not damaged."""
    if not _is_damaged(statements, name):
        refuse_taken(statements, "provider", name)


def _is_damaged(statements: Statements, name: str) -> bool:
    """Whether a provider of this name exists and its record is damaged."""
    row = statements.run("provider", name=name).row
    return row is not None and damage_in("providers", row) is not None
