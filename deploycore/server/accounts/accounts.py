"""Sign users in and out, and find out who sends a request."""

from __future__ import annotations

import logging
import re
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from pydantic import SecretStr
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from deploycore.configuration import NAME_PATTERN
from deploycore.errors import DeploycoreError, StoreError
from deploycore.installation import Installation
from deploycore.server.accounts.attempts import Attempts
from deploycore.server.accounts.auditing import Auditor
from deploycore.server.accounts.clients import describe_browser, shorten_address
from deploycore.server.accounts.cookies import SESSION, form_token_of, is_by_a_person, read_cookie
from deploycore.server.accounts.issuer_sign_in import IssuerSignIn
from deploycore.server.accounts.openid_settings import OpenIdSettings
from deploycore.server.accounts.passwords import AT_ONCE, Passwords
from deploycore.server.accounts.started import Started
from deploycore.server.accounts.waiting import SignInThreads
from deploycore.server.callers import Caller
from deploycore.server.edge import client_address
from deploycore.server.problems import Refusal, refused_by
from deploycore.store import UserRecord
from deploycore.store.sessions import SignedIn
from deploycore.store.token_digests import digest_of, new_secret

__all__ = ["Accounts", "Visitor"]

logger = logging.getLogger(__name__)

_WAITING_MOST = 20
_AT_ISSUER = "(issuer)"
"""The name under which attempts without a user name are limited. No user can have this name."""

_HELD_SECONDS = 1.0
_HELD_MOST = 1000

T = TypeVar("T")


@dataclass(frozen=True)
class Visitor:
    """A user who is signed in, in one browser.

    Attributes:
        caller: The user, with the role that operations check.
        session: The digest of the session's cookie.
        form_token: The token that each form of this session must contain, against forged requests.
    """

    caller: Caller
    session: str
    form_token: SecretStr


class Accounts:
    """Users and their sessions.

    Attributes:
        passwords: Hashes and verifies passwords.
        attempts: Limits attempts to sign in.
        auditor: Records who did what.
        issuer: Sign-in at an OpenID Connect issuer; ``None`` if there is none.
        public_url: The address of the server for its users; ``None`` if it is not set.
    """

    def __init__(self, installation: Installation, *, openid: OpenIdSettings | None = None) -> None:
        self._store = installation.store
        self.public_url = installation.settings.public_url
        self.issuer = IssuerSignIn(self._store, openid, self.public_url) if openid else None
        self.passwords = Passwords()
        self.attempts = Attempts(installation.store.sign_in_failures)
        self.auditor = Auditor(installation.store)
        self._hashing = SignInThreads(AT_ONCE, most=_WAITING_MOST)
        self._held: OrderedDict[str, tuple[bool, float]] = OrderedDict()

    async def visitor(self, request: Request) -> Visitor | None:
        """Return who sends a request, by its session cookie; ``None`` if nobody is signed in.

        Requests that an open page sends by itself do not extend the session.

        Raises:
            Refusal: The database cannot be used (503).
        """
        cookie = read_cookie(request, SESSION)
        if cookie is None:
            return None
        try:
            find = partial(self._store.sessions.find, is_use=is_by_a_person(request))
            found = await run_in_threadpool(find, digest_of(cookie))
        except DeploycoreError as error:
            raise refused_by(error) from None
        return None if found is None else _visitor_of(found, form_token_of(cookie))

    def still_holds(self, visitor: Visitor) -> bool:
        """Whether a session has neither ended nor been removed. Call it in a thread.

        The result is up to a second old, because many connections of one session may need it.

        Raises:
            StoreError: The database cannot be used.
        """
        now, known = time.monotonic(), self._held.get(visitor.session)
        if known is not None and now - known[1] < _HELD_SECONDS:
            return known[0]
        holds = self._store.sessions.find(visitor.session, is_use=False) is not None
        self._held[visitor.session] = holds, now
        while len(self._held) > _HELD_MOST:
            self._held.popitem(last=False)
        return holds

    def new_link(self) -> SecretStr | None:
        """Return the secret of a link that creates the first administrator; ``None`` if there is an
        administrator, or if the database cannot be written, which is logged."""
        try:
            if self._store.users.has_administrator():
                return None
            return self._store.sign_in_links.create()[0]
        except StoreError as error:
            logger.warning("there is no link for the first administrator: %s", error)
            return None

    def link_user(self, link: SecretStr) -> str | None:
        """Return the user whose password a one-time link sets; empty for the link of the first
        administrator, ``None`` if the link cannot be used. Call it in a thread."""
        found = self._store.sign_in_links.find(digest_of(link))
        return None if found is None else found.user or ""

    async def sign_in(self, request: Request, name: str, password: SecretStr) -> SecretStr:
        """Sign in with a password, and return the cookie of the new session.

        Raises:
            Refusal: The name or password is wrong (422), or there were too many attempts (429), or
                there are too many at once (503).
        """
        return await self._hashing.run(lambda: self._sign_in(request, name, password))

    async def sign_in_at_issuer(self, request: Request, started: Started | None) -> SecretStr:
        """Sign a user in who comes back from the issuer, and return the cookie of the new session.

        Args:
            started: The cookie in which the browser has kept the sign-in that it began.

        Raises:
            Refusal: As :meth:`IssuerSignIn.finish`, or there were too many attempts (429).
        """
        assert self.issuer is not None  # noqa: S101  the page asks for it
        attempts, address = self.attempts, client_address.get()
        await run_in_threadpool(attempts.begin, _AT_ISSUER, address)
        try:
            user, operation = await self.issuer.finish(request, started)
        except Refusal as refusal:
            if refusal.status >= 500:  # an error of the server is not the client's failed attempt
                await run_in_threadpool(attempts.succeed, _AT_ISSUER, address)
            await run_in_threadpool(self.note_sign_in, None, refusal.code)
            raise
        await run_in_threadpool(attempts.succeed, _AT_ISSUER, address)

        def begin() -> SecretStr:
            if operation:
                caller = Caller("user", user.name, user.role)
                self.auditor.note(caller, operation, kind="user", subject=user.name)
            self.note_sign_in(user)
            return self.begin_session(request, user.name)

        return await run_in_threadpool(begin)

    async def use_link(
        self, request: Request, link: SecretStr, name: str, password: SecretStr
    ) -> SecretStr:
        """Sign in with a one-time link, and return the cookie of the new session.

        Args:
            name: The name of the first administrator. Other links have a user already.
            password: The new password of the user.

        Raises:
            Refusal: The link cannot be used (403), or the name or the password is invalid (422).
        """
        return await self._hashing.run(lambda: self._use_link(request, link, name, password))

    def begin_session(self, request: Request, user: str) -> SecretStr:
        """Begin a session of a user, and return its cookie. The browser's earlier session ends, so
        that an attacker cannot have prepared it. Call it in a thread.

        Raises:
            DeploycoreError: The session cannot be stored.
        """
        former = read_cookie(request, SESSION)
        if former is not None:
            found = self._store.sessions.find(digest_of(former))
            if found is not None:
                self._store.sessions.end(found.user.name, found.session.id)
        cookie = new_secret()
        self._store.sessions.add(
            user,
            digest=digest_of(cookie),
            browser=describe_browser(request.headers.get("user-agent", "")),
            address=shorten_address(client_address.get()),
        )
        return cookie

    def leave(self, visitor: Visitor) -> None:
        """End a session. Call it in a thread."""
        assert visitor.caller.session is not None  # noqa: S101  a visitor is a user
        self._store.sessions.end(visitor.caller.name, visitor.caller.session)
        self._held.pop(visitor.session, None)
        self.auditor.note(visitor.caller, "sign_out", kind="user", subject=visitor.caller.name)

    def note_sign_in(self, user: UserRecord | None, outcome: str = "done") -> None:
        """Record an attempt to sign in in the audit log. Call it in a thread.

        Args:
            user: The user; ``None`` if there is none with the given name, which is not recorded,
                because people enter passwords there by mistake.
        """
        caller = Caller("user", user.name, user.role) if user else None
        name = user.name if user else ""
        self.auditor.note(caller, "sign_in", kind="user", subject=name, outcome=outcome)

    def check_password(self, name: str, password: SecretStr) -> UserRecord | None:
        """Return a user whose password is right and who can sign in; ``None`` for any other.

        Raises:
            Refusal: There were too many attempts (429).
        """
        address = client_address.get()
        self.attempts.begin(name, address)
        user = self._store.users.find(name) if re.fullmatch(NAME_PATTERN, name) else None
        is_right = self.passwords.verify(user.password if user else None, password)
        if user is None or user.disabled or not is_right:
            self.note_sign_in(user, "authentication_failed")
            return None
        self.attempts.succeed(name, address)
        return user

    def _sign_in(self, request: Request, name: str, password: SecretStr) -> SecretStr:
        user = self.check_password(name, password)
        if user is None or user.password is None:
            raise Refusal(
                422,
                "authentication_failed",
                "The name or the password is wrong.",
                hint="Enter both again. For a link that sets a new password, ask an administrator,"
                " or run on the server's machine: deploycore user link NAME",
            )
        if self.passwords.is_outdated(user.password):
            self._store.users.replace_hash(user.name, user.password, self.passwords.hash(password))
        self.note_sign_in(user)
        return self.begin_session(request, user.name)

    def _use_link(
        self, request: Request, link: SecretStr, name: str, password: SecretStr
    ) -> SecretStr:
        links, digest = self._store.sign_in_links, digest_of(link)
        owner = self.link_user(link)
        if owner is None:
            raise _unusable()
        hashed = self.passwords.hash(password)
        if owner:
            is_used = links.use_reset(digest, hashed) is not None
        else:
            is_used = links.use_first(digest, name, hashed)
        if not is_used:
            raise _unusable()
        user = self._store.users.get(owner or name)
        self.auditor.note(
            Caller("user", user.name, user.role), "use_link", kind="user", subject=user.name
        )
        self.note_sign_in(user)
        return self.begin_session(request, user.name)


def _visitor_of(found: SignedIn, form_token: SecretStr) -> Visitor:
    user, session = found.user, found.session
    caller = Caller("user", user.name, user.role, session=session.id)
    return Visitor(caller, session.digest, form_token)


def _unusable() -> Refusal:
    return Refusal(
        403,
        "authentication_failed",
        "The link was used before, has expired, or is wrong.",
        hint="Restart the server for a link for the first administrator. For another user, run on"
        " the server's machine: deploycore user link NAME",
    )
