"""The sessions of browsers: who is signed in, and how they came in."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from pydantic import SecretStr
from starlette.requests import Request

from deploycore.installation import Installation
from deploycore.server.callers import Caller
from deploycore.store.token_digests import digest_of

__all__ = ["COOKIE", "Accounts", "Visitor"]

COOKIE = "deploycore_session"


@dataclass(frozen=True)
class Visitor:
    """A user who is signed in, in one browser.

    Attributes:
        caller: The user, with the role that the operations ask for.
        session: The digest of the session's cookie.
        form_token: What each form of this session must hold, against forged requests.
    """

    caller: Caller
    session: str
    form_token: SecretStr


class Accounts:
    """Users and their sessions."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._sessions: dict[str, Visitor] = {}
        self._links: set[str] = set()

    async def visitor(self, request: Request) -> Visitor | None:
        """Return who sends a request, by its session cookie; ``None`` if nobody is signed in."""
        given = request.cookies.get(COOKIE)
        return self._sessions.get(digest_of(SecretStr(given))) if given else None

    def still_holds(self, visitor: Visitor) -> bool:
        """Whether a session has neither ended nor been removed. Call it in a thread."""
        return visitor.session in self._sessions

    def new_link(self) -> SecretStr:
        """Return a secret that signs in the first administrator, once."""
        link = SecretStr(secrets.token_urlsafe(32))
        self._links.add(digest_of(link))
        return link

    def enter(self, link: SecretStr) -> SecretStr | None:
        """Begin a session with a link's secret, and return its cookie; ``None`` if it is used up
        or wrong."""
        digest = digest_of(link)
        if digest not in self._links:
            return None
        self._links.discard(digest)
        cookie = SecretStr(secrets.token_urlsafe(32))
        session = digest_of(cookie)
        caller = Caller("user", "admin", "admin")
        self._sessions[session] = Visitor(caller, session, SecretStr(secrets.token_urlsafe(32)))
        return cookie

    def leave(self, visitor: Visitor) -> None:
        """End a session."""
        self._sessions.pop(visitor.session, None)
