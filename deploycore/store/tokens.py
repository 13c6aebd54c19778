"""API tokens in the store: their names, roles and digests, but not the tokens themselves."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from sqlalchemy import delete, insert, select, update

from deploycore.configuration import NAME_PATTERN
from deploycore.errors import ConfigurationError
from deploycore.store.account_records import Role, TokenRecord
from deploycore.store.database import Database
from deploycore.store.lookup import lock_names, named_row
from deploycore.store.named import StatementsOfEngine
from deploycore.store.reading import as_record, read_records
from deploycore.store.tables import tokens

__all__ = ["Tokens"]

_TOKEN = as_record(TokenRecord, tokens)


class Tokens:
    """All API tokens, as the attribute ``tokens`` of ``Store``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, name: str, *, digest: str, role: Role, expires_at: datetime | None
    ) -> TokenRecord:
        """Store a new token.

        Args:
            digest: The token's SHA-256 in hexadecimal.

        Raises:
            ConfigurationError: The name is malformed or taken.
        """
        if not re.fullmatch(NAME_PATTERN, name):
            raise ConfigurationError(
                f"{name!r} is not a valid name for a token.",
                hint="Use letters, digits, '.', '_' and '-', at most 63.",
            )
        record = TokenRecord(name, digest, role, datetime.now(UTC), expires_at, None)
        with self._database.writing() as connection:
            lock_names(StatementsOfEngine(connection))
            taken = select(tokens.c.name).where(tokens.c.name == name)
            if connection.scalar(taken) is not None:
                raise ConfigurationError(
                    f"The token name {name!r} is already used.",
                    hint=f"Choose another name, or remove it first: deploycore token remove {name}",
                    token=name,
                )
            connection.execute(insert(tokens).values(vars(record)))
        return record

    def list(self, *, after: str = "", limit: int | None = None) -> list[TokenRecord]:
        """List tokens by name.

        Args:
            after: Start after this name.
            limit: The maximum number.
        """
        query = select(tokens).where(tokens.c.name > after).order_by(tokens.c.name).limit(limit)
        with self._database.reading() as connection:
            return list(read_records(connection, tokens, query, _TOKEN))

    def note_use(self, name: str) -> None:
        """Record that a token was used now."""
        used = update(tokens).where(tokens.c.name == name).values(used_at=datetime.now(UTC))
        with self._database.writing() as connection:
            connection.execute(used)

    def remove(self, name: str) -> None:
        """Remove a token; the server rejects it from then on.

        Raises:
            ConfigurationError: There is no token with this name.
        """
        with self._database.writing() as connection:
            named_row(connection, "token", name)
            connection.execute(delete(tokens).where(tokens.c.name == name))
