"""Open a provider from given fields, without an installation that stores them."""

from __future__ import annotations

from collections.abc import Mapping

from deploycore.http import HttpSettings
from deploycore.provider.core_fields import split_fields
from deploycore.provider.handle import Provider
from deploycore.provider.registry import load_plugin

__all__ = ["open_provider"]


def open_provider(
    kind: str, values: Mapping[str, object], *, http_settings: HttpSettings | None = None
) -> Provider:
    """Load the plugin of a kind, and create a provider for one configuration.

    Args:
        kind: The kind of the provider, such as ``bitbucket``.
        values: The fields of the plugin's ``Config``, including ``name``, and of the core. Secrets
            are ``SecretStr``.
        http_settings: Timeouts, retries and limits of its HTTP client.

    Returns:
        A provider to use as a context manager, or to ``close``.

    Raises:
        ConfigurationError: The plugin is not installed, or a value is invalid.
        PluginError: The plugin is broken.
    """
    plugin = load_plugin(kind)
    config, core = split_fields(plugin.config_type, values, kind=plugin.kind)
    return Provider(plugin, config, core=core, http_settings=http_settings)
