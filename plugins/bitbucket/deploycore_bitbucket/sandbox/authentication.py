"""Bitbucket's checks of each kind of credentials, for REST and for git.

REST and git expect different usernames for the same secret, and send different errors. The messages
are Bitbucket's own.

Sources: https://support.atlassian.com/bitbucket-cloud/docs/using-api-tokens/,
https://support.atlassian.com/bitbucket-cloud/docs/using-access-tokens/ and
https://support.atlassian.com/bitbucket-cloud/docs/using-app-passwords/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deploycore.testing.git_http import text_refusal
from deploycore.testing.messages import Refusal, text_answer, with_headers
from deploycore.testing.scenarios import Access
from deploycore_bitbucket.sandbox.messages import refuse
from deploycore_bitbucket.sandbox.rows import (
    GIT_USERNAMES,
    OAUTH_MODES,
    PREFIXES,
    Credential,
)

__all__ = [
    "AppPasswords",
    "Need",
    "demand_basic",
    "demand_git_scope",
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
CREDENTIAL_TYPES = {
    "app-password": "apppassword",
    "api-token": "apitoken",
    "access-token": "access_token",
    "oauth-client": "oauth",
    "oauth-user": "oauth",
}
BEARER_MODES = ("access-token", *OAUTH_MODES)


@dataclass(frozen=True)
class Need:
    """What an endpoint requires.

    Attributes:
        new: The scopes that an API token needs.
        old: The scopes that app passwords and access tokens need.
        person: Whether the credentials must belong to a person.
        anonymous: Whether it can be used without credentials.
        no_access_token: Whether access tokens with any scopes are rejected.
    """

    new: tuple[str, ...]
    old: tuple[str, ...] = ()
    person: bool = False
    anonymous: bool = False
    no_access_token: bool = False

    def scopes_for(self, credential: Credential) -> tuple[str, ...]:
        """The scopes that credentials of this kind need."""
        return self.new if credential.mode == "api-token" else self.old


TO_FETCH = Need(new=("read:repository:bitbucket",), old=("repository",))
TO_PUSH = Need(new=("write:repository:bitbucket",), old=("repository:write",))


def rest_credential(
    credential: Credential | None, username: str | None, *, app_passwords: AppPasswords
) -> Credential:
    """Check the credentials of a REST request.

    Args:
        credential: The credential with the secret that was sent; ``None`` for an unknown secret.
        username: The username that was sent; ``None`` without Basic authentication.

    Raises:
        Refusal: 401, as JSON or as plain text, as Bitbucket sends it.
    """
    expired = credential is not None and credential.access is Access.EXPIRED
    if username is None:
        if credential is None or credential.mode not in BEARER_MODES or expired:
            raise refuse(401, "Token is invalid or not supported for this endpoint.")
    elif credential is None or credential.mode in BEARER_MODES:
        raise Refusal(text_answer(INVALID_TOKEN, 401))
    elif credential.mode == "app-password":
        if app_passwords == "removed" or expired or username != credential.username:
            raise refuse(401, "Invalid credentials.")
    else:
        email = credential.user.email if credential.user else None
        for_bitbucket = any(scope.endswith(":bitbucket") for scope in credential.scopes)
        if expired or not for_bitbucket or username != email:
            raise Refusal(text_answer(INVALID_TOKEN, 401))
    return credential


def git_credential(
    credential: Credential | None,
    username: str | None,
    secret: str,
    *,
    app_passwords: AppPasswords,
) -> Credential:
    """Check the credentials of a git request.

    Raises:
        Refusal: 401 that asks for Basic, or 410 for a removed app password.
    """
    if app_passwords == "removed" and secret.startswith(PREFIXES["app-password"]):
        raise Refusal(text_answer(REMOVED, 410))
    if credential is None or credential.access is Access.EXPIRED:
        raise demand_basic()
    names = {GIT_USERNAMES.get(credential.mode)}
    if credential.user is not None and credential.mode not in OAUTH_MODES:
        names.add(credential.user.username)
    if username is None or username not in names:
        raise demand_basic()
    return credential


def demand_scope(credential: Credential | None, need: Need) -> None:
    """Check whether a credential may use an endpoint.

    Raises:
        Refusal: The credential may not use it (401 or 403).
    """
    if credential is None:
        if need.anonymous:
            return
        raise refuse(401, "This endpoint requires authentication.")
    is_refused = need.no_access_token and credential.mode == "access-token"
    if is_refused or (need.person and credential.user is None):
        raise refuse(403, WRONG_MECHANISM)
    if not _has_scopes(credential, need):
        required, granted = list(need.scopes_for(credential)), sorted(credential.scopes)
        raise refuse(403, LACKING_SCOPE, detail={"required": required, "granted": granted})


def demand_git_scope(credential: Credential, need: Need) -> None:
    """Check whether a credential may fetch or push.

    Raises:
        Refusal: The credential may not do this (403).
    """
    if not _has_scopes(credential, need):
        raise text_refusal(403, LACKING_SCOPE)


def scope_headers(credential: Credential, need: Need) -> dict[str, str]:
    """The headers in which Bitbucket names the scopes of the credentials."""
    return {
        "X-OAuth-Scopes": ", ".join(sorted(credential.scopes)),
        "X-Accepted-OAuth-Scopes": ", ".join(need.scopes_for(credential)),
        "X-Credential-Type": CREDENTIAL_TYPES[credential.mode],
    }


def demand_basic() -> Refusal:
    """Return an error that asks a git client for Basic authentication."""
    challenge = {"WWW-Authenticate": 'Basic realm="Bitbucket.org HTTP"'}
    return Refusal(with_headers(text_answer("Authentication required\n", 401), challenge))


def _has_scopes(credential: Credential, need: Need) -> bool:
    """Return all granted scopes. A scope of an API token includes no other one. An old scope to
    write includes the scope to read."""
    granted = set(credential.scopes)
    if credential.mode != "api-token":
        granted |= {scope.partition(":")[0] for scope in granted if ":write" in scope}
    return granted.issuperset(need.scopes_for(credential))
