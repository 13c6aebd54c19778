"""The settings of sign-in at an OpenID Connect issuer, from the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pydantic import SecretStr

from deploycore.configuration import is_loopback
from deploycore.errors import ConfigurationError
from deploycore.secrets import reveal_reference
from deploycore.store import Role

__all__ = ["OpenIdSettings"]

_PREFIX = "DEPLOYCORE_OIDC_"
_ISSUER = f"{_PREFIX}ISSUER"
_CLIENT_ID = f"{_PREFIX}CLIENT_ID"
_CLIENT_SECRET = f"{_PREFIX}CLIENT_SECRET"
_LABEL = f"{_PREFIX}LABEL"
_SCOPES = f"{_PREFIX}SCOPES"
_ROLE_CLAIM = f"{_PREFIX}ROLE_CLAIM"
_ROLES = f"{_PREFIX}ROLES"
_DEFAULT_ROLE = f"{_PREFIX}DEFAULT_ROLE"
_USERS = f"{_PREFIX}ALLOWED_USERS"
_NAMES = (
    _ISSUER,
    _CLIENT_ID,
    _CLIENT_SECRET,
    _LABEL,
    _SCOPES,
    _ROLE_CLAIM,
    _ROLES,
    _DEFAULT_ROLE,
    _USERS,
)
_ROLE_NAMES: Mapping[str, Role] = {"read": "read", "deploy": "deploy", "admin": "admin"}


@dataclass(frozen=True)
class OpenIdSettings:
    """An issuer, how this server is registered there, and who may sign in.

    Attributes:
        issuer: The issuer's identifier, a URL.
        client_id: The identifier of this server at the issuer.
        client_secret: Its secret; ``None`` for a public client.
        label: The issuer's name on the sign-in page.
        scopes: The requested scopes.
        role_claim: The claim with a user's groups; dots lead into objects.
        roles: The role for each value of this claim. The highest one counts.
        default_role: The role of users without one of these values; ``None`` if they may not sign
            in.
        users: Subjects and verified email addresses that may sign in; empty for all.
    """

    issuer: str
    client_id: str
    client_secret: SecretStr | None = None
    label: str = ""
    scopes: str = "openid profile email"
    role_claim: str = "groups"
    roles: Mapping[str, Role] = field(default_factory=dict)
    default_role: Role | None = None
    users: frozenset[str] = frozenset()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> OpenIdSettings | None:
        """Read the variables that begin with ``DEPLOYCORE_OIDC_``; ``None`` if none is set.

        Args:
            environ: The variables (default: those of this process).

        Raises:
            ConfigurationError: A variable is missing, unknown or malformed.
        """
        variables = os.environ if environ is None else environ
        given = {name: text.strip() for name, text in variables.items() if name.startswith(_PREFIX)}
        if not given:
            return None
        _refuse_wrong_names(given)
        roles, default_role = _roles(given), _default_role(given)
        secret, issuer = given.get(_CLIENT_SECRET), _issuer(given[_ISSUER])
        return cls(
            issuer=issuer,
            client_id=given[_CLIENT_ID],
            client_secret=None if secret is None else _secret(secret),
            label=given.get(_LABEL, urlsplit(issuer).hostname or ""),
            scopes=_scopes(given.get(_SCOPES, cls.scopes)),
            role_claim=given.get(_ROLE_CLAIM, cls.role_claim),
            roles=roles,
            default_role=default_role,
            users=frozenset(_listed(given.get(_USERS, ""))),
        )


def _refuse_wrong_names(given: Mapping[str, str]) -> None:
    unknown = sorted(given.keys() - set(_NAMES))
    if unknown:
        raise ConfigurationError(
            f"{unknown[0]} is not a setting.", hint=f"Use one of {', '.join(_NAMES)}."
        )
    for name in _NAMES:
        if not given.get(name, "unset"):
            raise ConfigurationError(
                f"{name} is set, but empty.", hint=f"Give it a value, or unset {name}."
            )
    for name in (_ISSUER, _CLIENT_ID):
        if name not in given:
            raise ConfigurationError(
                f"Sign-in at an issuer needs {name}.",
                hint=f"Set {name}, or unset all variables that begin with {_PREFIX}.",
            )
    if not given.keys() & {_ROLES, _DEFAULT_ROLE}:
        raise ConfigurationError(
            "It is not set which roles the users of the issuer get.",
            hint=f"Set {_ROLES}, for example to ops=admin,developers=deploy, or {_DEFAULT_ROLE}.",
        )


def _issuer(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_right = (
            bool(parts.hostname)
            and not (parts.username or parts.password or parts.query or parts.fragment)
            and re.fullmatch(r"[!-~]+", text) is not None
            and (
                parts.scheme == "https"
                or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
            )
        )
    except ValueError:
        is_right = False
    if not is_right:
        raise ConfigurationError(
            f"{_ISSUER} is not a valid https address.",
            hint="Copy the issuer's address from its documentation or its administrator.",
        )
    return text


def _secret(text: str) -> SecretStr:
    try:
        return reveal_reference(text)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"{_CLIENT_SECRET} cannot be used: {error.message}", hint=error.hint
        ) from None


def _scopes(text: str) -> str:
    words = text.split()
    return " ".join(words if "openid" in words else ["openid", *words])


def _roles(given: Mapping[str, str]) -> dict[str, Role]:
    found: dict[str, Role] = {}
    for each in _listed(given.get(_ROLES, "")):
        value, separator, role = each.rpartition("=")
        if not separator or role not in _ROLE_NAMES:
            raise ConfigurationError(
                f"{_ROLES} is malformed.",
                hint="Write values of the claim and their roles (read, deploy or admin), such as"
                " ops=admin,developers=deploy.",
            )
        found[value.strip()] = _ROLE_NAMES[role]
    return found


def _default_role(given: Mapping[str, str]) -> Role | None:
    text = given.get(_DEFAULT_ROLE)
    if text is None:
        return None
    if text not in _ROLE_NAMES:
        raise ConfigurationError(
            f"{_DEFAULT_ROLE} is not a role.", hint="Set it to read, deploy or admin."
        )
    return _ROLE_NAMES[text]


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]
