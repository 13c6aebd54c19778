"""Sign-ins of people at git hosts that have begun. They are in memory; each can be used once,
within ten minutes."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from deploycore.credentials.authorize import AuthorizationRequest
from deploycore.http.device import DeviceCode, DevicePolling
from deploycore.server.problems import Refusal
from deploycore.tokens import SignIn

__all__ = ["Begun", "SignIns"]

_SECONDS = 600.0
_MOST = 200


@dataclass
class Begun:
    """A sign-in that has begun.

    Attributes:
        id: Its id. For a browser, it is the ``state`` that the git host returns.
        actor: Who has begun it, and who alone can finish it.
        flow: How the person signs in. If the provider has another flow when the sign-in is
            finished, the sign-in is void.
        request: The authorization request, for a browser.
        device: The code, for a device.
        polling: Polls with the code.
        lock: Held by the request that finishes it.
    """

    id: str
    provider: str
    actor: str
    flow: SignIn
    expires_at: datetime
    ends_at: float
    request: AuthorizationRequest | None = None
    device: DeviceCode | None = None
    polling: DevicePolling | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class SignIns:
    """The sign-ins that have begun.

    Args:
        clock: Returns the seconds of a monotonic clock.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._begun: dict[str, Begun] = {}

    def begin(
        self,
        provider: str,
        actor: str,
        flow: SignIn,
        *,
        request: AuthorizationRequest | None = None,
        device: DeviceCode | None = None,
        polling: DevicePolling | None = None,
    ) -> Begun:
        """Store a sign-in. If there are too many, the oldest one is removed."""
        seconds = _SECONDS if device is None else min(device.expires_in, 2 * _SECONDS)
        begun = Begun(
            id=secrets.token_urlsafe(32) if request is None else request.state,
            provider=provider,
            actor=actor,
            flow=flow,
            expires_at=datetime.now(UTC) + timedelta(seconds=seconds),
            ends_at=self._clock() + seconds,
            request=request,
            device=device,
            polling=polling,
        )
        with self._lock:
            self._forget_ended()
            while len(self._begun) >= _MOST:
                del self._begun[next(iter(self._begun))]
            self._begun[begun.id] = begun
        return begun

    def get(self, id_: str, actor: str, *, provider: str | None = None) -> Begun:
        """Return a sign-in.

        Args:
            provider: The name of its provider, if that is known.

        Raises:
            Refusal: It does not exist, has ended, or was begun by another user or token (404).
        """
        with self._lock:
            self._forget_ended()
            found = self._begun.get(id_)
        is_other = found is not None and provider not in (None, found.provider)
        if found is None or found.actor != actor or is_other:
            raise _ended()
        return found

    def take(self, id_: str, actor: str) -> Begun:
        """Return a sign-in, and remove it, because a response is accepted once.

        Raises:
            Refusal: As for ``get``.
        """
        found = self.get(id_, actor)
        with self._lock:
            if self._begun.pop(id_, None) is None:
                raise _ended()
        return found

    def forget(self, id_: str) -> None:
        """Remove a sign-in that is over."""
        with self._lock:
            self._begun.pop(id_, None)

    def _forget_ended(self) -> None:
        now = self._clock()
        for id_ in [id_ for id_, each in self._begun.items() if each.ends_at <= now]:
            del self._begun[id_]


def _ended() -> Refusal:
    return Refusal(
        404,
        "not_found",
        "This sign-in has ended, or another user or token has begun it.",
        hint="Sign in again.",
    )
