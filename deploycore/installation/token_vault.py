"""Stores the tokens of providers, encrypted, for all processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import SecretStr

from deploycore.credentials.keeper import StoredToken
from deploycore.errors import StoreError
from deploycore.tokens import Token, expiry

if TYPE_CHECKING:
    from deploycore.secrets import SecretBox
    from deploycore.store.provider_tokens import ProviderTokens

__all__ = ["TokenVault"]


class TokenVault:
    """The tokens of one provider, as a ``TokenStorage``.

    Args:
        provider: The name of the provider.
        tokens: Returns the tokens of the store, which many commands do not need.
        secrets: Encrypts and decrypts tokens.
    """

    def __init__(
        self, provider: str, tokens: Callable[[], ProviderTokens], secrets: SecretBox
    ) -> None:
        self._provider = provider
        self._tokens = tokens
        self._secrets = secrets

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
            former=None if found.former is None else self._opened(found.former, 0.0),
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
        """Store a token that a person has just obtained."""
        lifetime = None
        if token.expires_at is not None:
            lifetime = (token.expires_at - datetime.now(UTC)).total_seconds()
        self._tokens().put(self._provider, key, self._sealed(token), lifetime)

    def _sealed(self, token: Token) -> str:
        refresh = token.refresh_token
        content = {
            "value": token.value.get_secret_value(),
            "refresh_token": refresh.get_secret_value() if refresh is not None else None,
            "scopes": [*token.scopes],
        }
        return self._secrets.seal(SecretStr(json.dumps(content)))

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
            pass  # the error would hold the token
        raise StoreError(
            f"A stored token of provider {self._provider} cannot be read.",
            hint=f"Obtain a new one: deploycore provider authorize {self._provider}",
            provider=self._provider,
        )
