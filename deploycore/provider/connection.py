"""A plugin's instance and its HTTP client, which are replaced when the credentials are.

A process may have a provider open for a long time. Before a call, and at most once a second, it
checks whether the provider has changed. If the host rejects its credentials, there may be others:
credentials that a person has stored within that second, or the previous ones while they are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import Any, Protocol, TypeVar

from deploycore.configuration import ProviderConfig
from deploycore.credentials.keeper import TokenSource
from deploycore.errors import AuthenticationFailed
from deploycore.git_reader import GitReader
from deploycore.http import HttpClient, HttpSettings
from deploycore.provider.arguments import private_manager
from deploycore.provider.core_fields import CoreFields
from deploycore.provider.registry import Plugin
from deploycore.redaction import Redactor, secrets_in

__all__ = ["Connection", "OtherCredentials"]

T = TypeVar("T")

_FRESH_SECONDS = 1.0

Opened = tuple[ProviderConfig, CoreFields, TokenSource]
"""A configuration, the core's fields of the provider, and the place of its tokens."""


class OtherCredentials(Protocol):
    """Finds other credentials for a connection."""

    def find(self) -> Opened | None:
        """Return the next credentials to try after the host has rejected the current ones; ``None``
        if there are no more."""

    def newer(self) -> Opened | None:
        """Return the credentials that the provider has been changed to; ``None`` if it was not
        changed."""


class Connection:
    """The current instance of a plugin. It is safe to use from several threads.

    Args:
        core: The core's fields, with the network settings of the provider.
        redactor: Learns the secrets of each configuration.
        settings: Settings of the HTTP clients.
        others: Returns other credentials when the host has rejected the current ones (default:
            there are none).
    """

    def __init__(
        self,
        plugin: Plugin,
        config: ProviderConfig,
        core: CoreFields,
        tokens: TokenSource,
        *,
        redactor: Redactor,
        settings: HttpSettings | None,
        others: OtherCredentials | None,
    ) -> None:
        self._plugin = plugin
        self._redactor = redactor
        self._settings = settings
        self._others = others
        self._lock = Lock()
        self._former: list[HttpClient] = []
        self._replaced = 0
        self._fresh_until = monotonic() + _FRESH_SECONDS
        self._open(config, core, tokens)

    def _open(self, config: ProviderConfig, core: CoreFields, tokens: TokenSource) -> None:
        for secret in (*secrets_in(config), *core.secrets):
            self._redactor.learn(secret)
        http = HttpClient(
            config.api_base_url,
            auth=config.api_auth,
            redactor=self._redactor,
            settings=core.http_settings(self._settings),
            subject=f"provider {config.name}",
            tokens=tokens,
        )
        plugin = self._plugin.for_config(config)
        instance = plugin.provider_class(config, http, *self._git_reader(plugin, core))
        self.http, self.tokens, self.core = http, tokens, core
        self.hooks: Any = private_manager(instance, plugin).hook

    def _git_reader(self, plugin: Plugin, core: CoreFields) -> tuple[GitReader, ...]:
        """The third argument of a class that takes one."""
        if not plugin.takes_git:
            return ()
        from deploycore.provider.git_reader import ProviderGitReader  # few plugins need it

        return (ProviderGitReader(core, self._settings, self._redactor),)

    def authorised(self, attempt: Callable[[], T]) -> T:
        """Run an attempt. If the host rejects the credentials, run it once with each other
        credential.

        Raises:
            AuthenticationFailed: The host rejected all of them.
        """
        self._take_over_changes()
        while True:
            replaced = self._replaced
            try:
                return attempt()
            except AuthenticationFailed:
                if not self.use_others(replaced):
                    raise

    @property
    def replaced(self) -> int:
        """The number of times that the credentials were replaced."""
        return self._replaced

    def use_others(self, replaced: int) -> bool:
        """Replace credentials that the host has rejected.

        Args:
            replaced: The value of ``replaced`` before the request.

        Returns:
            Whether there are other credentials, which are used from now on.
        """
        with self._lock:
            if self._replaced != replaced:
                return True
            found = self._others.find() if self._others is not None else None
            if found is None:
                return False
            self._replace(found)
            return True

    def _take_over_changes(self) -> None:
        """Use the credentials that the provider has been changed to. This is checked at most once a
        second."""
        if self._others is None or monotonic() < self._fresh_until:
            return
        with self._lock:
            if monotonic() < self._fresh_until:
                return
            found = self._others.newer()
            if found is not None:
                self._replace(found)
            self._fresh_until = monotonic() + _FRESH_SECONDS

    def _replace(self, opened: Opened) -> None:
        self._former.append(self.http)
        self._open(*opened)
        self._replaced += 1

    def close(self) -> None:
        """Close the connections of all credentials."""
        with self._lock:
            for each in (*self._former, self.http):
                each.close()
