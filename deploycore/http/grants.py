"""Functions that obtain tokens from an OAuth 2.0 authorization server (RFC 6749).

Plugins pass them to :class:`~deploycore.tokens.RenewableAuth`.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from math import isfinite
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr

from deploycore.errors import AuthenticationFailed, DeploycoreError
from deploycore.http.answers import ErrorAnswer
from deploycore.http.authorisation import BasicAuth
from deploycore.http.client import HttpClient
from deploycore.http.decoding import parse_answer
from deploycore.tokens import AuthorizationCode, ObtainToken, Token, expiry

__all__ = [
    "ask_token_endpoint",
    "client_credentials",
    "error_code",
    "exchange_code",
    "explain_grant",
    "read_token",
    "refresh_token",
]

_FOR_GOOD = {
    "invalid_client": "the authorization server does not know the client, or its secret is wrong",
    "invalid_grant": "the authorization has expired, was revoked, or was used already",
    "unauthorized_client": "the client may not obtain tokens in this way",
    "unsupported_grant_type": "the authorization server does not issue tokens in this way",
    "invalid_scope": "the authorization server does not know a scope, or does not grant it",
    "access_denied": "the request for authorization was denied",
    "expired_token": "the code has expired",
    # Not in the RFC, but in use.
    "bad_refresh_token": "the authorization has expired, was revoked, or was used already",
    "bad_verification_code": "the code has expired, or was used already",
    "device_flow_disabled": "the client may not use the device flow",
    "incorrect_client_credentials": "the authorization server does not know the client",
    "redirect_uri_mismatch": "the redirect address is not one that the client is registered with",
}

_CHECK_CLIENT = (
    "Check the client ID and secret. If they are right, authorize the provider again:"
    " deploycore provider authorize NAME"
)


_CLIENT_IS_WRONG = frozenset(
    {"invalid_client", "incorrect_client_credentials", "unauthorized_client"}
)
_LONGEST_SECONDS = 10 * 365 * 86_400.0


def _sendable(token: SecretStr) -> SecretStr:
    """A token that a header can hold (RFC 6750, 2.1)."""
    if not re.fullmatch(r"[!-~]+", token.get_secret_value()):
        raise ValueError("it cannot be sent in a header")
    return token


def _seconds(given: Any) -> float | None:
    """Return a lifetime; ``None`` if the value is not one."""
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        return None
    try:
        found = float(given)
    except (ValueError, OverflowError):
        return None
    return min(max(found, 0.0), _LONGEST_SECONDS) if isfinite(found) else None


def _words(given: Any) -> str | None:
    """Scopes as one text; some servers answer with a list."""
    if isinstance(given, list):
        return " ".join(each for each in given if isinstance(each, str))
    return given if isinstance(given, str) else None


class _TokenAnswer(BaseModel):
    """A token as a server answers with it (RFC 6749, 5.1); Bitbucket names the scopes ``scopes``
    too.

    Only the access token must be valid. If another invalid field caused an error, the refresh token
    would be used up, and the new token lost.
    """

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True, defer_build=True)

    access_token: Annotated[SecretStr, AfterValidator(_sendable)]
    expires_in: Annotated[float | None, BeforeValidator(_seconds)] = None
    refresh_token: Annotated[
        SecretStr | None, BeforeValidator(lambda given: given if isinstance(given, str) else None)
    ] = None
    scope: Annotated[str | None, BeforeValidator(_words)] = None
    scopes: Annotated[str | None, BeforeValidator(_words)] = None


def read_token(answer: Any, *, held: Token | None = None) -> Token:
    """Parse the response of a token endpoint (RFC 6749, 5.1).

    Args:
        answer: The decoded JSON.
        held: The previous token. If the response has no refresh token, the previous one is kept
            (RFC 6749, 6).

    Raises:
        UnexpectedAnswer: The response contains no token.
    """
    given = parse_answer(_TokenAnswer, answer, what="a token")
    refreshed = given.refresh_token or (held.refresh_token if held else None)
    return Token(
        value=given.access_token,
        expires_at=expiry(given.expires_in, datetime.now(UTC)),
        refresh_token=refreshed,
        scopes=tuple((given.scope or given.scopes or "").replace(",", " ").split()),
    )


def error_code(answer: Any) -> str | None:
    """Return the error code in a response of a token endpoint (RFC 6749, 5.2); ``None`` without
    one."""
    code = answer.get("error") if isinstance(answer, Mapping) else None
    return code if isinstance(code, str) else None


def explain_code(code: str | None, hint: str = _CHECK_CLIENT) -> AuthenticationFailed | None:
    """Return the error for an error code; ``None`` if the code is unknown."""
    meaning = _FOR_GOOD.get(code) if code is not None else None
    if meaning is None:
        return None
    return AuthenticationFailed(
        f"No token was issued: {meaning} ({code}).", hint=hint, grant_error=code
    )


def explain_grant(answer: ErrorAnswer, *, hint: str = _CHECK_CLIENT) -> DeploycoreError | None:
    """Return the error for an error response of a token endpoint (RFC 6749, 5.2).

    Args:
        answer: The response.
        hint: The next step for the user.

    Returns:
        The error; ``None`` if the RFC does not define its code.
    """
    code = error_code(answer.json)
    if answer.status == 401 and code is None:
        code = "invalid_client"
    return explain_code(code, hint)


def client_credentials(
    path: str, client_id: str, client_secret: SecretStr, *, scope: str = "", provider: str = "NAME"
) -> ObtainToken:
    """Return a function that obtains a token for the client itself (RFC 6749, 4.4).

    Args:
        path: The path of the token endpoint, below the base URL of the authorization server.
        client_id: The identifier of the client.
        client_secret: The secret of the client.
        scope: The scopes to request, separated by spaces; empty for the server's default.
        provider: The name of the provider, for hints.
    """
    hint = f"Check the client ID. To replace the secret: deploycore provider rotate {provider}"

    def obtain(http: HttpClient, held: Token | None) -> Token:
        fields = {"grant_type": "client_credentials", **({"scope": scope} if scope else {})}
        return read_token(
            ask_token_endpoint(http, path, client_id, client_secret, fields, hint=hint)
        )

    return obtain


def refresh_token(
    path: str, client_id: str, client_secret: SecretStr | None, *, provider: str = "NAME"
) -> ObtainToken:
    """Return a function that obtains a person's next token with the refresh token (RFC 6749, 6).

    Args:
        path: The path of the token endpoint, below the base URL of the authorization server.
        client_id: The identifier of the client.
        client_secret: The secret of the client; ``None`` for a public client.
        provider: The name of the provider, for hints.
    """
    hint = f"Sign in: deploycore provider authorize {provider}"
    client_hint = (
        f"Check the client ID. To replace its secret: deploycore provider rotate {provider}"
    )

    def explain(code: str) -> DeploycoreError | None:
        return explain_code(code, client_hint) if code in _CLIENT_IS_WRONG else None

    def obtain(http: HttpClient, held: Token | None) -> Token:
        if held is None:
            raise AuthenticationFailed("This provider is not authorized yet.", hint=hint)
        if held.refresh_token is None:
            raise AuthenticationFailed(
                "The access token has expired or was revoked, and cannot be renewed.", hint=hint
            )
        fields: dict[str, str | SecretStr] = {
            "grant_type": "refresh_token",
            "refresh_token": held.refresh_token,
        }
        answer = ask_token_endpoint(
            http, path, client_id, client_secret, fields, hint=hint, explain=explain
        )
        return read_token(answer, held=held)

    return obtain


def exchange_code(
    http: HttpClient,
    flow: AuthorizationCode,
    code: SecretStr,
    *,
    redirect_uri: str,
    verifier: SecretStr,
) -> Token:
    """Exchange the code from the browser for a token (RFC 6749, 4.1.3; RFC 7636, 4.5).

    Args:
        http: A client of the authorization server, without authorization.
        flow: The sign-in that the code belongs to.
        code: The code.
        redirect_uri: The redirect address of the authorization request.
        verifier: The secret whose challenge was in the authorization request.

    Raises:
        AuthenticationFailed: The server rejects the code or the client.
        ProviderError: Any other error of the client.
    """
    fields: dict[str, str | SecretStr] = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_uri,
        "code_verifier": verifier,
    }
    hint = "Check the client ID and secret, then sign in again."
    return read_token(
        ask_token_endpoint(
            http, flow.token_path, flow.client_id, flow.client_secret, fields, hint=hint
        )
    )


def ask_token_endpoint(
    http: HttpClient,
    path: str,
    client_id: str,
    client_secret: SecretStr | None,
    fields: Mapping[str, str | SecretStr],
    *,
    hint: str,
    explain: Callable[[str], DeploycoreError | None] = lambda code: None,
) -> Any:
    """Send a request to a token endpoint and return the decoded response.

    The client authenticates with HTTP Basic, as RFC 6749, 2.3.1 recommends.

    Args:
        http: A client of the authorization server, without authorization.
        path: The path of the token endpoint.
        client_id: The identifier of the client.
        client_secret: The secret of the client; ``None`` for a public client.
        fields: The fields of the form.
        hint: The next step if the server will not issue a token.
        explain: Returns the error for an error code. It is called before the general explanation.
    """
    if client_secret is None:
        fields = {**fields, "client_id": client_id}
    else:
        http = http.authorised_by(BasicAuth(client_id, client_secret))

    def explained(answer: ErrorAnswer) -> DeploycoreError | None:
        code = error_code(answer.json)
        return (explain(code) if code else None) or explain_grant(answer, hint=hint)

    answer = http.explaining(explained).send_form(path, fields)
    code = error_code(answer)  # some servers refuse with status 200
    error = None if code is None else explain(code) or explain_code(code, hint)
    if error is not None:
        raise error
    return answer
