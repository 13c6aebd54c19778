"""Sign users in who come back from an OpenID Connect issuer."""

from __future__ import annotations

from datetime import timedelta
from typing import TypeVar

from pydantic import SecretStr
from starlette.requests import Request

from deploycore.server.accounts.openid_settings import OpenIdSettings
from deploycore.server.accounts.openid_users import Found, user_of
from deploycore.server.accounts.started import Started
from deploycore.server.accounts.waiting import SignInThreads
from deploycore.server.problems import Refusal
from deploycore.store import Store
from deploycore.store.token_digests import digest_of

__all__ = ["ANSWER_PATH", "IssuerSignIn"]

ANSWER_PATH = "/sign-in/issuer/answer"
"""The page to which the issuer sends browsers back."""

_THREADS = 4
_WAITING_MOST = 40
_STATE_LIFETIME = timedelta(days=1)

T = TypeVar("T")


class IssuerSignIn:
    """Sign-in at the issuer of the settings.

    Args:
        public_url: The address of the server for its users; by default that of each request.
    """

    def __init__(self, store: Store, settings: OpenIdSettings, public_url: str | None) -> None:
        from deploycore.server.accounts.openid import Issuer  # brings 120 modules

        self.settings = settings
        self._store = store
        self._issuer = Issuer(settings)
        self._public_url = public_url
        # A slow issuer, or many people at once, must not delay other requests.
        self._threads = SignInThreads(_THREADS, most=_WAITING_MOST)

    async def begin(self, request: Request, following: str) -> tuple[str, Started]:
        """Return the address of the issuer's page, and the value that the browser has to keep.

        Args:
            following: The page to open after the sign-in.

        Raises:
            Refusal: The issuer cannot be used (502), or too many people are signing in (503).
        """
        started, redirect_uri = Started.new(following), self._redirect_uri(request)
        address = await self._threads.run(lambda: self._issuer.address(started, redirect_uri))
        return address, started

    async def finish(self, request: Request, started: Started | None) -> Found:
        """Return the user who comes back from the issuer.

        Args:
            started: The value that the browser has kept.

        Raises:
            Refusal: The answer is invalid or was used before, or the user may not sign in (403), or
                the issuer cannot be used (502).
        """
        if started is None:
            raise Refusal(
                403,
                "authentication_failed",
                "This browser has not begun to sign in at the issuer, or it took too long.",
                hint="Sign in again, and allow cookies of this site.",
            )
        kept, query = started, dict(request.query_params)
        redirect_uri = self._redirect_uri(request)

        def finish() -> Found:
            claims = self._issuer.claims(kept, query, redirect_uri)
            state = digest_of(SecretStr(kept.state))
            if not self._store.sign_in_links.use_state(state, lifetime=_STATE_LIFETIME):
                raise Refusal(
                    403,
                    "authentication_failed",
                    "This answer of the issuer was used before.",
                    hint="Sign in again.",
                )
            return user_of(self._store, self.settings, claims)

        return await self._threads.run(finish)

    def _redirect_uri(self, request: Request) -> str:
        base = self._public_url or str(request.base_url).rstrip("/")
        return f"{base}{ANSWER_PATH}"
