"""Records of users, their sessions, the tokens of the API, and the audit log."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

__all__ = [
    "AuditRecord",
    "LinkPurpose",
    "LinkRecord",
    "Role",
    "SessionRecord",
    "TokenRecord",
    "UserRecord",
]

Role = Literal["read", "deploy", "admin"]
"""What a token may do; each may do what those before it may."""

LinkPurpose = Literal["first-admin", "reset", "state"]
"""The purpose of a digest that can be used once: to create the first administrator, to set a user's
password, or to finish a sign-in at an issuer."""


@dataclass(frozen=True)
class UserRecord:
    """A user of the dashboard.

    Attributes:
        name: The name.
        role: What the user may do.
        password: The Argon2 hash of the password; ``None`` if the user has none.
        issuer: The OpenID Connect issuer where the user signs in; ``None`` if there is none.
        subject: The issuer's identifier of the user.
        disabled: Whether the user cannot sign in.
        created_at: When the user was added.
        changed_at: When the role, the password or the state was changed.
        signed_in_at: The last sign-in; ``None`` before the first one.
    """

    name: str
    role: Role
    password: str | None = field(repr=False)
    issuer: str | None
    subject: str | None
    disabled: bool
    created_at: datetime
    changed_at: datetime
    signed_in_at: datetime | None


@dataclass(frozen=True)
class SessionRecord:
    """A browser in which a user is signed in.

    Attributes:
        id: A number, to end the session by.
        digest: The SHA-256 of the cookie, in hexadecimal.
        user: The user's name.
        created_at: When the user signed in.
        seen_at: The last request, at most a minute ago if requests are coming in.
        expires_at: When the session ends, even if it is in use.
        browser: The browser and operating system.
        address: The network that the user signed in from.
    """

    id: int
    digest: str = field(repr=False)
    user: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    browser: str
    address: str


@dataclass(frozen=True)
class LinkRecord:
    """A one-time link that signs in.

    Attributes:
        digest: The SHA-256 of the link's secret, in hexadecimal.
        purpose: What it is for.
        user: The user whose password it sets; ``None`` for the first administrator's.
        created_at: When it was created.
        expires_at: When it expires.
        used_at: When it was used; ``None`` if it was not.
    """

    digest: str = field(repr=False)
    purpose: LinkPurpose
    user: str | None
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None


@dataclass(frozen=True)
class AuditRecord:
    """An entry of the audit log.

    Attributes:
        id: A number that grows.
        at: When it happened.
        actor: Who did it, such as ``user ada`` or ``token ci``; empty if this is unknown.
        operation: The name of an operation of the API, or ``sign_in``, ``sign_out``, and so on.
        kind: The kind of its subject: ``application``, ``provider``, ``user``, …; may be empty.
        subject: The name or number of its subject; may be empty.
        outcome: ``done``, or the code of the error.
        request: The id of the request.
        address: The address of the client.
    """

    id: int
    at: datetime
    actor: str
    operation: str
    kind: str
    subject: str
    outcome: str
    request: str
    address: str


@dataclass(frozen=True)
class TokenRecord:
    """A token of the server's API. The token itself is not stored.

    Attributes:
        name: The name of the token.
        role: The role.
        digest: The SHA-256 of the token, in hexadecimal.
        created_at: The time of its creation. All times have a time zone.
        expires_at: When it expires; ``None`` for never.
        used_at: When it was last used, to the minute.
    """

    name: str
    digest: str = field(repr=False)
    role: Role
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime | None
