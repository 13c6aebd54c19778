"""How tokens are obtained from an OAuth 2.0 authorization server (RFC 6749), for plugins to pass to
:class:`~deploycore.tokens.RenewableAuth`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from deploycore.errors import AuthenticationFailed, DeploycoreError
from deploycore.http.answers import ErrorAnswer
from deploycore.http.authorisation import BasicAuth
from deploycore.http.client import HttpClient
from deploycore.http.decoding import parse_answer
from deploycore.tokens import ObtainToken, Token, expiry

__all__ = ["client_credentials", "explain_grant", "read_token", "refresh_token"]

_FOR_GOOD = {
    "invalid_client": "the authorization server does not know the client, or its secret is wrong",
    "invalid_grant": "the authorization has expired, was revoked, or was used already",
    "unauthorized_client": "the client may not obtain tokens in this way",
    "unsupported_grant_type": "the authorization server does not issue tokens in this way",
    "invalid_scope": "the authorization server does not know a scope, or does not grant it",
    "access_denied": "the request for authorization was denied",
    "expired_token": "the code has expired",
}


class _TokenAnswer(BaseModel):
    """A token as a server answers with it (RFC 6749, 5.1); Bitbucket names the scopes ``scopes``
    too."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    access_token: SecretStr = Field(min_length=1)
    expires_in: float | None = None
    refresh_token: SecretStr | None = None
    scope: str | None = None
    scopes: str | None = None


def read_token(answer: Any, *, held: Token | None = None) -> Token:
    """Read the answer of a token endpoint (RFC 6749, 5.1).

    Args:
        answer: The decoded JSON.
        held: The token that it replaces. Its refresh token stays where the answer has no new one
            (RFC 6749, 6).

    Raises:
        UnexpectedAnswer: There is no token in it.
    """
    given = parse_answer(_TokenAnswer, answer, what="a token")
    refreshed = given.refresh_token or (held.refresh_token if held else None)
    return Token(
        value=given.access_token,
        expires_at=expiry(given.expires_in, datetime.now(UTC)),
        refresh_token=refreshed,
        scopes=tuple((given.scope or given.scopes or "").replace(",", " ").split()),
    )


def explain_grant(answer: ErrorAnswer) -> DeploycoreError | None:
    """What an error answer of a token endpoint means (RFC 6749, 5.2); ``None`` where it is none of
    those that the RFC names."""
    code = answer.json.get("error") if isinstance(answer.json, Mapping) else None
    if answer.status == 401 and not isinstance(code, str):
        code = "invalid_client"
    meaning = _FOR_GOOD.get(code) if isinstance(code, str) else None
    if meaning is None:
        return None
    return AuthenticationFailed(
        f"No token was issued: {meaning} ({code}).",
        hint="Check the client ID and secret. If they are right, authorize the provider again.",
    )


def client_credentials(
    path: str, client_id: str, client_secret: SecretStr, *, scope: str = ""
) -> ObtainToken:
    """The client's own token (RFC 6749, 4.4).

    Args:
        path: Of the token endpoint, below the authorization server's base URL.
        scope: Scopes with spaces between; empty for those that the server grants by default.
    """

    def obtain(http: HttpClient, held: Token | None) -> Token:
        fields = {"grant_type": "client_credentials", **({"scope": scope} if scope else {})}
        return read_token(_asked(http, path, client_id, client_secret, fields))

    return obtain


def refresh_token(path: str, client_id: str, client_secret: SecretStr | None) -> ObtainToken:
    """A person's token, by the refresh token of the one before (RFC 6749, 6).

    Args:
        path: Of the token endpoint, below the authorization server's base URL.
        client_secret: ``None`` for a public client, which is known by its ID alone.
    """

    def obtain(http: HttpClient, held: Token | None) -> Token:
        if held is None or held.refresh_token is None:
            raise AuthenticationFailed(
                "This provider has not been authorized yet.",
                hint="Sign in: deploycore provider authorize NAME",
            )
        fields: dict[str, str | SecretStr] = {
            "grant_type": "refresh_token",
            "refresh_token": held.refresh_token,
        }
        return read_token(_asked(http, path, client_id, client_secret, fields), held=held)

    return obtain


def _asked(
    http: HttpClient,
    path: str,
    client_id: str,
    client_secret: SecretStr | None,
    fields: Mapping[str, str | SecretStr],
) -> Any:
    """The answer of a token endpoint; the client proves itself as RFC 6749, 2.3.1 prefers it."""
    if client_secret is None:
        fields = {**fields, "client_id": client_id}
    else:
        http = http.authorised_by(BasicAuth(client_id, client_secret))
    return http.explaining(explain_grant).send_form(path, fields)
