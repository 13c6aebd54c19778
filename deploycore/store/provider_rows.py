"""Providers in the store: added, changed, watched and removed, each in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from deploycore.secrets import is_sealed
from deploycore.store.database import Database
from deploycore.store.listed_records import ProviderRecord
from deploycore.store.lookup import find_row
from deploycore.store.named import Statements, StatementsOfEngine
from deploycore.store.provider_records import provider_of, without_expired
from deploycore.store.reading import read_record, readable_records

__all__ = ["ProviderRows"]


class ProviderRows:
    """A part of ``Store``, which completes it."""

    _database: Database

    def add_provider(self, record: ProviderRecord) -> None:
        """Store a new provider. It replaces a provider of this name whose record is damaged.

        Raises:
            ConfigurationError: The name is invalid or already used.
            StoreError: Stored secrets were encrypted with another key.
        """
        from deploycore.store import new_providers

        new_providers.refuse_malformed(record.name)
        with self._database.writing_by_name() as statements:
            new_providers.add(statements, record, self._refuse_second_key)

    def refuse_taken_provider(self, name: str) -> None:
        """Check whether a provider of this name could be added.

        Raises:
            ConfigurationError: The name is invalid or already used.
        """
        from deploycore.store import new_providers

        new_providers.refuse_malformed(name)
        with self._database.reading_by_name() as statements:
            new_providers.refuse_name(statements, name)

    def get_provider(self, name: str) -> ProviderRecord:
        """Get the provider of a name, with its former secrets only while they may be used.

        Raises:
            ConfigurationError: The provider does not exist; the hint names a similar one.
        """
        with self._database.reading_by_name() as statements:
            row = find_row(statements, "provider", name)
            record = read_record("providers", row, provider_of)
            if record.former_until is None:
                return record
            return without_expired(record, statements.present())

    def list_providers(self) -> list[ProviderRecord]:
        """Return all providers, by name."""
        with self._database.reading_by_name() as statements:
            rows = statements.run("providers").rows
            return list(readable_records("providers", rows, provider_of))

    def page_of_providers(self, *, after: str = "", limit: int) -> list[ProviderRecord]:
        """Return some providers, by name.

        Args:
            after: Only those whose names come after this one.
            limit: The maximum number.
        """
        from deploycore.store import providers

        with self._database.reading() as connection:
            return providers.page(connection, after, limit)

    def applications_of_providers(
        self, names: Sequence[str], *, most: int
    ) -> Mapping[str, tuple[int, Sequence[str]]]:
        """Return the number of applications of each provider, and the first of these by name.

        Args:
            names: The names of the providers. Those without applications are left out.
            most: The maximum number of names of applications of each.
        """
        from deploycore.store import providers

        with self._database.reading() as connection:
            return providers.applications_of(connection, names, most)

    def change_provider(
        self,
        record: ProviderRecord,
        *,
        settings: Mapping[str, str],
        secrets: Mapping[str, str],
        keep_former: timedelta | None = None,
        expires_at: datetime | None = None,
        forget_tokens: bool = False,
    ) -> ProviderRecord:
        """Replace a provider's settings and secrets in one step. Its applications, their history
        and webhooks stay.

        Args:
            record: The provider as it was read.
            secrets: The secrets, as ``SecretBox`` returns them.
            keep_former: How long the current secrets may still be used (default: not at all), by
                the database's clock. If the secrets do not change, this has no effect, and earlier
                secrets that are still valid stay valid.
            expires_at: When the new credentials expire, if that is known.
            forget_tokens: Whether to delete the stored tokens, because they belong to the previous
                settings.

        Raises:
            ConfigurationError: The provider does not exist, or was changed since it was read.
            StoreError: Stored secrets were encrypted with another key.
        """
        from deploycore.store import provider_tokens, providers

        with self._database.writing() as connection:
            if any(map(is_sealed, secrets.values())):
                self._refuse_second_key(StatementsOfEngine(connection))
            changed = providers.change(
                connection, record, settings, secrets, keep_former, expires_at
            )
            if forget_tokens:
                provider_tokens.forget_all(connection, record.name)
            return changed

    def forget_former_secrets(self) -> None:
        """Delete the previous secrets of all providers that may no longer be used."""
        from deploycore.store import providers

        with self._database.writing() as connection:
            providers.forget_former_secrets(connection)

    def note_expiry(
        self, name: str, expires_at: datetime | None, *, generation: int | None = None
    ) -> None:
        """Record when a provider's credentials expire, as the host or the user says.

        Args:
            generation: The provider's generation when it was read. Nothing is recorded if it has
                changed since (default: any generation).
        """
        from deploycore.store import providers

        with self._database.writing() as connection:
            providers.note_expiry(connection, name, expires_at, generation)

    def take_expiry_warning(self, name: str, expires_at: datetime, days: int) -> bool:
        """Record that a warning is given before credentials expire.

        Args:
            expires_at: When they expire, as was read.
            days: How many days before that the warning is due.

        Returns:
            Whether the caller must give the warning, because it was not given yet.
        """
        from deploycore.store import providers

        with self._database.writing() as connection:
            return providers.take_expiry_warning(connection, name, expires_at, days)

    def remove_provider(self, name: str) -> None:
        """Delete a provider and its secrets.

        Raises:
            ConfigurationError: The provider does not exist, or applications use it.
        """
        from deploycore.store import providers

        with self._database.writing() as connection:
            providers.remove(connection, name)

    def refuse_provider_removal(self, name: str) -> None:
        """Check whether a provider could be removed.

        Raises:
            ConfigurationError: The provider does not exist, or applications use it.
        """
        from deploycore.store import providers

        with self._database.reading() as connection:
            providers.refuse_used(connection, name)

    def _refuse_second_key(self, statements: Statements) -> None:
        raise NotImplementedError  # pragma: no cover
