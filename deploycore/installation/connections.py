"""Open configured providers, and find other credentials if the host rejects the current ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from pydantic import SecretStr

from deploycore.credentials.expiry import is_same_expiry
from deploycore.errors import ConfigurationError, StoreError
from deploycore.once import made_once

if TYPE_CHECKING:
    from pathlib import Path

    from deploycore.configuration import ProviderConfig
    from deploycore.credentials.keeper import TokenMemory, TokenSource
    from deploycore.http import HttpSettings
    from deploycore.provider import Provider
    from deploycore.provider.connection import Opened
    from deploycore.provider.core_fields import CoreFields
    from deploycore.provider.registry import Plugin
    from deploycore.secrets import SecretBox
    from deploycore.store import ProviderRecord, Store

__all__ = ["Connections"]

logger = logging.getLogger(__name__)


class Connections:
    """Opens the providers of one installation.

    Args:
        store: Returns the database, which not every provider needs.
        read: Reads a provider's record in the fastest way.
        secrets: Decrypts the secrets.
        http_settings: Timeouts, retries and limits of the HTTP clients.
        home: The data directory, for the settings of observers.
    """

    def __init__(
        self,
        store: Callable[[], Store],
        read: Callable[[str], ProviderRecord],
        secrets: SecretBox,
        http_settings: HttpSettings | None,
        home: Path,
    ) -> None:
        self._store = store
        self._read = read
        self._secrets = secrets
        self._http_settings = http_settings
        self._home = home

    def open(self, name: str) -> Provider:
        """Open a provider; see ``Installation.open_provider``."""
        from deploycore.provider import Provider
        from deploycore.provider.observers import installed_observers
        from deploycore.provider.registry import load_plugin
        from deploycore.provider.stored_credentials import StoredCredentials, signs_in

        record = self._read(name)
        secrets = self._revealed(record.secrets)
        plugin = load_plugin(record.kind)
        config, core = _fields(record, plugin, secrets)
        others = _OtherCredentials(self, record, plugin, secrets)
        return Provider(
            plugin,
            config,
            core=core,
            http_settings=self._http_settings,
            observers=installed_observers(self._home),
            tokens=self._token_source(record, secrets),
            other_credentials=others,
            stored=StoredCredentials(
                name,
                bool(record.secrets),
                record.expires_at,
                is_signed_in=signs_in(config),
            ),
            note_expiry=partial(self._note_expiry, record),
        )

    def _note_expiry(self, record: ProviderRecord, expires_at: datetime | None) -> None:
        if is_same_expiry(record.expires_at, expires_at):
            return
        try:
            self._store().note_expiry(record.name, expires_at, generation=record.generation)
        except StoreError as error:
            logger.warning("when provider %s expires cannot be stored: %s", record.name, error)

    def _revealed(self, stored: Mapping[str, str]) -> dict[str, SecretStr]:
        return {field: self._secrets.reveal(each) for field, each in stored.items()}

    def _token_source(
        self, record: ProviderRecord, secrets: Mapping[str, SecretStr]
    ) -> TokenSource:
        from deploycore.credentials.keeper import TokenSource
        from deploycore.store.token_vault import TokenVault

        vault = TokenVault(record.name, lambda: self._store().provider_tokens, self._secrets)
        # Another configuration has other tokens. The secret behind a reference may change, too.
        version = hash((record.generation, *(each.get_secret_value() for each in secrets.values())))
        return TokenSource(self._token_memory, vault, record.name, version)

    @made_once
    def _token_memory(self) -> TokenMemory:
        from deploycore.credentials.keeper import TokenMemory

        return TokenMemory()


class _OtherCredentials:
    """Other credentials for an open provider: those that it has been changed to and, if the host
    rejects them, the previous ones while they are valid."""

    def __init__(
        self,
        connections: Connections,
        record: ProviderRecord,
        plugin: Plugin,
        secrets: Mapping[str, SecretStr],
    ) -> None:
        self._connections = connections
        self._name = record.name
        self._generation = record.generation
        self._plugin = plugin
        self._tried = [(dict(record.settings), dict(secrets))]

    def newer(self) -> Opened | None:
        """Return the credentials that the provider has been changed to; ``None`` if it was not
        changed, or they cannot be read."""
        connections = self._connections
        try:
            record = connections._read(self._name)
            if record.generation == self._generation or record.kind != self._plugin.kind:
                return None
            secrets = connections._revealed(record.secrets)
            config, core = _fields(record, self._plugin, secrets)
        except (ConfigurationError, StoreError):
            return None  # the open provider can continue
        self._generation = record.generation
        self._tried = [(dict(record.settings), dict(secrets))]
        return config, core, connections._token_source(record, secrets)

    def find(self) -> Opened | None:
        """Return the next credentials; ``None`` if there are no more."""
        connections = self._connections
        try:
            record = connections._store().get_provider(self._name)
            for stored in (record.secrets, record.former_secrets):
                if stored is None:
                    continue
                secrets = connections._revealed(stored)
                settings = dict(record.settings)
                if (settings, secrets) in self._tried:
                    continue
                self._tried.append((settings, secrets))
                config, core = _fields(record, self._plugin, secrets)
                return config, core, connections._token_source(record, secrets)
        except (ConfigurationError, StoreError):
            # the host's error is more helpful than the reason why there are no other credentials
            return None
        return None


def _fields(
    record: ProviderRecord, plugin: Plugin, secrets: Mapping[str, SecretStr]
) -> tuple[ProviderConfig, CoreFields]:
    from deploycore.provider.core_fields import split_fields

    values = {"name": record.name, **record.settings, **secrets}
    return split_fields(plugin.config_type, values, kind=plugin.kind)
