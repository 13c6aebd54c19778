"""Who is asking, by the rules of each kind of credentials, for REST and for git.

The two want different usernames for the same secret, and the refusals differ too: what
Bitbucket is known to answer is answered here word by word.

Sources: https://support.atlassian.com/bitbucket-cloud/docs/using-api-tokens/,
https://support.atlassian.com/bitbucket-cloud/docs/using-access-tokens/ and
https://support.atlassian.com/bitbucket-cloud/docs/using-app-passwords/
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Literal

from deploycore.testing.messages import Answer, Refusal, text_answer, with_headers
from deploycore_bitbucket.sandbox.messages import refuse
from deploycore_bitbucket.sandbox.state import GIT_USERNAMES, PREFIXES, Credential, Mode, State

__all__ = [
    "AppPasswords",
    "Caller",
    "Need",
    "caller",
    "demand_scope",
    "git_credential",
    "rest_credential",
    "scope_headers",
]

AppPasswords = Literal["working", "removed"]

INVALID_TOKEN = "Token is invalid, expired, or not supported for this endpoint."  # noqa: S105
WRONG_MECHANISM = "This API is not accessible by this authentication mechanism"
LACKING_SCOPE = "Your credentials lack one or more required privilege scopes."
REMOVED = (
    "CHANGE-3222 - Functionality has been deprecated\n"
    "App passwords are deprecated and must be replaced with API tokens.\n"
)

_CREDENTIAL_TYPES: dict[Mode, str] = {
    "app-password": "apppassword",
    "api-token": "apitoken",
    "access-token": "access_token",
}


@dataclass(frozen=True)
class Need:
    """What an endpoint asks for.

    Attributes:
        new: The scopes that an API token needs.
        old: The scopes that app passwords and access tokens need.
        person: Whether only credentials of a person will do.
        anonymous: Whether it answers without credentials.
    """

    new: tuple[str, ...]
    old: tuple[str, ...] = ()
    person: bool = False
    anonymous: bool = False

    def scopes_for(self, credential: Credential) -> tuple[str, ...]:
        return self.new if credential.mode == "api-token" else self.old


@dataclass(frozen=True)
class Caller:
    """Who a request said that it comes from, fit for a log: never a secret.

    Attributes:
        mode: ``None`` for an anonymous request or an unknown secret.
        username: As it was sent, if it is the name of somebody or one that git uses.
    """

    mode: Mode | None = None
    username: str | None = None


def caller(state: State, authorization: str | None) -> Caller:
    """What may be logged about the ``Authorization`` header of a request."""
    username, secret = _read(authorization)
    credential = state.credential(secret)
    return Caller(
        mode=credential.mode if credential else None,
        username=username if username in state.known_names() else None,
    )


def rest_credential(
    state: State, authorization: str | None, *, app_passwords: AppPasswords
) -> Credential | None:
    """Check the credentials of a REST request; ``None`` for an anonymous one.

    Raises:
        Refusal: 401, as JSON or as plain text, as Bitbucket has it.
    """
    if authorization is None:
        return None
    username, secret = _read(authorization)
    credential = state.credential(secret)
    if username is None:
        return _bearer(credential)
    if credential is None or credential.mode == "access-token":
        raise Refusal(text_answer(INVALID_TOKEN, 401))
    if credential.mode == "app-password":
        return _app_password(credential, username, app_passwords)
    return _api_token(credential, username)


def git_credential(
    state: State, authorization: str | None, *, app_passwords: AppPasswords
) -> Credential | None:
    """Check the credentials of a git request; ``None`` for an anonymous one.

    Raises:
        Refusal: 401 that asks for Basic, or 410 for a removed app password.
    """
    if authorization is None:
        return None
    username, secret = _read(authorization)
    if app_passwords == "removed" and secret.startswith(PREFIXES["app-password"]):
        raise Refusal(text_answer(REMOVED, 410))
    credential = state.credential(secret)
    if credential is None or credential.expired or username not in _git_usernames(credential):
        raise Refusal(demand_basic())
    return credential


def demand_scope(credential: Credential | None, need: Need) -> None:
    """Hold a credential against what an endpoint asks for.

    Raises:
        Refusal: 401 or 403 where the credential may not use the endpoint.
    """
    if credential is None:
        if need.anonymous:
            return
        raise refuse(401, "This endpoint requires authentication.")
    if need.person and credential.user is None:
        raise refuse(403, WRONG_MECHANISM)
    wanted = need.scopes_for(credential)
    if not all(grants(credential, scope) for scope in wanted):
        detail = {"required": list(wanted), "granted": list(credential.scopes)}
        raise refuse(403, LACKING_SCOPE, detail=detail)


def grants(credential: Credential, wanted: str) -> bool:
    """Scopes of API tokens imply nothing; of the old ones, writing implies reading."""
    if credential.mode == "api-token":
        return wanted in credential.scopes
    implied = {scope.partition(":")[0] for scope in credential.scopes if ":write" in scope}
    return wanted in implied.union(credential.scopes)


def scope_headers(credential: Credential, need: Need) -> dict[str, str]:
    """What Bitbucket tells about the scopes of the credentials in the headers of answers."""
    return {
        "X-OAuth-Scopes": ", ".join(credential.scopes),
        "X-Accepted-OAuth-Scopes": ", ".join(need.scopes_for(credential)),
        "X-Credential-Type": _CREDENTIAL_TYPES[credential.mode],
    }


def demand_basic() -> Answer:
    challenge = {"WWW-Authenticate": 'Basic realm="Bitbucket.org HTTP"'}
    return with_headers(text_answer("Authentication required\n", 401), challenge)


def _bearer(credential: Credential | None) -> Credential:
    if credential is None or credential.mode != "access-token" or credential.expired:
        raise refuse(401, "Token is invalid or not supported for this endpoint.")
    return credential


def _app_password(credential: Credential, username: str, app_passwords: AppPasswords) -> Credential:
    known = credential.user.username if credential.user else None
    if app_passwords == "removed" or credential.expired or username != known:
        raise refuse(401, "Invalid credentials.")
    return credential


def _api_token(credential: Credential, username: str) -> Credential:
    email = credential.user.email if credential.user else None
    for_bitbucket = any(scope.endswith(":bitbucket") for scope in credential.scopes)
    if credential.expired or not for_bitbucket or username != email:
        raise Refusal(text_answer(INVALID_TOKEN, 401))
    return credential


def _git_usernames(credential: Credential) -> set[str]:
    names = {GIT_USERNAMES[credential.mode]} if credential.mode in GIT_USERNAMES else set()
    return names | ({credential.user.username} if credential.user else set())


def _read(authorization: str | None) -> tuple[str | None, str]:
    """Username and secret; no username for Bearer, nothing for what can't be read."""
    scheme, _, value = (authorization or "").partition(" ")
    if scheme.lower() == "bearer":
        return None, value.strip()
    if scheme.lower() != "basic":
        return "", ""
    try:
        username, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return username, secret
