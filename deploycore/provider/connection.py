"""A plugin's instance and its HTTP client, which are replaced when the credentials are.

A process may have a provider open for a long time. If the host rejects its credentials, there may
be others: credentials that a person has stored since, or the previous ones while they are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

from deploycore.configuration import ProviderConfig
from deploycore.credentials.keeper import TokenSource
from deploycore.errors import AuthenticationFailed
from deploycore.http import HttpClient, HttpSettings
from deploycore.provider.arguments import private_manager
from deploycore.provider.core_fields import CoreFields
from deploycore.provider.registry import Plugin
from deploycore.redaction import Redactor, secrets_in

__all__ = ["Connection", "OtherCredentials"]

T = TypeVar("T")

OtherCredentials = Callable[[], "tuple[ProviderConfig, CoreFields, TokenSource] | None"]
"""Gives the next credentials to try, the core's fields with them, and where their tokens are held;
``None`` if there are no more."""


class Connection:
    """The current instance of a plugin. It is safe to use from several threads.

    Args:
        core: The core's fields, with the network settings of the provider.
        redactor: Learns the secrets of each configuration.
        settings: Settings of the HTTP clients.
        others: Returns other credentials when the host has rejected the current ones.
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
        instance = self._plugin.provider_class(config, http)
        self.http, self.tokens, self.core = http, tokens, core
        self.hooks: Any = private_manager(instance, self._plugin).hook

    def authorised(self, attempt: Callable[[], T]) -> T:
        """Run an attempt. If the host rejects the credentials, run it once with each other
        credential.

        Raises:
            AuthenticationFailed: The host rejected all of them.
        """
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
            found = self._others() if self._others is not None else None
            if found is None:
                return False
            self._former.append(self.http)
            self._open(*found)
            self._replaced += 1
            return True

    def close(self) -> None:
        """Close the connections of all credentials."""
        with self._lock:
            for each in (*self._former, self.http):
                each.close()
