"""Add providers, and change their settings and secrets.

A change is verified at the git host before it is stored, and stored in one step. Applications,
history and webhooks of the provider stay. Processes that have the provider open notice the change
before their next call (``provider/connection``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import SecretStr

from deploycore.configuration import discriminator_of
from deploycore.errors import ConfigurationError, DeploycoreError
from deploycore.secrets import describe_stored
from deploycore.tokens import RenewableAuth

if TYPE_CHECKING:
    from deploycore.configuration import ProviderConfig
    from deploycore.credentials.keeper import TokenSource, TokenStorage
    from deploycore.http import HttpSettings
    from deploycore.installation.installation import SecretReference
    from deploycore.installation.sign_in import ProviderSignIn
    from deploycore.provider import Provider
    from deploycore.provider.core_fields import CoreFields
    from deploycore.provider.registry import Plugin
    from deploycore.secrets import SecretBox
    from deploycore.store import ProviderRecord, Store
    from deploycore.store.token_vault import TokenVault
    from deploycore.tokens import SignIn

__all__ = ["Difference", "ProviderChange", "ProviderChanges"]


@dataclass(frozen=True)
class Difference:
    """One field that a change affects, in a form that is safe to print.

    Attributes:
        field: The name of the field.
        before: The value before the change; ``None`` if the field was not set.
        after: The value after the change; ``None`` if the field is no longer set.
    """

    field: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class ProviderChange:
    """A change that is valid but not stored yet.

    Attributes:
        record: The provider as it is stored.
        settings: All settings after the change.
        secrets: All secrets after the change, as they will be stored, or new values.
        differences: The fields that the change affects.
    """

    record: ProviderRecord
    plugin: Plugin = field(repr=False)
    config: ProviderConfig = field(repr=False)
    core: CoreFields = field(repr=False)
    settings: Mapping[str, str]
    secrets: Mapping[str, str | SecretStr] = field(repr=False)
    differences: tuple[Difference, ...]

    @property
    def has_new_secrets(self) -> bool:
        """Whether the change affects a secret."""
        return dict(self.secrets) != dict(self.record.secrets)


class ProviderChanges:
    """Plans and stores changes of providers.

    Args:
        store: The database.
        secrets: Encrypts new secrets.
        http_settings: Settings for the requests that test a change.
    """

    def __init__(
        self, store: Store, secrets: SecretBox, http_settings: HttpSettings | None
    ) -> None:
        self._store = store
        self._secrets = secrets
        self._http_settings = http_settings

    def add(
        self,
        name: str,
        kind: str,
        settings: Mapping[str, str],
        secrets: Mapping[str, SecretStr | SecretReference],
        *,
        verify: Callable[[Provider], object] | None = None,
    ) -> ProviderRecord:
        """Validate and store a new provider; see ``Installation.add_provider``."""
        from deploycore.provider.core_fields import parse_fields
        from deploycore.provider.registry import load_plugin
        from deploycore.provider.stored_credentials import flow_of
        from deploycore.store import ProviderRecord

        plugin = load_plugin(kind)
        stored: dict[str, str | SecretStr] = {
            field: given if isinstance(given, SecretStr) else self._reference(field, given)
            for field, given in secrets.items()
        }
        revealed = {field: self._revealed(field, value) for field, value in stored.items()}
        found = parse_fields(plugin.config_type, settings, revealed, name=name, kind=plugin.kind)
        expires_at = None
        # otherwise nothing can be verified before a person signs in
        if flow_of(found.config) is None:
            expires_at = self._prove(plugin, found.config, found.core, verify)
        record = ProviderRecord(
            name=name,
            kind=plugin.kind,
            settings=dict(found.settings),
            secrets=self._sealed(stored),
            created_at=datetime.now(UTC),
            expires_at=expires_at or found.core.expires_at,
        )
        self._store.add_provider(record)
        return record

    def plan(
        self,
        name: str,
        settings: Mapping[str, str | None],
        secrets: Mapping[str, SecretStr | SecretReference | None],
    ) -> ProviderChange:
        """Validate a change. Nothing is sent or stored.

        Args:
            name: The name of the provider.
            settings: New values of fields that are not secret; ``None`` removes a field.
            secrets: New values of secret fields.

        Raises:
            ConfigurationError: The provider does not exist, or a value is missing or invalid.
            PluginError: The plugin is broken.
        """
        from deploycore.provider.core_fields import core_fields, parse_fields
        from deploycore.provider.registry import load_plugin

        record = self._store.get_provider(name)
        plugin = load_plugin(record.kind)
        kept = self._kept_fields(record, plugin, settings)
        new_settings = {key: value for key, value in record.settings.items() if key in kept}
        # The proxy can be a setting or a secret. Its last form is the valid one.
        new_settings = {key: each for key, each in new_settings.items() if key not in secrets}
        new_settings |= {key: value for key, value in settings.items() if value is not None}
        for key in [key for key, value in settings.items() if value is None]:
            new_settings.pop(key, None)
        new_secrets: dict[str, str | SecretStr] = {
            key: value
            for key, value in record.secrets.items()
            if key in kept and key not in settings
        }
        for key, given in secrets.items():
            new_secrets.pop(key, None)
            if isinstance(given, SecretStr):
                new_secrets[key] = given
            elif given is not None:
                new_secrets[key] = self._reference(key, given)
        own = {field.name for field in core_fields(plugin.config_type)}
        if "expires_on" in own and secrets.keys() - own and "expires_on" not in settings:
            new_settings.pop("expires_on", None)  # the expiry belongs to the previous secret
        revealed = {key: self._revealed(key, value) for key, value in new_secrets.items()}
        found = parse_fields(
            plugin.config_type, new_settings, revealed, name=name, kind=plugin.kind
        )
        return ProviderChange(
            record,
            plugin,
            found.config,
            found.core,
            found.settings,
            new_secrets,
            _differences(record, found.settings, new_secrets),
        )

    def store(
        self,
        change: ProviderChange,
        *,
        verify: Callable[[Provider], object] | None = None,
        keep_former: timedelta | None = None,
    ) -> ProviderRecord:
        """Test a change at the git host, and store it in one transaction.

        Args:
            change: The change, from ``plan``.
            verify: Called with the changed provider. If it raises, nothing is stored.
            keep_former: How long the previous secrets may still be used (default: not at all). The
                maximum is a week.

        Raises:
            ConfigurationError: The provider was changed in the meantime, or ``keep_former`` is too
                long.
            ProviderError: The host rejected the change.
            StoreError: The change could not be stored.
        """
        from deploycore.store.times import LONGEST_KEPT

        if keep_former is not None and not timedelta(0) < keep_former <= LONGEST_KEPT:
            raise ConfigurationError(
                f"Former secrets can be kept for at most {LONGEST_KEPT.days} days, and not for no"
                " time at all.",
                hint="Give another time, such as 1h.",
            )
        expires_at = self._prove_change(change, verify)
        if expires_at is None:
            expires_at = change.core.expires_at or _known_expiry(change)
        return self._store.change_provider(
            change.record,
            settings=change.settings,
            secrets=self._sealed(change.secrets),
            keep_former=keep_former,
            expires_at=expires_at,
            forget_tokens=self._needs_new_sign_in(change),
        )

    def sign_in(self, name: str) -> ProviderSignIn:
        """Prepare the sign-in of a person, for a provider that requires it.

        Raises:
            ConfigurationError: The provider does not exist, or needs no sign-in.
            PluginError: The plugin is broken.
        """
        from deploycore.installation.sign_in import ProviderSignIn

        change = self.plan(name, {}, {})
        return ProviderSignIn(
            change.plugin,
            change.config,
            self._vault(name, change.record.generation),
            http_settings=change.core.http_settings(self._http_settings),
        )

    def needs_sign_in(self, name: str) -> bool:
        """Whether a person must sign in before the provider can be used, and has not yet.

        Raises:
            ConfigurationError: The provider does not exist, or its configuration is not valid.
        """
        from deploycore.provider.stored_credentials import flow_of

        config = self.plan(name, {}, {}).config
        auth = config.api_auth if flow_of(config) is not None else None
        return isinstance(auth, RenewableAuth) and self._vault(name).load(auth.key) is None

    def _vault(self, name: str, generation: int | None = None) -> TokenVault:
        from deploycore.store.token_vault import TokenVault

        return TokenVault(
            name, lambda: self._store.provider_tokens, self._secrets, generation=generation
        )

    def _prove_change(
        self, change: ProviderChange, verify: Callable[[Provider], object] | None
    ) -> datetime | None:
        """Verify a change; return when the credentials expire, if the host reports it.

        If a person signs in to the provider, the change is verified with the current token, and new
        secrets by renewing that token. A change of the server or client of the sign-in can only be
        verified by signing in again.
        """
        from deploycore.credentials.keeper import TokenSource
        from deploycore.provider.stored_credentials import flow_of
        from deploycore.store.token_vault import Unproved

        name, config = change.record.name, change.config
        if flow_of(config) is None:
            return self._prove(change.plugin, config, change.core, verify)
        if not self._needs_new_sign_in(change) and not self.needs_sign_in(name):
            vault: TokenStorage = self._vault(name)
            if change.has_new_secrets:
                vault = Unproved(vault)
            tokens = TokenSource(storage=vault, provider=name)
            return self._prove(change.plugin, config, change.core, verify, tokens)
        return None

    def _needs_new_sign_in(self, change: ProviderChange) -> bool:
        """Whether the tokens of the previous sign-in are not valid for the changed provider."""
        from deploycore.provider.stored_credentials import flow_of

        following = flow_of(change.config)
        try:
            former = flow_of(self.plan(change.record.name, {}, {}).config)
        except DeploycoreError:  # for example because a reference cannot be read any more
            return following is not None
        return _client_of(former) != _client_of(following)

    def _prove(
        self,
        plugin: Plugin,
        config: ProviderConfig,
        core: CoreFields,
        verify: Callable[[Provider], object] | None,
        tokens: TokenSource | None = None,
    ) -> datetime | None:
        """Call ``verify``; return when the credentials expire, if the host reports it."""
        from deploycore.provider import Provider

        told: list[datetime | None] = []
        if verify is not None:
            settings = self._http_settings
            with Provider(
                plugin,
                config,
                core=core,
                http_settings=settings,
                note_expiry=told.append,
                tokens=tokens,
            ) as provider:
                verify(provider)
        return told[-1] if told else None

    def _sealed(self, secrets: Mapping[str, str | SecretStr]) -> dict[str, str]:
        return {
            field: value if isinstance(value, str) else self._secrets.seal(value)
            for field, value in secrets.items()
        }

    def _kept_fields(
        self, record: ProviderRecord, plugin: Plugin, settings: Mapping[str, str | None]
    ) -> set[str]:
        """Return the stored fields that still apply. Another mode does not get the fields of the
        previous one."""
        from deploycore.provider.core_fields import all_fields

        stored = {*record.settings, *record.secrets}
        discriminator = discriminator_of(plugin.config_type)
        if discriminator is None or discriminator not in settings:
            return stored
        mode = settings[discriminator]
        applies = {
            each.name
            for each in all_fields(plugin.config_type)
            if not each.only_for or mode in each.only_for
        }
        return stored & applies

    def _reference(self, field: str, given: SecretReference) -> str:
        from deploycore.provider.core_fields import about_field

        with about_field(field):
            return self._secrets.keep_reference(given.text)

    def _revealed(self, field: str, value: str | SecretStr) -> SecretStr:
        from deploycore.provider.core_fields import about_field

        with about_field(field):
            return value if isinstance(value, SecretStr) else self._secrets.reveal(value)


def _client_of(sign_in: SignIn | None) -> tuple[object, ...]:
    """Return the values that a token of a sign-in depends on."""
    if sign_in is None:
        return ()
    return (type(sign_in), sign_in.server, sign_in.token_path, sign_in.client_id)


def _differences(
    record: ProviderRecord, settings: Mapping[str, str], secrets: Mapping[str, str | SecretStr]
) -> tuple[Difference, ...]:
    found = []
    for name in dict.fromkeys([*record.settings, *settings]):
        before, after = record.settings.get(name), settings.get(name)
        if before != after:
            found.append(Difference(name, before, after))
    for name in dict.fromkeys([*record.secrets, *secrets]):
        stored, new = record.secrets.get(name), secrets.get(name)
        if stored != new:
            found.append(
                Difference(
                    name,
                    None if stored is None else describe_stored(stored),
                    _described(new),
                )
            )
    return tuple(found)


def _known_expiry(change: ProviderChange) -> datetime | None:
    """Return the expiry that the host has reported before, if the change affects neither the
    credentials nor the expiry."""
    changed = {each.field for each in change.differences}
    affected = changed & {*change.record.secrets, *change.secrets, "expires_on"}
    return None if affected else change.record.expires_at


def _described(secret: str | SecretStr | None) -> str | None:
    if secret is None:
        return None
    return "a new value" if isinstance(secret, SecretStr) else describe_stored(secret)
