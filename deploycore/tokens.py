"""Tokens that the core obtains and renews, and how a plugin says where they come from.

A plugin's ``Config.api_auth`` may return a :class:`RenewableAuth` in place of a header that never
changes. The plugin then only says how one token is obtained; the core keeps it, renews it before
it expires and once after the host refused it, and lets no two threads or processes renew it at the
same time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import AwareDatetime, SecretStr

from deploycore.models import GitCredential, Model

if TYPE_CHECKING:
    from deploycore.http import HttpClient

__all__ = ["AuthorizationCode", "DeviceFlow", "ObtainToken", "RenewableAuth", "SignIn", "Token"]


class Token(Model):
    """An access token as a host issued it.

    Attributes:
        value: The access token.
        expires_at: When it expires, by this machine's clock; ``None`` where the host does not say.
        refresh_token: What the next token is obtained with, where the host issued one
            (RFC 6749, section 6).
        scopes: What the token may do, in the host's own words; empty where the host does not say.
    """

    value: SecretStr
    expires_at: AwareDatetime | None = None
    refresh_token: SecretStr | None = None
    scopes: tuple[str, ...] = ()

    def git_credential(self, username: str) -> GitCredential:
        """The credential for git, where git takes the same token as the API.

        Args:
            username: What the host expects as the username beside a token.
        """
        return GitCredential(username=username, password=self.value, expires_at=self.expires_at)


ObtainToken = Callable[["HttpClient", Token | None], Token]
"""Obtain one token from a host.

Args:
    http: A client of the authorization server, without any authorization of its own.
    held: The token held so far, for its refresh token; ``None`` where there is none.

Raises:
    AuthenticationFailed: The host refuses for good. A person must sign in again, or replace a
        secret of the configuration.
    ProviderError: Anything else that :class:`~deploycore.http.HttpClient` raises.
"""


@dataclass(frozen=True)
class RenewableAuth:
    """Authorize requests with a token that the core obtains, keeps and renews.

    Attributes:
        obtain: Obtains one token; see :data:`ObtainToken`. Called by one thread at a time.
        server: The base URL of the authorization server (default: that of the API).
        scheme: The word before the token in the ``Authorization`` header.
        is_stored: Whether the token must outlive the process, such as one whose refresh token
            changes with each use. It is stored encrypted, the new one before the old one is
            dropped. Tokens that can be obtained again at any time stay in memory.
        key: Tells apart several tokens of one provider, such as those of different permissions.
        renew_before: How long before it expires a token is renewed; half of the token's lifetime
            at most.
    """

    obtain: ObtainToken = field(repr=False)
    server: str | None = None
    scheme: str = "Bearer"
    is_stored: bool = False
    key: str = ""
    renew_before: timedelta = timedelta(minutes=5)


@dataclass(frozen=True)
class AuthorizationCode:
    """A person signs in with a browser, which returns a code to ``deploycore provider authorize``.

    deploycore adds ``state`` and a challenge (PKCE, method S256), and checks the answer. The
    redirect address is ``http://127.0.0.1:PORT/callback``.

    Sources: RFC 6749, section 4.1 (the grant); RFC 7636 (PKCE); RFC 8252 (native applications).

    Attributes:
        authorize_url: The absolute address of the page where the person signs in.
        token_path: The path of the token endpoint, below ``server``.
        client_id: The identifier that the host gave to the OAuth client.
        client_secret: Its secret; ``None`` for a public client, which has none.
        scope: Scopes with spaces between them; empty for those that the client has at the host.
        server: The base URL of the authorization server (default: that of the API).
        redirect_port: The port of the redirect address, for hosts that accept only the address
            that the client is registered with (default: any free port).
    """

    authorize_url: str
    token_path: str
    client_id: str
    client_secret: SecretStr | None = field(default=None, repr=False)
    scope: str = ""
    server: str | None = None
    redirect_port: int | None = None


@dataclass(frozen=True)
class DeviceFlow:
    """A person enters a short code on a page of the host, with a browser on any device.

    Source: RFC 8628.

    Attributes:
        device_path: The path of the device authorization endpoint, below ``server``.
        token_path: The path of the token endpoint, below ``server``.
        client_id: The identifier that the host gave to the OAuth client.
        scope: Scopes with spaces between them; empty for those that the client has at the host.
        server: The base URL of the authorization server (default: that of the API).
    """

    device_path: str
    token_path: str
    client_id: str
    scope: str = ""
    server: str | None = None


SignIn = AuthorizationCode | DeviceFlow
"""How a person signs in: what ``Config.sign_in`` returns."""


def expiry(seconds: float | None, now: datetime) -> datetime | None:
    """When a token expires that lasts for some seconds from now; ``None`` for no end."""
    return None if seconds is None else now + timedelta(seconds=seconds)
