"""The tokens of providers that deploycore renews: the current token, and which process renews it.

One row is one token. A process that renews a token takes a lease first, so that no other process
uses the same refresh token meanwhile. All times are those of the database, because the clocks of
machines differ. A lease that comes from a clock that was ahead is void (``times``).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, RowMapping, Update, delete, insert, select, update

from deploycore.store.database import Database
from deploycore.store.engine import present
from deploycore.store.lookup import named_row
from deploycore.store.providers import count_change
from deploycore.store.reading import checksums, damage_in
from deploycore.store.tables import provider_tokens
from deploycore.store.times import LONGEST_LEASE, TOLERANCE, at_most

__all__ = ["ProviderTokens", "SealedToken", "forget_all"]

_FORMER_FOR = timedelta(minutes=10)
"""How long the refresh token of a replaced token may be used. Later, hosts reject it, or treat it
as stolen and revoke the current token too (RFC 9700, 4.14.2)."""


@dataclass(frozen=True)
class SealedToken:
    """A token as it is stored.

    Attributes:
        token: The token, encrypted.
        generation: How often it was replaced.
        lifetime: Seconds for which it was valid at first; ``None`` if it does not expire.
        seconds_left: Seconds for which it is still valid; ``None`` if it does not expire.
        former: The previous token, encrypted; ``None`` for the first token, after a sign-in, and if
            the previous token was replaced too long ago.
    """

    token: str
    generation: int
    lifetime: float | None
    seconds_left: float | None
    former: str | None


class ProviderTokens:
    """The tokens of all providers. ``Store`` has an instance."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self, provider: str, key: str) -> SealedToken | None:
        """Return a token of a provider; ``None`` if there is none.

        Raises:
            StoreError: It is damaged.
        """
        with self._database.reading() as connection:
            row = _row(connection, provider, key)
            if row is None or row["token"] is None:
                return None
            damage = damage_in(provider_tokens, row)
            if damage is not None:
                raise damage
            left, former, renewed_at = row["lifetime"], row["former"], row["renewed_at"]
            if renewed_at is not None:
                age = present(connection) - renewed_at
                if left is not None:  # a token with a time from a clock that was ahead is renewed
                    left = 0.0 if age < -TOLERANCE else left - max(0.0, age.total_seconds())
                former = former if abs(age) <= _FORMER_FOR else None
            return SealedToken(row["token"], row["generation"], row["lifetime"], left, former)

    def holders(self, providers: Collection[str]) -> set[str]:
        """Return those of some providers that have a token."""
        c = provider_tokens.c
        query = select(c.provider).where(c.provider.in_(providers), c.token.is_not(None))
        with self._database.reading() as connection:
            return {each for each in connection.scalars(query) if isinstance(each, str)}

    def begin_renewal(self, provider: str, key: str, generation: int, seconds: float) -> bool:
        """Take the lease on a token, unless another process has it or has renewed the token.

        Args:
            generation: The generation to replace; 0 if there is no token.
            seconds: How long the lease is valid, an hour at most.

        Raises:
            ConfigurationError: The provider does not exist.
        """
        with self._database.writing() as connection:
            named_row(connection, "provider", provider, locked=True)
            now = present(connection)
            row = _row(connection, provider, key)
            lease = {"leased_until": now + at_most(seconds, LONGEST_LEASE), "leased_at": now}
            if row is None:
                if generation:
                    return False
                values = {"provider": provider, "key": key, "generation": 0, **lease}
                connection.execute(insert(provider_tokens).values(values))
                return True
            until, since = row["leased_until"], row["leased_at"]
            is_leased = until is not None and now < until <= now + LONGEST_LEASE + TOLERANCE
            if since is not None and since > now + TOLERANCE:
                is_leased = False
            if is_leased or row["generation"] != generation:
                return False
            connection.execute(_of(provider, key).values(lease))
            return True

    def finish_renewal(
        self, provider: str, key: str, generation: int, token: str, lifetime: float | None
    ) -> bool:
        """Store a token; the current one becomes the previous one. The lease ends.

        Args:
            generation: The generation of the new token.
            token: The token, encrypted.
            lifetime: Seconds for which it is valid from now on; ``None`` if it does not expire.

        Returns:
            Whether it is stored; ``False`` if this generation is already stored, or the current
            token was deleted.
        """
        with self._database.writing() as connection:
            named_row(connection, "provider", provider, locked=True)
            row = _row(connection, provider, key)
            if row is not None and row["generation"] >= generation:
                return False
            if row is None and generation > 1:  # the token that was renewed was deleted meanwhile
                return False
            former = row["token"] if row is not None else None
            values = {"token": token, "former": former, "lifetime": lifetime}
            _write(connection, provider, key, {"generation": generation, **values}, row)
            return True

    def put(
        self,
        provider: str,
        key: str,
        token: str,
        lifetime: float | None,
        *,
        provider_generation: int | None = None,
    ) -> None:
        """Store a token that a person has just obtained, for example by signing in. Earlier tokens
        are deleted, because they may belong to another account. This counts as a change of the
        provider.

        Args:
            provider_generation: The provider's generation when it was read for the sign-in
                (default: any generation).

        Raises:
            ConfigurationError: The provider does not exist, or was changed since it was read.
        """
        with self._database.writing() as connection:
            count_change(connection, provider, provider_generation)
            row = _row(connection, provider, key)
            generation = 1 if row is None else row["generation"] + 1
            values = {"token": token, "former": None, "lifetime": lifetime}
            _write(connection, provider, key, {"generation": generation, **values}, row)

    def providers_with_one(self) -> frozenset[str]:
        """Return the names of the providers that have a token."""
        columns = provider_tokens.c
        query = select(columns.provider).where(columns.token.is_not(None)).distinct()
        with self._database.reading() as connection:
            return frozenset(connection.scalars(query))

    def give_up_renewal(self, provider: str, key: str) -> None:
        """End the lease without a new token."""
        with self._database.writing() as connection:
            connection.execute(_of(provider, key).values({"leased_until": None, "leased_at": None}))


def forget_all(connection: Connection, provider: str) -> None:
    """Delete a provider's tokens. A token that is being renewed now will not be stored any more."""
    connection.execute(delete(provider_tokens).where(provider_tokens.c.provider == provider))


def _write(
    connection: Connection,
    provider: str,
    key: str,
    values: dict[str, object],
    row: RowMapping | None,
) -> None:
    """Write a token. This ends the lease.

    Args:
        row: The current row.
    """
    values |= {"renewed_at": present(connection), "leased_until": None, "leased_at": None}
    values |= checksums(provider_tokens, values)
    if row is None:
        values |= {"provider": provider, "key": key}
        connection.execute(insert(provider_tokens).values(values))
    else:
        connection.execute(_of(provider, key).values(values))


def _of(provider: str, key: str) -> Update:
    columns = provider_tokens.c
    return update(provider_tokens).where(columns.provider == provider, columns.key == key)


def _row(connection: Connection, provider: str, key: str) -> RowMapping | None:
    columns = provider_tokens.c
    query = select(provider_tokens).where(columns.provider == provider, columns.key == key)
    return connection.execute(query).mappings().one_or_none()
