"""Opens the provider of an application with the SSH key that was made for the application."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from deploycore.applications.application import Application
from deploycore.secrets import SecretBox
from deploycore.store import Store

if TYPE_CHECKING:
    from deploycore.provider import Provider

__all__ = ["open_with_own_key", "opener_with_own_key"]


def open_with_own_key(
    definition: Application,
    open_provider: Callable[[str], Provider],
    store: Store,
    secrets: SecretBox,
) -> Provider:
    """Open an application's provider. Git then uses the application's own key, if it has one for
    its repository, in place of the provider's credentials.

    Raises:
        ConfigurationError, PluginError, StoreError: As for ``Installation.open_provider``.
    """
    key = store.find_deploy_key(definition)
    provider = open_provider(definition.provider)
    try:
        if key is not None and key.secret is not None:
            command = f"deploycore key rotate {key.owner}"
            provider.use_ssh_key(secrets.reveal(key.secret), replace_with=command)
    except BaseException:
        provider.close()
        raise
    return provider


def opener_with_own_key(
    definition: Application,
    open_provider: Callable[[str], Provider],
    store: Store,
    secrets: SecretBox,
) -> Callable[[str], Provider]:
    """Return a function that opens a provider by its name.

    The application's own provider is opened as ``open_with_own_key`` does. The providers that the
    application names in ``credentials`` never get its key.
    """

    def opened(name: str) -> Provider:
        if name == definition.provider:
            return open_with_own_key(definition, open_provider, store, secrets)
        return open_provider(name)

    return opened
