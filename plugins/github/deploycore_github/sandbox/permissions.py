"""The permissions and scopes of credentials in the sandbox.

A fine-grained token and an app have permissions, such as ``statuses=write``. A classic token has
scopes, such as ``repo:status``.
"""

from __future__ import annotations

from deploycore.testing.messages import Request
from deploycore.testing.sandbox import Credential

__all__ = [
    "ADMINISTRATION",
    "API",
    "CLASSIC_SCOPES",
    "CONTENTS",
    "DEPLOYMENTS",
    "HOOKS",
    "METADATA",
    "PULLS",
    "READ",
    "STATUSES",
    "accepted",
    "classic_scopes",
    "includes",
    "permissions",
]

API = "/api/v3"
READ, METADATA = "contents=read", "metadata=read"
HOOKS, STATUSES, DEPLOYMENTS = "repository_hooks", "statuses", "deployments"
CONTENTS, PULLS, ADMINISTRATION = "contents", "pull_requests", "administration"
SCOPE = "repo"
CLASSIC_SCOPES = {
    HOOKS: ("admin:repo_hook", "public_repo", SCOPE, "write:repo_hook"),
    STATUSES: (SCOPE, "repo:status"),
    DEPLOYMENTS: (SCOPE, "repo_deployment"),
    PULLS: ("public_repo", SCOPE),
    ADMINISTRATION: (SCOPE,),
}
"""The scopes of classic tokens for each permission. One of them is enough."""


def permissions(credential: Credential) -> dict[str, str]:
    """Return the granted permissions. Each permission of a repository includes Metadata."""
    if not credential.scopes:
        return {"members": "read"}
    granted = {"metadata": "read"}
    for name, _, level in (scope.partition("=") for scope in sorted(credential.scopes)):
        granted[name] = level  # write is sorted after read, so it wins
    return dict(sorted(granted.items()))


def includes(granted: str | None, level: str) -> bool:
    """Whether a granted level includes another one."""
    return granted == "write" or granted == level


def classic_scopes(credential: Credential) -> list[str]:
    """Return the scopes of a classic token."""
    own = sorted(scope for scope in credential.scopes if "=" not in scope)
    return [SCOPE, *own] if READ in credential.scopes else own


def accepted(request: Request) -> tuple[str, ...]:
    """Return the scopes of which one is required for an address."""
    if not request.path.startswith(f"{API}/repos/"):
        return ()
    parts = {*request.segments[5:6]}  # after api, v3, repos, owner, repository
    names = {
        "hooks": HOOKS,
        "statuses": STATUSES,
        "deployments": DEPLOYMENTS,
        "pulls": PULLS,
        "keys": ADMINISTRATION,
    }
    return next((CLASSIC_SCOPES[names[part]] for part in parts if part in names), (SCOPE,))
