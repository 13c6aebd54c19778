"""Keep one valid token for each provider; only one thread at a time renews it.

If the token is stored, its storage decides which process renews it. The other processes then use
the token that this process has obtained.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pydantic import SecretStr

from deploycore.errors import (
    AuthenticationFailed,
    DeploycoreError,
    ProviderError,
    ProviderUnavailable,
    StoreError,
)
from deploycore.records import record
from deploycore.tokens import RenewableAuth, Token

if TYPE_CHECKING:
    from deploycore.http import HttpClient

__all__ = ["StoredToken", "TokenKeeper", "TokenMemory", "TokenSource", "TokenStorage"]

logger = logging.getLogger(__name__)

_LEAST_USE = 10.0
"""The minimum number of seconds for which a token is used if a clock is wrong. A clock is
considered wrong if two tokens in a row would be valid for less than this."""

_AFTER_REFUSAL = 60.0
"""Seconds for which a token that replaced a rejected one is not replaced again."""

_RENEWAL_SECONDS = 90.0
"""Seconds after which another process that renews a token is considered dead."""

_LOOKS_EVERY = 0.1

_ABOUT_GRANT = frozenset({"invalid_grant", "bad_refresh_token"})


class StoredToken(NamedTuple):
    """A token with its age, as the storage returns it.

    Attributes:
        generation: The token's number, starting at 1; each new token has the next number.
        lifetime: Seconds for which it was valid when it was issued; ``None`` if it never expires.
        seconds_left: Seconds until it expires; ``None`` if it never expires.
        former: The previous token, which some hosts accept for some minutes after its use.
    """

    token: Token
    generation: int
    lifetime: float | None
    seconds_left: float | None
    former: Token | None = None


class TokenStorage(Protocol):
    """Keeps tokens for all processes of an installation."""

    def load(self, key: str) -> StoredToken | None:
        """Return the token; ``None`` if there is none yet."""

    def begin_renewal(self, key: str, generation: int, seconds: float) -> bool:
        """Claim the renewal of the token, unless another process has claimed or finished it.

        Args:
            generation: The generation to replace; 0 if there is no token.
            seconds: How long no other process may claim the renewal.
        """

    def finish_renewal(
        self, key: str, generation: int, token: Token, lifetime: float | None
    ) -> bool:
        """Store the new token; the current one becomes the previous one.

        Args:
            generation: The new token's.
            lifetime: Seconds until it expires; ``None`` if it never expires.

        Returns:
            Whether it is stored; ``False`` if another process has stored this generation.
        """

    def give_up_renewal(self, key: str) -> None:
        """Release the claim after a failed renewal, so that other processes can try."""


class _Held:
    def __init__(
        self,
        token: Token,
        renew_at: float,
        valid_until: float,
        generation: int,
        obtained_at: float,
        *,
        is_short: bool = False,
    ) -> None:
        self.token = token
        self.renew_at = renew_at
        self.valid_until = valid_until
        self.generation = generation
        self.obtained_at = obtained_at
        self.replaced_refused = False
        self.is_short = is_short
        self.is_unsaved = False
        self.save_at = float("inf")

    def needs_nothing(self, now: float) -> bool:
        """Return whether the token can be used without renewing or storing it first."""
        return now < self.renew_at and now < self.save_at

    def refuse(self, now: float) -> bool:
        """Record that the host rejected the token; return whether it will be replaced."""
        if self.replaced_refused and now - self.obtained_at < _AFTER_REFUSAL:
            return False
        self.renew_at = self.valid_until = float("-inf")
        return True


class _Slot:
    """The state of one token that the threads of this process share."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.held: _Held | None = None
        self.attempts = 0
        self.failure: DeploycoreError | None = None


class TokenMemory:
    """The tokens in this process's memory, shared by all open providers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots: dict[tuple[str, str], tuple[object, _Slot]] = {}

    def slot(self, provider: str, key: str, version: object) -> _Slot:
        """Return the slot of a token.

        Args:
            version: Changes with the provider's configuration; a new version has an empty
                slot.
        """
        with self._lock:
            known = self._slots.get((provider, key))
            if known is None or known[0] != version:
                known = (version, _Slot())
                self._slots[provider, key] = known
            return known[1]

    def refused(self, provider: str, version: object, value: SecretStr) -> bool:
        """Record that a host rejected the value of a token, over the API or git.

        Returns:
            Whether it is a token of this provider that will be replaced, or has been.
        """
        with self._lock:
            places = [each for each in self._slots.items() if each[0][0] == provider]
        slots = [slot for _, (known, slot) in places if known == version]
        held = [slot.held for slot in slots if slot.held is not None]
        for each in held:
            if each.token.value == value:
                return each.refuse(_now())
        return bool(held)


@record
class TokenSource:
    """The storage of the tokens of one configured provider.

    Attributes:
        memory: The tokens in this process's memory.
        storage: Stored tokens; ``None`` if tokens are not stored.
        provider: The provider's name.
        version: Changes when the provider's configuration does.
    """

    memory: TokenMemory = field(default_factory=TokenMemory)
    storage: TokenStorage | None = None
    provider: str = ""
    version: object = None

    def keeper(self, auth: RenewableAuth, client: Callable[[], HttpClient]) -> TokenKeeper:
        """Return the keeper of one token.

        Args:
            client: Returns a client of the authorization server.
        """
        slot = self.memory.slot(self.provider, auth.key, self.version)
        subject = f"provider {self.provider}" if self.provider else "the client"
        return TokenKeeper(auth, client, slot, storage=self.storage, subject=subject)

    def refused(self, value: SecretStr) -> bool:
        """Record that a host rejected the value of a token, for example its git server.

        Returns:
            Whether there is another token, or a new one will be obtained.
        """
        return self.memory.refused(self.provider, self.version, value)


def _now() -> float:
    """Return seconds of a clock that also runs while the machine sleeps, if there is one."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


class TokenKeeper:
    """Authorizes requests with a token that is valid, as an ``HttpAuth``.

    Safe to use from several threads.

    Args:
        auth: Obtains tokens.
        client: Returns a client of the authorization server.
        slot: Holds the token in this process.
        storage: Holds it for all processes; required if ``auth.is_stored``.
        subject: The token's owner in log lines and errors, such as ``provider work``.
    """

    def __init__(
        self,
        auth: RenewableAuth,
        client: Callable[[], HttpClient],
        slot: _Slot,
        *,
        storage: TokenStorage | None = None,
        subject: str = "",
        now: Callable[[], float] = _now,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._auth = auth
        self._client = client
        self._slot = slot
        self._storage = storage if auth.is_stored else None
        self._subject = subject
        self._now = now
        self._sleep = sleep

    def header(self) -> tuple[str, SecretStr]:
        """Return the ``Authorization`` header with the token.

        Raises:
            AuthenticationFailed: The host no longer issues tokens for this configuration.
            ProviderError: No token could be obtained. A later attempt may succeed.
        """
        value = self.token().value.get_secret_value()
        return "Authorization", SecretStr(f"{self._auth.scheme} {value}")

    def token(self) -> Token:
        """Return a valid token; obtain or renew it first if necessary.

        Raises:
            AuthenticationFailed, ProviderError: As :meth:`header`.
        """
        slot = self._slot
        held, attempts = slot.held, slot.attempts
        if held is not None and held.needs_nothing(self._now()):
            return held.token
        with slot.lock:
            held = slot.held
            if held is not None and held.is_unsaved and not self._save(held):
                held.renew_at = self._now()  # another one is stored, which is used from now on
            if held is not None and self._now() < held.renew_at:
                return held.token
            if slot.attempts != attempts and slot.failure is not None:
                raise slot.failure  # the failure of the attempt that this thread has waited for
            return self._renew(held)

    def refused(self, header: SecretStr) -> bool:
        """Record that the host rejected a header (status 401).

        Returns:
            Whether a request with the current token may succeed, because it is not the rejected
            one or will be replaced.
        """
        held = self._slot.held
        if held is None or not header.get_secret_value().endswith(
            held.token.value.get_secret_value()
        ):
            return True
        return held.refuse(self._now())

    def _renew(self, held: _Held | None) -> Token:
        slot = self._slot
        slot.failure = None
        was_refused = held is not None and held.valid_until == float("-inf")
        try:
            renewed = self._renewed_for_all(held) if self._storage else self._obtained(held)
            renewed.replaced_refused = was_refused
            slot.held = renewed
        except DeploycoreError as error:
            if held is not None and self._now() < held.valid_until:
                logger.warning("%s: the token was not renewed: %s", self._subject, error)
                held.renew_at = min(self._now() + _LEAST_USE, held.valid_until)
                return held.token
            slot.failure = error
            raise
        finally:
            slot.attempts += 1
        return renewed.token

    def _obtained(self, held: _Held | None) -> _Held:
        token = self._auth.obtain(self._client(), held.token if held else None)
        return self._new(token, 1, held)

    def _new(self, token: Token, generation: int, held: _Held | None) -> _Held:
        """Obtain a token, and return it."""
        lifetime = None
        if token.expires_at is not None:
            lifetime = (token.expires_at - datetime.now(UTC)).total_seconds()
        return self._timed(StoredToken(token, generation, lifetime, lifetime), held)

    def _timed(self, known: StoredToken, held: _Held | None) -> _Held:
        now, left = self._now(), known.seconds_left
        if left is None:
            return _Held(known.token, float("inf"), float("inf"), known.generation, now)
        is_short = left < _LEAST_USE
        renew_at = now if is_short else now + left - self._early(known)
        if is_short and held is not None and held.is_short:
            renew_at = now + _LEAST_USE
        valid_until = max(renew_at, now + left)
        return _Held(known.token, renew_at, valid_until, known.generation, now, is_short=is_short)

    def _early(self, known: StoredToken) -> float:
        """Return how many seconds before its expiry a token is renewed."""
        return min(self._auth.renew_before.total_seconds(), (known.lifetime or 0) / 2)

    def _renewed_for_all(self, held: _Held | None) -> _Held:
        """Return the token that another process has obtained meanwhile, or obtain a new one."""
        storage = self._storage
        assert storage is not None  # noqa: S101  for type checkers
        given_up_at = self._now() + _RENEWAL_SECONDS
        while True:
            stored = storage.load(self._auth.key)
            if stored is not None and self._is_news(stored, held):
                return self._timed(stored, held)
            generation = stored.generation if stored else 0
            if storage.begin_renewal(self._auth.key, generation, _RENEWAL_SECONDS):
                return self._replaced(stored, held)
            if self._now() > given_up_at:
                raise ProviderUnavailable(
                    "Another process has been renewing the access token for"
                    f" {_RENEWAL_SECONDS:.0f} s without a result.",
                    hint="Try again. See that process's log if it happens again.",
                )
            self._sleep(_LOOKS_EVERY)

    def _is_news(self, stored: StoredToken, held: _Held | None) -> bool:
        if held is not None and stored.token.value == held.token.value:
            return False
        return stored.seconds_left is None or stored.seconds_left > self._early(stored)

    def _replaced(self, stored: StoredToken | None, held: _Held | None) -> _Held:
        storage = self._storage
        assert storage is not None  # noqa: S101  for type checkers
        try:
            token = self._obtained_with(stored)
        except BaseException:
            storage.give_up_renewal(self._auth.key)
            raise
        renewed = self._new(token, (stored.generation if stored else 0) + 1, held)
        if self._save(renewed):
            return renewed
        # A person has signed in meanwhile, or another process has renewed it after this one had
        # not ended in time.
        newer = storage.load(self._auth.key)
        return self._timed(newer, held) if newer and self._is_news(newer, held) else renewed

    def _obtained_with(self, stored: StoredToken | None) -> Token:
        """Obtain a token, even if a process used the current refresh token and was killed before it
        stored the new one."""
        client = self._client()
        try:
            return self._auth.obtain(client, stored.token if stored else None)
        except AuthenticationFailed as error:
            if stored is None or stored.former is None or not _is_about_grant(error):
                raise
            try:
                return self._auth.obtain(client, stored.former)
            except ProviderError:
                pass
            raise

    def _save(self, held: _Held) -> bool:
        """Store a new token; if that fails, use it from memory, and store it later.

        Returns:
            Whether it is the one to use; ``False`` if another one is stored in its place.
        """
        storage = self._storage
        assert storage is not None  # noqa: S101  for type checkers
        left = None if held.valid_until == float("inf") else held.valid_until - self._now()
        is_present = True
        try:
            is_present = storage.finish_renewal(self._auth.key, held.generation, held.token, left)
        except StoreError as error:
            logger.error(
                "%s: the new token is in use, but could not be stored. deploycore tries to store it"
                " again: %s",
                self._subject,
                error,
            )
            held.is_unsaved, held.save_at = True, self._now() + _LEAST_USE
        else:
            held.is_unsaved, held.save_at = False, float("inf")
        return is_present


def _is_about_grant(error: AuthenticationFailed) -> bool:
    """Return whether the host may have rejected the refresh token itself.

    For another error, such as a wrong client secret, the previous refresh token is not sent: the
    host could treat it as stolen."""
    code = error.details.get("grant_error")
    return code is None or code in _ABOUT_GRANT
