"""Sign in at an OpenID Connect issuer: the authorization code flow with PKCE.

Each sign-in has its own state, nonce and code verifier. Only the browser that began the sign-in has
them, in a cookie. Requests to the issuer use the project's HTTP client, with its limits.
"""

from __future__ import annotations

import hmac
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from authlib.oauth2.rfc7636 import create_s256_code_challenge  # type: ignore[import-untyped]
from authlib.oidc.core import CodeIDToken  # type: ignore[import-untyped]
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from pydantic import SecretStr

from deploycore.configuration import is_loopback
from deploycore.errors import DeploycoreError
from deploycore.http.authorisation import BasicAuth, HttpAuth
from deploycore.http.client import HttpClient
from deploycore.http.settings import HttpSettings
from deploycore.server.accounts.openid_settings import OpenIdSettings
from deploycore.server.accounts.started import Started
from deploycore.server.problems import Refusal

__all__ = ["Issuer", "Started"]

logger = logging.getLogger(__name__)

_LIMITS = HttpSettings(
    connect_timeout=3.0,
    read_timeout=5.0,
    total_timeout=10.0,
    retries=1,
    backoff_most=1.0,
    retry_after_most=1.0,
    answer_bytes_most=512 * 1024,
    connections=2,
)
_DISCOVERY = "/.well-known/openid-configuration"
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""Only signatures with a key pair. With other algorithms, anyone who has the client's secret could
sign."""

_WRONG = (JoseError, ValueError, TypeError, LookupError, AttributeError)
"""The exceptions of the libraries for invalid tokens and keys of any form."""

_KEPT_SECONDS = 3600.0
_KEYS_AGAIN_AFTER = 60.0
_LEEWAY_SECONDS = 60
_CODE_LENGTH_MOST = 4096


@dataclass
class _Known:
    """The issuer's description of itself, and its keys."""

    metadata: Mapping[str, Any]
    read_at: float
    keys: KeySet | None = None
    keys_read_at: float = -float("inf")


class Issuer:
    """An issuer. Call its methods in a thread.

    Args:
        limits: Timeouts and limits of requests to the issuer.
        clock: A monotonic clock, in seconds.
    """

    def __init__(
        self,
        settings: OpenIdSettings,
        *,
        limits: HttpSettings = _LIMITS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._known: _Known | None = None

    def address(self, started: Started, redirect_uri: str) -> str:
        """Return the issuer's page at which a user signs in.

        Raises:
            Refusal: The issuer cannot be reached, or its response is invalid (502).
        """
        metadata = self._discovered().metadata
        parameters = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": redirect_uri,
            "scope": self.settings.scopes,
            "state": started.state,
            "nonce": started.nonce,
            "code_challenge": create_s256_code_challenge(started.verifier.get_secret_value()),
            "code_challenge_method": "S256",
        }
        page = _endpoint(metadata, "authorization_endpoint")
        return f"{page}{'&' if urlsplit(page).query else '?'}{urlencode(parameters)}"

    def claims(
        self, started: Started, query: Mapping[str, str], redirect_uri: str
    ) -> Mapping[str, Any]:
        """Return the issuer's claims about the user, after the issuer has sent the browser back.

        Args:
            query: The query with which the browser came back.
            redirect_uri: The address that it came back to.

        Raises:
            Refusal: The answer is not for this browser, the issuer has refused the sign-in, or its
                token is invalid (403), or the issuer cannot be used (502).
        """
        _refuse_other_state(started, query)
        if query.get("iss", self.settings.issuer) != self.settings.issuer:  # RFC 9207
            raise _invalid("the answer comes from another issuer")
        if "error" in query:
            raise Refusal(
                403,
                "authentication_failed",
                "The issuer has refused the sign-in.",
                hint="Try again, or ask the issuer's administrator for access.",
                details={"error": query["error"][:100]},
            )
        code = query.get("code", "")
        if not 0 < len(code) <= _CODE_LENGTH_MOST:
            raise _invalid("the answer has no code")
        answer = self._exchange(code, started, redirect_uri)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise _invalid("the answer has no id_token")
        return self._verified(token, started.nonce)

    def _exchange(self, code: str, started: Started, redirect_uri: str) -> Mapping[str, Any]:
        metadata, secret = self._discovered().metadata, self.settings.client_secret
        fields: dict[str, str | SecretStr] = {
            "grant_type": "authorization_code",
            "code": SecretStr(code),
            "redirect_uri": redirect_uri,
            "code_verifier": started.verifier,
            "client_id": self.settings.client_id,
        }
        methods = metadata.get("token_endpoint_auth_methods_supported")
        auth: HttpAuth | None = None
        if (
            secret is not None
            and isinstance(methods, list)
            and "client_secret_basic" not in methods
        ):
            fields["client_secret"] = secret
        elif secret is not None:  # the default (OpenID Connect Discovery, 3)
            auth = BasicAuth(self.settings.client_id, secret)
        endpoint = _endpoint(metadata, "token_endpoint")
        return self._object(lambda: self._sent(endpoint, fields, auth))

    def _sent(
        self, endpoint: str, fields: Mapping[str, str | SecretStr], auth: HttpAuth | None
    ) -> Any:
        with HttpClient(_origin_of(endpoint), auth=auth, settings=self._limits) as client:
            return client.send_form(endpoint, fields)

    def _verified(self, token: str, nonce: str) -> Mapping[str, Any]:
        """Return the claims of a token after checks of its signature, issuer, audience, times and
        nonce."""
        try:
            decoded = self._decoded(token)
            options = {
                "iss": {"essential": True, "value": self.settings.issuer},
                "sub": {"essential": True},
                "aud": {"essential": True, "value": self.settings.client_id},
            }
            params = {"nonce": nonce, "client_id": self.settings.client_id}
            claims = CodeIDToken(decoded.claims, decoded.header, options, params)
            claims.validate(leeway=_LEEWAY_SECONDS)
        except _WRONG as error:
            logger.warning("a token of the issuer was rejected: %s", type(error).__name__)
            raise _invalid("its token is invalid") from None
        subject = claims.get("sub")
        if not isinstance(subject, str) or not 0 < len(subject) <= 255:
            raise _invalid("its token names no user")
        return dict(claims)

    def _decoded(self, token: str) -> jwt.Token:
        known = self._discovered()
        try:
            return jwt.decode(token, self._keys(known), algorithms=_ALGORITHMS)
        except (JoseError, ValueError):
            if self._clock() - known.keys_read_at < _KEYS_AGAIN_AFTER:
                raise
        # The issuer may have new keys.
        return jwt.decode(token, self._keys(known, again=True), algorithms=_ALGORITHMS)

    def _keys(self, known: _Known, *, again: bool = False) -> KeySet:
        if known.keys is None or again:
            address = _endpoint(known.metadata, "jwks_uri")
            found = self._object(lambda: self._got(address))
            known.keys = KeySet.import_key_set(found)  # type: ignore[arg-type]  # it checks it
            known.keys_read_at = self._clock()
        return known.keys

    def _discovered(self) -> _Known:
        with self._lock:
            known = self._known
        if known is not None and self._clock() - known.read_at < _KEPT_SECONDS:
            return known
        address = self.settings.issuer.rstrip("/") + _DISCOVERY
        metadata = self._object(lambda: self._got(address))
        if metadata.get("issuer") != self.settings.issuer:
            raise Refusal(
                502,
                "unexpected_answer",
                "The issuer names itself differently than DEPLOYCORE_OIDC_ISSUER.",
                hint=f"Compare the variable with the field issuer of {address}.",
            )
        known = _Known(metadata, self._clock())
        with self._lock:
            self._known = known
        return known

    def _got(self, address: str) -> Any:
        with HttpClient(_origin_of(address), settings=self._limits) as client:
            return client.get_json(address)

    def _object(self, ask: Callable[[], Any]) -> Mapping[str, Any]:
        try:
            found = ask()
        except DeploycoreError as error:
            logger.warning("the issuer cannot be used: %s", error)
            raise Refusal(
                502,
                "issuer_unavailable",
                f"The issuer {self.settings.label} cannot be used now.",
                hint="Try again in a minute. If it happens again, see the server's log, or sign in"
                " with a password.",
            ) from None
        if not isinstance(found, dict):
            raise _invalid("it did not send a JSON object")
        return found


def _refuse_other_state(started: Started, query: Mapping[str, str]) -> None:
    given = query.get("state", "")
    if not hmac.compare_digest(given.encode("utf-8", "replace"), started.state.encode()):
        raise _invalid("the answer is for another sign-in")


def _endpoint(metadata: Mapping[str, Any], name: str) -> str:
    """Return an address of the issuer, which must use TLS or be on this machine."""
    found = metadata.get(name)
    try:
        parts = urlsplit(found) if isinstance(found, str) else urlsplit("")
        is_right = parts.scheme == "https" or (
            parts.scheme == "http" and is_loopback(parts.hostname or "")
        )
        is_right = is_right and bool(parts.hostname) and not parts.fragment
    except ValueError:
        is_right = False
    if not isinstance(found, str) or not is_right or not re.fullmatch(r"[!-~]+", found):
        raise _invalid(f"its {name} is not an https address")
    return found


def _origin_of(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"


def _invalid(why: str) -> Refusal:
    return Refusal(
        403,
        "authentication_failed",
        f"The sign-in at the issuer has failed: {why}.",
        hint="Sign in again. If it happens again, see the server's log.",
    )
