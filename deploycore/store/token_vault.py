"""Stores the tokens of providers, encrypted, for all processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import SecretStr

from deploycore.credentials.keeper import StoredToken, TokenStorage
from deploycore.errors import StoreError
from deploycore.tokens import Token, expiry

if TYPE_CHECKING:
    from deploycore.secrets import SecretBox
    from deploycore.store.provider_tokens import ProviderTokens

__all__ = ["TokenVault", "Unproved"]


class TokenVault:
    """The tokens of one provider, as a ``TokenStorage``.

    Args:
        provider: The name of the provider.
        tokens: Returns the tokens of the store, which many commands do not need.
        secrets: Encrypts and decrypts tokens.
        generation: The generation of the provider when it was read. ``put`` refuses a token for a
            provider that has changed since (default: any generation).
    """

    def __init__(
        self,
        provider: str,
        tokens: Callable[[], ProviderTokens],
        secrets: SecretBox,
        *,
        generation: int | None = None,
    ) -> None:
        self._provider = provider
        self._tokens = tokens
        self._secrets = secrets
        self._generation = generation

    def load(self, key: str) -> StoredToken | None:
        """Return the token; ``None`` if there is none.

        Raises:
            StoreError: It is damaged, or was encrypted with another key.
        """
        found = self._tokens().load(self._provider, key)
        if found is None:
            return None
        return StoredToken(
            token=self._opened(found.token, found.seconds_left),
            generation=found.generation,
            lifetime=found.lifetime,
            seconds_left=found.seconds_left,
            former=None if found.former is None else self._opened_former(found.former),
        )

    def begin_renewal(self, key: str, generation: int, seconds: float) -> bool:
        """Reserve the renewal for this process, unless another one renews the token or has
        renewed it."""
        return self._tokens().begin_renewal(self._provider, key, generation, seconds)

    def finish_renewal(
        self, key: str, generation: int, token: Token, lifetime: float | None
    ) -> bool:
        """Store the new token. The current one becomes the previous one."""
        sealed = self._sealed(token)
        return self._tokens().finish_renewal(self._provider, key, generation, sealed, lifetime)

    def give_up_renewal(self, key: str) -> None:
        """End the reservation without a new token, so that other processes can try."""
        self._tokens().give_up_renewal(self._provider, key)

    def put(self, key: str, token: Token) -> None:
        """Store a token that a person has just obtained.

        Raises:
            ConfigurationError: The provider does not exist, or was changed since it was read.
        """
        lifetime = None
        if token.expires_at is not None:
            lifetime = (token.expires_at - datetime.now(UTC)).total_seconds()
        self._tokens().put(
            self._provider,
            key,
            self._sealed(token),
            lifetime,
            provider_generation=self._generation,
        )

    def _sealed(self, token: Token) -> str:
        refresh = token.refresh_token
        content = {
            "value": token.value.get_secret_value(),
            "refresh_token": refresh.get_secret_value() if refresh is not None else None,
            "scopes": [*token.scopes],
        }
        return self._secrets.seal(SecretStr(json.dumps(content)))

    def _opened_former(self, sealed: str) -> Token | None:
        """Return the token before the current one. A new token replaces the current one even if
        that is damaged."""
        try:
            return self._opened(sealed, 0.0)
        except StoreError:
            return None

    def _opened(self, sealed: str, seconds_left: float | None) -> Token:
        clear = self._secrets.reveal(sealed).get_secret_value()
        try:
            content = json.loads(clear)
            refresh = content["refresh_token"]
            return Token(
                value=SecretStr(content["value"]),
                refresh_token=None if refresh is None else SecretStr(refresh),
                scopes=tuple(content["scopes"]),
                expires_at=expiry(seconds_left, datetime.now(UTC)),
            )
        except (ValueError, KeyError, TypeError):
            pass  # the error would contain the token
        raise StoreError(
            f"A stored token of provider {self._provider} cannot be read.",
            hint=f"Obtain a new one: deploycore provider authorize {self._provider}",
            provider=self._provider,
        )


class Unproved:
    """The tokens of a provider whose new secrets are being verified. If the token can be renewed,
    it counts as expired until it was renewed with these secrets. Each new token is stored.

    Args:
        storage: The storage of the tokens.
    """

    def __init__(self, storage: TokenStorage) -> None:
        self._storage = storage
        self._is_proved = False

    def load(self, key: str) -> StoredToken | None:
        """Return the token, as expired until the secrets are verified."""
        found = self._storage.load(key)
        if found is None or found.token.refresh_token is None or self._is_proved:
            return found
        return found._replace(seconds_left=0.0)

    def begin_renewal(self, key: str, generation: int, seconds: float) -> bool:
        """Let this process renew the token, unless another one does so now or has done so."""
        return self._storage.begin_renewal(key, generation, seconds)

    def finish_renewal(
        self, key: str, generation: int, token: Token, lifetime: float | None
    ) -> bool:
        """Store the new token: the host has accepted the secrets."""
        self._is_proved = True
        return self._storage.finish_renewal(key, generation, token, lifetime)

    def give_up_renewal(self, key: str) -> None:
        """Let other processes try, because this one did not obtain a token."""
        self._storage.give_up_renewal(key)
