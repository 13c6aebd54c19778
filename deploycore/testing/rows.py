"""The repositories and credentials of a sandbox, and the credentials in requests."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import SecretStr

from deploycore.testing.messages import Request
from deploycore.testing.scenarios import Access

__all__ = ["Credential", "Repository", "credentials_of"]


@dataclass(frozen=True)
class Repository:
    """A repository as a row.

    Attributes:
        number: Its number on the host, from 1.
    """

    owner: str
    slug: str
    name: str
    number: int
    private: bool = True
    default_branch: str = "main"

    @property
    def full_name(self) -> str:
        """``owner/slug``."""
        return f"{self.owner}/{self.slug}"


@dataclass(frozen=True)
class Credential:
    """A secret, and what it can do.

    Attributes:
        expires_at: When it expires; ``None`` if it does not. The sandbox reports this if the real
            host does.
    """

    mode: str
    access: Access
    username: str
    secret: SecretStr
    scopes: frozenset[str]
    expires_at: datetime | None = field(default=None, kw_only=True)


def credentials_of(request: Request, *, token_header: str = "") -> tuple[str | None, str]:
    """Return the username and secret of a request, from ``Authorization`` or a header of the host.

    Returns:
        The username is ``None`` without Basic authentication. The secret is empty if there is none
        that can be read.
    """
    if token_header.lower() in request.headers:
        return None, request.headers[token_header.lower()]
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() in ("bearer", "token"):
        return None, value.strip()
    if scheme.lower() != "basic":
        return None, ""
    try:
        username, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None, ""
    return username, secret
