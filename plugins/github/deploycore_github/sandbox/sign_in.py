"""People who sign in to the sandbox with the device flow.

Sources:
https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps#device-flow
https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/refreshing-user-access-tokens
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pydantic import SecretStr

from deploycore.testing.oauth import AuthorizationServer, OAuthRules
from deploycore.testing.sandbox import Credential
from deploycore.testing.scenarios import Access

__all__ = ["RULES", "SCOPES", "credential_of", "register"]

RULES = OAuthRules(lifetime=28_800, errors_have_status_200=True, prefix="ghu_")
"""GitHub's rules: tokens of GitHub Apps expire after eight hours, and errors have status 200."""
SCOPES = ("repo", "admin:repo_hook", "repo:status")
_OF_REPO = ("contents=read", "contents=write")


def register(
    server: AuthorizationServer, url: str, scopes: Collection[str] = SCOPES
) -> Mapping[str, str]:
    """Register an app for mode ``oauth-device``. To enter a code, call ``server.enter``.

    Returns:
        The fields of the provider's ``Config``, without ``name``.
    """
    client = server.add_client(scopes=scopes, is_public=True)
    return {"mode": "oauth-device", "url": url, "client_id": client.client_id}


def credential_of(server: AuthorizationServer, secret: str) -> Credential | None:
    """Return the credential of a valid access token; ``None`` for any other text."""
    grant = server.granted(secret)
    if grant is None:
        return None
    reads = _OF_REPO if "repo" in grant.scopes else ()
    return Credential(
        mode="classic",
        access=Access.FULL,
        username=grant.account,
        secret=SecretStr(secret),
        scopes=frozenset({*reads, *grant.scopes} - {"repo"}),
    )
