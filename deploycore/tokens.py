"""Tokens that the core obtains and renews, and the classes with which a plugin describes their
source.

A plugin's ``Config.api_auth`` may return a :class:`RenewableAuth` instead of a fixed header. The
plugin then only has a function that obtains one token. The core keeps the token. It renews it
before it expires, and once if the host rejects it. Only one thread or process at a time renews it.
"""

from collections.abc import Callable
from dataclasses import field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import AwareDatetime, SecretStr

from deploycore.models import GitCredential, Model
from deploycore.records import record

if TYPE_CHECKING:
    from deploycore.http import HttpClient

__all__ = ["AuthorizationCode", "DeviceFlow", "ObtainToken", "RenewableAuth", "SignIn", "Token"]


class Token(Model):
    """An access token as a host issued it.

    Attributes:
        value: The access token.
        expires_at: When it expires, by this machine's clock; ``None`` if the host does not say.
        refresh_token: The secret with which the next token is obtained (RFC 6749, section 6);
            ``None`` if the host did not issue one.
        scopes: The scopes of the token, in the host's words; empty if the host does not report
            them.
    """

    value: SecretStr
    expires_at: AwareDatetime | None = None
    refresh_token: SecretStr | None = None
    scopes: tuple[str, ...] = ()

    def git_credential(self, username: str) -> GitCredential:
        """Return the credential for git, if git accepts the same token as the API.

        Args:
            username: The username that the host expects with a token.
        """
        return GitCredential(username=username, password=self.value, expires_at=self.expires_at)


ObtainToken = Callable[["HttpClient", Token | None], Token]
"""Obtain one token from a host.

Args:
    http: A client of the authorization server, without authorization.
    held: The previous token, for its refresh token; ``None`` if there is none.

Raises:
    AuthenticationFailed: The host will not issue a token. A person must sign in again, or replace
        a secret of the configuration.
    ProviderError: Any other error of :class:`~deploycore.http.HttpClient`.
"""


@record
class RenewableAuth:
    """Authorize requests with a token that the core obtains, keeps and renews.

    Attributes:
        obtain: The function that obtains one token; see :data:`ObtainToken`. Only one thread at a
            time calls it.
        server: The base URL of the authorization server (default: that of the API).
        scheme: The word before the token in the ``Authorization`` header.
        is_stored: Whether to store the token encrypted in the database. Set it if the token
            cannot be obtained again without a person, for example because its refresh token
            changes at each use. Other tokens stay in memory.
        key: A name that distinguishes several tokens of one provider, for example tokens with
            different permissions.
        renew_before: How long before its expiry a token is renewed, but at most half of its
            lifetime.
    """

    obtain: "ObtainToken" = field(repr=False)
    server: str | None = None
    scheme: str = "Bearer"
    is_stored: bool = False
    key: str = ""
    renew_before: timedelta = timedelta(minutes=5)


@record
class AuthorizationCode:
    """A person signs in with a browser, which returns a code to ``deploycore provider authorize``.

    deploycore adds ``state`` and a challenge (PKCE, method S256), and checks the answer. The
    redirect address is ``http://127.0.0.1:PORT/callback``.

    Sources: RFC 6749, section 4.1 (the grant); RFC 7636 (PKCE); RFC 8252 (native applications).

    Attributes:
        authorize_url: The absolute address of the page where the person signs in.
        token_path: The path of the token endpoint, below ``server``.
        client_id: The identifier that the host gave to the OAuth client.
        client_secret: The secret of the client; ``None`` for a public client.
        scope: The scopes to request, separated by spaces; empty for the client's scopes at the
            host.
        server: The base URL of the authorization server (default: that of the API).
        redirect_port: The port of the redirect address (default: any free port). Set it if the
            host accepts only the exact address that is registered for the client.
    """

    authorize_url: str
    token_path: str
    client_id: str
    client_secret: SecretStr | None = field(default=None, repr=False)
    scope: str = ""
    server: str | None = None
    redirect_port: int | None = None


@record
class DeviceFlow:
    """A person enters a short code on a page of the host, with a browser on any device.

    Source: RFC 8628.

    Attributes:
        device_path: The path of the device authorization endpoint, below ``server``.
        token_path: The path of the token endpoint, below ``server``.
        client_id: The identifier that the host gave to the OAuth client.
        scope: The scopes to request, separated by spaces; empty for the client's scopes at the
            host.
        server: The base URL of the authorization server (default: that of the API).
    """

    device_path: str
    token_path: str
    client_id: str
    scope: str = ""
    server: str | None = None


SignIn = AuthorizationCode | DeviceFlow
"""How a person signs in: the type of ``Config.sign_in``."""


def expiry(seconds: float | None, now: datetime) -> datetime | None:
    """Return the time that is a number of seconds from now; ``None`` if there is no number."""
    return None if seconds is None else now + timedelta(seconds=seconds)
