"""Sign a person in to a provider: obtain a token, test it, then store it.

The caller shows the address and code to the person, such as ``deploycore provider authorize``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from pydantic import SecretStr

from deploycore.credentials.authorize import AuthorizationRequest
from deploycore.credentials.keeper import StoredToken, TokenSource
from deploycore.errors import ConfigurationError, PluginError
from deploycore.http import HttpClient
from deploycore.http.device import (
    DeviceCode,
    DevicePolling,
    request_device_code,
    wait_for_device,
)
from deploycore.http.grants import exchange_code
from deploycore.provider import Provider
from deploycore.provider.stored_credentials import flow_of
from deploycore.redaction import Redactor, secrets_in
from deploycore.tokens import DeviceFlow, RenewableAuth, SignIn, Token

if TYPE_CHECKING:
    from deploycore.configuration import ProviderConfig
    from deploycore.http import HttpSettings
    from deploycore.provider.registry import Plugin
    from deploycore.store.token_vault import TokenVault

__all__ = ["ProviderSignIn"]


class ProviderSignIn:
    """One sign-in to one provider. Use it as a context manager, or call ``close``.

    Args:
        vault: Stores the token.

    Attributes:
        flow: How the person signs in.

    Raises:
        ConfigurationError: The provider needs no sign-in.
        PluginError: The configuration has a sign-in, but its token is not stored.
    """

    def __init__(
        self,
        plugin: Plugin,
        config: ProviderConfig,
        vault: TokenVault,
        *,
        http_settings: HttpSettings | None = None,
    ) -> None:
        flow, auth = flow_of(config), config.api_auth
        if flow is None:
            raise ConfigurationError(
                f"Provider {config.name} does not need to be authorized: its configuration has all"
                " that it needs.",
                hint=f"To replace its secret, run: deploycore provider rotate {config.name}",
                provider=config.name,
            )
        if not isinstance(auth, RenewableAuth) or not auth.is_stored:
            raise PluginError(
                "Config.sign_in needs an api_auth that is a RenewableAuth with is_stored.",
                hint="Tell the author of the plugin.",
                plugin=plugin.label,
                provider=config.name,
            )
        self.flow: SignIn = flow
        self._plugin = plugin
        self._config = config
        self._key = auth.key
        self._vault = vault
        self._http_settings = http_settings
        self._http = HttpClient(
            flow.server or config.api_base_url,
            redactor=Redactor(secrets_in(config)),
            settings=http_settings,
            subject=f"provider {config.name}",
        )

    def exchange(self, request: AuthorizationRequest, code: SecretStr) -> Token:
        """Exchange the code from a redirect for a token.

        Raises:
            AuthenticationFailed: The host rejects the code or the client.
            ProviderError: The request failed.
        """
        return exchange_code(
            self._http,
            request.flow,
            code,
            redirect_uri=request.redirect_uri,
            verifier=request.verifier,
        )

    def begin_device(self, flow: DeviceFlow) -> DeviceCode:
        """Request a code that the person enters at the host.

        Raises:
            AuthenticationFailed: The host does not know the client, or does not allow it this flow.
            ProviderError: The request failed.
        """
        return request_device_code(self._http, flow)

    def wait_for_device(
        self,
        flow: DeviceFlow,
        code: DeviceCode,
        *,
        seconds: float,
        sleep: Callable[[float], object] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> Token:
        """Wait until the person has entered the code.

        Raises:
            AuthenticationFailed: The person denied the request, or the time is over.
            ProviderError: The request failed.
        """
        return wait_for_device(self._http, flow, code, seconds=seconds, sleep=sleep, now=now)

    def poll_device(self, polling: DevicePolling) -> Token | None:
        """Return the token if the person has entered the code; ``None`` if not yet.

        Raises:
            AuthenticationFailed: The person denied the request, or the time is over.
            ProviderError: The request failed.
        """
        return polling.poll(self._http)

    def store(self, token: Token, *, verify: Callable[[Provider], object] | None = None) -> None:
        """Test a token, and store it in place of the previous one.

        Args:
            verify: Called with a provider that uses the token. If it raises, the previous token
                stays.

        Raises:
            ProviderError: The host rejected the token.
            StoreError: The token could not be stored.
        """
        candidate = _Candidate(token)
        if verify is not None:
            tokens = TokenSource(storage=candidate, provider=self._config.name)
            with Provider(
                self._plugin, self._config, http_settings=self._http_settings, tokens=tokens
            ) as provider:
                verify(provider)
        self._vault.put(self._key, candidate.token)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _Candidate:
    """A ``TokenStorage`` of one token that is not stored yet.

    If the token is renewed during the test, this has the new token.
    """

    def __init__(self, token: Token) -> None:
        self.token = token
        self._generation = 1

    def load(self, key: str) -> StoredToken:
        """Return the token, as if it had just been obtained."""
        ends = self.token.expires_at
        left = None if ends is None else (ends - datetime.now(UTC)).total_seconds()
        return StoredToken(self.token, self._generation, left, left)

    def begin_renewal(self, key: str, generation: int, seconds: float) -> bool:
        """Return true, because no other process has the token."""
        return True

    def finish_renewal(
        self, key: str, generation: int, token: Token, lifetime: float | None
    ) -> bool:
        """Keep the new token."""
        self.token, self._generation = token, generation
        return True

    def give_up_renewal(self, key: str) -> None:
        """Do nothing, because no other process waits."""
