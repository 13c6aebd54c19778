"""An OAuth 2.0 authorization server for sandboxes: grants, expiry, rotation, and error responses.

A sandbox creates one, adds its :meth:`AuthorizationServer.routes` to its own, and calls
:meth:`AuthorizationServer.granted` to find the grant of an access token. Nobody has to sign in: the
authorization page allows the access at once, for the account that is signed in there.

Sources: RFC 6749, RFC 7636 (PKCE), RFC 8252 (loopback redirects), RFC 8628 (device flow), and for
the detection of refresh tokens that are used twice RFC 9700, section 4.14.2.
"""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from pydantic import SecretStr

from deploycore.sandbox import secret_source
from deploycore.testing.host import Route
from deploycore.testing.messages import Answer, Refusal, Request, json_answer, text_answer
from deploycore.testing.rows import credentials_of

__all__ = ["AuthorizationServer", "Grant", "OAuthClient", "OAuthRules"]

CLIENT_CREDENTIALS = "client_credentials"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
CODE_SECONDS = 60.0
DEVICE_SECONDS = 900.0


@dataclass(frozen=True)
class OAuthRules:
    """The differences between hosts.

    Attributes:
        lifetime: Seconds for which an access token is valid; ``None`` for no end.
        rotates: Whether each use of a refresh token issues a new one.
        grace: Seconds for which a refresh token is still accepted after its first use. A later use
            revokes all tokens of the grant.
        refreshes: Whether refresh tokens are issued at all.
        token_length: The minimum length of an access token.
        prefix: The start of access tokens.
        scope_field: The name of the field for scopes in the response.
        errors_have_status_200: Whether the token endpoint sends errors with status 200.
        ports_matter: Whether the port of the redirect address must be the registered one.
        interval: Seconds between two polls of the device flow.
    """

    lifetime: float | None = 3600
    rotates: bool = True
    grace: float = 0.0
    refreshes: bool = True
    token_length: int = 40
    prefix: str = ""
    scope_field: str = "scope"
    errors_have_status_200: bool = False
    ports_matter: bool = False
    interval: float = 5.0


@dataclass(frozen=True)
class OAuthClient:
    """A registered client.

    Attributes:
        secret: The secret; ``None`` for a public client.
        redirect_uri: The registered redirect address; empty if it may not use one.
        account: The account of the client's own tokens (client credentials); ``None`` if it cannot
            obtain any.
        scopes: The scopes of its tokens.
    """

    client_id: str
    secret: SecretStr | None
    redirect_uri: str
    account: str | None
    scopes: tuple[str, ...]


@dataclass(eq=False)
class Grant:
    """The access that a person, or a client for itself, has been granted. Its tokens belong
    together.

    Attributes:
        account: The account that the tokens belong to.
        is_own: Whether the client obtained them for itself.
        is_revoked: Whether all its tokens are revoked.
    """

    client: OAuthClient
    account: str
    scopes: tuple[str, ...]
    is_own: bool = False
    is_revoked: bool = False


@dataclass
class _Code:
    grant: Grant
    redirect_uri: str
    challenge: str
    ends: float
    is_used: bool = False


@dataclass
class _Refresh:
    grant: Grant
    used_at: float | None = None


@dataclass
class _Device:
    client: OAuthClient
    scopes: tuple[str, ...]
    user_code: str
    ends: float
    interval: float
    polled_at: float | None = None
    account: str | None = None
    is_denied: bool = False


@dataclass
class _Known:
    """All that the server remembers."""

    clients: dict[str, OAuthClient] = field(default_factory=dict)
    codes: dict[str, _Code] = field(default_factory=dict)
    access: dict[str, tuple[Grant, float]] = field(default_factory=dict)
    refresh: dict[str, _Refresh] = field(default_factory=dict)
    devices: dict[str, _Device] = field(default_factory=dict)
    grants: list[Grant] = field(default_factory=list)


class AuthorizationServer:
    """An authorization server. Several threads may call its routes.

    Args:
        rules: The differences between hosts. They can be replaced at any time.
        clock: Returns the seconds of a monotonic clock.

    Attributes:
        account: The account that is signed in at the authorization page; ``None`` denies every
            request.
        issued: The number of access tokens that it has issued.
    """

    def __init__(
        self, rules: OAuthRules | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.rules = rules or OAuthRules()
        self.account: str | None = None
        self.issued = 0
        self._clock = clock
        self._lock = threading.RLock()
        self._known = _Known()

    # What a sandbox and its tests use.

    def add_client(
        self,
        *,
        is_public: bool = False,
        redirect_uri: str = "",
        account: str | None = None,
        scopes: Collection[str] = (),
    ) -> OAuthClient:
        """Register a client with a random ID and, unless it is public, a random secret."""
        source = secret_source()
        secret = None if is_public else SecretStr(source.token_hex(38))
        client = OAuthClient(
            source.token_hex(16), secret, redirect_uri, account, tuple(sorted(scopes))
        )
        with self._lock:
            self._known.clients[client.client_id] = client
        return client

    def remove_client(self, client: OAuthClient) -> None:
        """Remove a client, and revoke its grants."""
        with self._lock:
            self._known.clients.pop(client.client_id, None)
            for grant in self._known.grants:
                grant.is_revoked = grant.is_revoked or grant.client == client

    def routes(self, *, authorize: str = "", token: str, device: str = "") -> Mapping[str, Route]:
        """Return the routes of the endpoints, for ``Sandbox.routes``. Empty addresses are left
        out."""
        found: dict[str, Route] = {f"POST {token}": self._answer_token}
        if authorize:
            found[f"GET {authorize}"] = self._answer_authorize
        if device:
            found[f"POST {device}"] = self._answer_device
        return found

    def granted(self, access_token: str) -> Grant | None:
        """Return the grant of an access token that is valid now."""
        with self._lock:
            grant, ends = self._known.access.get(access_token, (None, 0.0))
            if grant is None or grant.is_revoked or self._clock() >= ends:
                return None
            return grant

    def revoke_all(self) -> None:
        """Revoke every grant, as a person does at the host."""
        with self._lock:
            for grant in self._known.grants:
                grant.is_revoked = True

    def expire_all(self) -> None:
        """Let every access token expire now. Refresh tokens stay valid."""
        with self._lock:
            for value, (grant, _) in self._known.access.items():
                self._known.access[value] = (grant, float("-inf"))

    def enter(self, user_code: str, account: str | None) -> None:
        """Enter the code of a device, like a person.

        Args:
            account: The account that allows the access; ``None`` denies it.

        Raises:
            KeyError: The code does not exist.
        """
        with self._lock:
            devices = {each.user_code: each for each in self._known.devices.values()}
            devices[user_code].account = account
            devices[user_code].is_denied = account is None

    @property
    def user_codes(self) -> list[str]:
        """The codes that devices show now."""
        with self._lock:
            return [each.user_code for each in self._known.devices.values()]

    @property
    def secrets(self) -> Iterable[SecretStr]:
        """The secrets that a log must not show."""
        with self._lock:
            known = self._known
            values = [*known.access, *known.refresh, *known.codes, *known.devices]
            clients = [each.secret for each in known.clients.values() if each.secret is not None]
        return [*map(SecretStr, values), *clients]

    # The authorization page.

    def _answer_authorize(self, request: Request) -> Answer:
        query = request.query
        with self._lock:
            client = self._known.clients.get(query.get("client_id", ""))
        redirect = query.get("redirect_uri", "")
        if client is None or not self._may_redirect(client, redirect):
            return text_answer("The client or its redirect address is not known.\n", 400)
        answer = {"state": query["state"]} if "state" in query else {}
        challenge = query.get("code_challenge", "")
        if query.get("response_type") != "code":
            answer["error"] = "unsupported_response_type"
        elif query.get("code_challenge_method") != "S256" or not challenge:
            answer["error"] = "invalid_request"
        elif self.account is None:
            answer["error"] = "access_denied"
        else:
            scopes = tuple(query.get("scope", "").split()) or client.scopes
            if not set(scopes) <= set(client.scopes):
                answer["error"] = "invalid_scope"
            else:
                grant = self._new_grant(client, self.account, scopes)
                answer["code"] = self._new_code(grant, redirect, challenge)
        return Answer(302, {"Location": f"{redirect}?{urlencode(answer)}"})

    def _may_redirect(self, client: OAuthClient, redirect: str) -> bool:
        if self.rules.ports_matter or not client.redirect_uri:
            return bool(client.redirect_uri) and redirect == client.redirect_uri
        wanted, given = urlsplit(client.redirect_uri), urlsplit(redirect)
        return (wanted.scheme, wanted.hostname, wanted.path, "") == (
            given.scheme,
            given.hostname,
            given.path,
            given.query,
        )

    def _new_grant(
        self, client: OAuthClient, account: str, scopes: tuple[str, ...], *, is_own: bool = False
    ) -> Grant:
        grant = Grant(client, account, scopes, is_own)
        with self._lock:
            self._known.grants.append(grant)
        return grant

    def _new_code(self, grant: Grant, redirect: str, challenge: str) -> str:
        code = secret_source().token_urlsafe(16)
        ends = self._clock() + CODE_SECONDS
        with self._lock:
            self._known.codes[code] = _Code(grant, redirect, challenge, ends)
        return code

    # The token endpoint.

    def _answer_token(self, request: Request) -> Answer:
        form = dict(parse_qsl(request.body.decode("ascii", "replace"), keep_blank_values=True))
        grants = {
            "authorization_code": self._by_code,
            "refresh_token": self._by_refresh_token,
            CLIENT_CREDENTIALS: self._by_client,
            DEVICE_CODE: self._by_device,
        }
        with self._lock:
            client = self._client(request, form)
            found = grants.get(form.get("grant_type", ""))
            if found is None:
                raise self._refuse("unsupported_grant_type")
            return json_answer(found(client, form))

    def _client(self, request: Request, form: Mapping[str, str]) -> OAuthClient:
        """Return the client that sends a request: by Basic authentication, or a public client by
        its ID (RFC 6749, 2.3)."""
        if "authorization" in request.headers:
            username, secret = credentials_of(request)
            client = self._known.clients.get(username or "")
            if client is not None and client.secret == SecretStr(secret):
                return client
        else:
            client = self._known.clients.get(form.get("client_id", ""))
            if client is not None and client.secret is None:
                return client
        raise self._refuse("invalid_client", 401)

    def _by_code(self, client: OAuthClient, form: Mapping[str, str]) -> dict[str, Any]:
        code = self._known.codes.get(form.get("code", ""))
        if code is None or code.grant.client != client or self._clock() >= code.ends:
            raise self._refuse("invalid_grant")
        if code.is_used:  # RFC 6749, 4.1.2: the tokens from the first use are revoked
            code.grant.is_revoked = True
            raise self._refuse("invalid_grant")
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if challenge != code.challenge or form.get("redirect_uri") != code.redirect_uri:
            raise self._refuse("invalid_grant")
        code.is_used = True
        return self._tokens(code.grant)

    def _by_refresh_token(self, client: OAuthClient, form: Mapping[str, str]) -> dict[str, Any]:
        found = self._known.refresh.get(form.get("refresh_token", ""))
        if found is None or found.grant.client != client or found.grant.is_revoked:
            raise self._refuse("invalid_grant")
        now = self._clock()
        if found.used_at is not None and now - found.used_at >= self.rules.grace:
            found.grant.is_revoked = True  # the token was stolen, either by this client or from it
            raise self._refuse("invalid_grant")
        if self.rules.rotates and found.used_at is None:
            found.used_at = now
        return self._tokens(found.grant)

    def _by_client(self, client: OAuthClient, form: Mapping[str, str]) -> dict[str, Any]:
        if client.secret is None or client.account is None:
            raise self._refuse("unauthorized_client")
        scopes = tuple(form.get("scope", "").split()) or client.scopes
        if not set(scopes) <= set(client.scopes):
            raise self._refuse("invalid_scope")
        return self._tokens(self._new_grant(client, client.account, scopes, is_own=True))

    def _tokens(self, grant: Grant) -> dict[str, Any]:
        rules, source = self.rules, secret_source()
        length = -(-max(rules.token_length - len(rules.prefix), 1) * 3 // 4) + 1
        value = source.noted(rules.prefix + source.token_urlsafe(length))
        self.issued += 1
        ends = float("inf") if rules.lifetime is None else self._clock() + rules.lifetime
        self._known.access[value] = (grant, ends)
        answer: dict[str, Any] = {
            "access_token": value,
            "token_type": "bearer",
            rules.scope_field: " ".join(grant.scopes),
        }
        if rules.lifetime is not None:
            answer["expires_in"] = rules.lifetime
        if rules.refreshes and not grant.is_own:
            refresh = source.token_urlsafe(24)
            self._known.refresh[refresh] = _Refresh(grant)
            answer["refresh_token"] = refresh
        return answer

    # The device flow.

    def _answer_device(self, request: Request) -> Answer:
        form = dict(parse_qsl(request.body.decode("ascii", "replace")))
        with self._lock:
            client = self._client(request, form)
            scopes = tuple(form.get("scope", "").split()) or client.scopes
            if not set(scopes) <= set(client.scopes):
                raise self._refuse("invalid_scope")
            code = secret_source().token_urlsafe(24)
            letters = secret_source().text(8, "BCDFGHJKLMNPQRSTVWXZ")
            ends, interval = self._clock() + DEVICE_SECONDS, self.rules.interval
            device = _Device(client, scopes, f"{letters[:4]}-{letters[4:]}", ends, interval)
            self._known.devices[code] = device
        return json_answer(
            {
                "device_code": code,
                "user_code": device.user_code,
                "verification_uri": f"{request.origin}/login/device",
                "expires_in": DEVICE_SECONDS,
                "interval": interval,
            }
        )

    def _by_device(self, client: OAuthClient, form: Mapping[str, str]) -> dict[str, Any]:
        device = self._known.devices.get(form.get("device_code", ""))
        if device is None or device.client != client:
            raise self._refuse("invalid_grant")
        now = self._clock()
        if now >= device.ends:
            raise self._refuse("expired_token")
        if device.polled_at is not None and now - device.polled_at < device.interval:
            device.polled_at = now
            raise self._refuse("slow_down")
        device.polled_at = now
        if device.is_denied:
            raise self._refuse("access_denied")
        if device.account is None:
            raise self._refuse("authorization_pending")
        del self._known.devices[form["device_code"]]
        return self._tokens(self._new_grant(client, device.account, device.scopes))

    def _refuse(self, code: str, status: int = 400) -> Refusal:
        status = 200 if self.rules.errors_have_status_200 else status
        return Refusal(json_answer({"error": code, "error_description": "Refused."}, status))
