"""The user and the role that an issuer's claims give."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from deploycore.errors import ConfigurationError, StoreError
from deploycore.server.accounts.openid_settings import OpenIdSettings
from deploycore.server.callers import may
from deploycore.server.problems import Refusal
from deploycore.store import Role, Store, UserRecord

__all__ = ["Found", "role_of", "user_of"]

logger = logging.getLogger(__name__)

_NAME_LENGTH = 50
_SAME_NAMES_MOST = 100


class Found(NamedTuple):
    """The user of an issuer's claims.

    Attributes:
        operation: The change of the user, as the name of the API's operation; empty if there was
            none.
    """

    user: UserRecord
    operation: str


def user_of(store: Store, settings: OpenIdSettings, claims: Mapping[str, Any]) -> Found:
    """Return the user of an issuer's claims. The first sign-in adds the user.

    A user is found only by the issuer and its subject. The same name or email address could belong
    to another person at the issuer.

    Raises:
        Refusal: The user may not sign in (403).
        DeploycoreError: The user cannot be read or stored.
    """
    role = role_of(settings, claims)
    known = store.users.find_identity(settings.issuer, claims["sub"])
    if role is None or not _is_allowed(settings, claims) or (known and known.disabled):
        raise Refusal(
            403,
            "permission_denied",
            "You may not sign in to this server.",
            hint="Ask an administrator of this server for access.",
        )
    if known is None:
        return _add(store, settings, claims, role)
    if settings.roles and known.role != role:
        try:
            return Found(store.users.change(known.name, role=role), "change_user")
        except ConfigurationError as error:  # the last administrator
            logger.warning("%s keeps the role admin: %s", known.name, error.message)
    return Found(known, "")


def role_of(settings: OpenIdSettings, claims: Mapping[str, Any]) -> Role | None:
    """Return the highest role that the claims give; ``None`` if they give none."""
    found: Any = claims
    for part in settings.role_claim.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    if found is None and settings.role_claim in claims:  # a name with dots, such as a URL
        found = claims[settings.role_claim]
    values = found if isinstance(found, list) else [found]
    best = settings.default_role
    for value in values:
        role = settings.roles.get(value) if isinstance(value, str) else None
        if role is not None and (best is None or may(role, best)):
            best = role
    return best


def _is_allowed(settings: OpenIdSettings, claims: Mapping[str, Any]) -> bool:
    if not settings.users:
        return True
    is_verified = claims.get("email_verified") is True
    email = claims.get("email") if is_verified else None
    is_listed = isinstance(email, str) and email in settings.users
    return is_listed or claims["sub"] in settings.users


def _add(store: Store, settings: OpenIdSettings, claims: Mapping[str, Any], role: Role) -> Found:
    base, issuer, subject = _name_of(claims), settings.issuer, claims["sub"]
    for number in range(1, _SAME_NAMES_MOST):
        name = base if number == 1 else f"{base}-{number}"
        if store.users.find(name) is not None:
            continue
        try:
            return Found(
                store.users.add(name, role=role, issuer=issuer, subject=subject), "add_user"
            )
        except (ConfigurationError, StoreError) as error:
            # Two first sign-ins may run at once. Then the other one has added the user or taken the
            # name.
            known = store.users.find_identity(issuer, subject)
            if known is not None:
                return Found(known, "")
            if isinstance(error, StoreError):
                raise
    raise Refusal(
        409,
        "configuration",
        f"Too many users are named {base}.",
        hint="Ask an administrator to remove users that are no longer used.",
    )


def _name_of(claims: Mapping[str, Any]) -> str:
    for claim in ("preferred_username", "email", "name"):
        text = claims.get(claim)
        if isinstance(text, str):
            plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text.partition("@")[0])
            name = re.sub(r"^[^A-Za-z0-9]+", "", plain)[:_NAME_LENGTH].rstrip("-")
            if name:
                return name
    return "user"
