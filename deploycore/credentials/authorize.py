"""The OAuth authorization request that a person opens, and the check of the host's response.

Sources: RFC 6749, section 4.1; RFC 7636 (PKCE); RFC 8252 (the loopback redirect).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qs, urlencode, urlsplit

from pydantic import SecretStr

from deploycore.errors import AuthenticationFailed
from deploycore.tokens import AuthorizationCode

__all__ = ["CALLBACK", "AuthorizationRequest", "redirect_uri"]

CALLBACK = "/callback"
"""The path of the redirect address."""

_ERRORS = {
    "access_denied": "The request for authorization was denied.",
    "invalid_scope": "The host does not know a scope, or does not grant it to this client.",
    "unauthorized_client": "The host does not let this client sign people in.",
    "server_error": "The host could not complete the sign-in.",
    "temporarily_unavailable": "The host cannot complete the sign-in for now.",
}


def redirect_uri(port: int) -> str:
    """Return the redirect address for a port of this machine (RFC 8252, 7.3)."""
    return f"http://127.0.0.1:{port}{CALLBACK}"


@dataclass(frozen=True)
class AuthorizationRequest:
    """An authorization request with ``state`` and PKCE.

    Attributes:
        flow: How the person signs in.
        redirect_uri: Where the host sends the browser afterwards.
        state: The host returns it; it proves that a response belongs to this request.
        verifier: Proves to the host that the program that exchanges the code sent the request.
    """

    flow: AuthorizationCode
    redirect_uri: str
    state: str = field(repr=False)
    verifier: SecretStr = field(repr=False)

    @classmethod
    def new(cls, flow: AuthorizationCode, redirect: str) -> Self:
        """Create a request with a new ``state`` and a new verifier, each of 256 random bits."""
        verifier = SecretStr(secrets.token_urlsafe(32))
        return cls(flow, redirect, secrets.token_urlsafe(32), verifier)

    @property
    def address(self) -> str:
        """Return the address that the person opens. It has no secret."""
        digest = hashlib.sha256(self.verifier.get_secret_value().encode()).digest()
        fields = {
            "response_type": "code",
            "client_id": self.flow.client_id,
            "redirect_uri": self.redirect_uri,
            "state": self.state,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        if self.flow.scope:
            fields["scope"] = self.flow.scope
        separator = "&" if urlsplit(self.flow.authorize_url).query else "?"
        return f"{self.flow.authorize_url}{separator}{urlencode(fields)}"

    def belongs(self, query: str) -> bool:
        """Tell by its ``state`` whether the query of a redirect address answers this request."""
        return self._is_state(_single(query, "state"))

    def read_query(self, query: str) -> SecretStr:
        """Return the code in the query of a redirect address.

        Raises:
            AuthenticationFailed: The query belongs to another request, contains an error, or has
                no code.
        """
        if not self.belongs(query):
            raise AuthenticationFailed(
                "The answer does not belong to this sign-in: its state is a different one.",
                hint="Sign in again, and use the address that was printed last.",
            )
        error = _single(query, "error")
        if error is not None:
            raise _refusal(error)
        code = _single(query, "code")
        if not code:
            raise AuthenticationFailed(
                "The host's answer has no code.",
                hint="Sign in again. If it happens again, check the redirect address of the OAuth"
                " client at the host.",
            )
        return SecretStr(code)

    def read_pasted(self, text: str) -> SecretStr:
        """Return the code from pasted text: the whole redirect address, or only the code.

        Raises:
            AuthenticationFailed: As for :meth:`read_query`, or the text is neither of these.
        """
        text = text.strip()
        if "://" in text or text.startswith("?"):
            try:
                query = urlsplit(text).query
            except ValueError:
                query = ""
            return self.read_query(query)
        if not re.fullmatch(r"[!-~]{1,4000}", text):
            raise AuthenticationFailed(
                "This is neither a redirect address nor a code.",
                hint=f"Sign in again, and copy the whole address, which begins with"
                f" {self.redirect_uri}.",
            )
        return SecretStr(text)

    def _is_state(self, given: str | None) -> bool:
        return hmac.compare_digest((given or "").encode(), self.state.encode())


def _single(query: str, name: str) -> str | None:
    """The value of a parameter that occurs once (RFC 6749, 3.1)."""
    try:
        found = parse_qs(query, keep_blank_values=True, max_num_fields=50).get(name, [])
    except ValueError:
        return None
    return found[0] if len(found) == 1 else None


def _refusal(code: str) -> AuthenticationFailed:
    shown = code if re.fullmatch(r"[a-z_]{1,40}", code) else "unknown"
    said = _ERRORS.get(code, "The host refused the sign-in.")
    hint = (
        "Sign in again, and allow the access."
        if code == "access_denied"
        else "Check the OAuth client's settings at the host: its scopes and its redirect address."
    )
    return AuthenticationFailed(f"{said.removesuffix('.')} ({shown}).", hint=hint)
