"""Run operations that send requests to git hosts, which may be slow or never respond."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from deploycore.provider.background import Unanswered, call_within
from deploycore.server.problems import Refusal

__all__ = ["HOST_SECONDS", "Hosts"]

HOST_SECONDS = 60.0
"""Maximum seconds for which a request waits for a git host."""

_AT_ONCE = 8
_BUSY_SECONDS = 5.0
_WAITING_MOST = 8
"""Maximum number of requests that wait for git hosts. Each of them holds a thread, which all
requests share."""

T = TypeVar("T")


class Hosts:
    """Limits how many requests wait for git hosts at once, so that threads are left for other
    requests."""

    def __init__(self) -> None:
        self._slots = threading.BoundedSemaphore(_AT_ONCE)
        self._lock = threading.Lock()
        self._waiting = 0

    def ask(
        self,
        action: Callable[[], T],
        *,
        seconds: float | None = None,
        late: Callable[[T], object] = lambda result: None,
    ) -> T:
        """Run an action that sends requests to a git host.

        Args:
            seconds: The maximum time (default: ``HOST_SECONDS``).
            late: Called with the result if it comes too late, to close it.

        Raises:
            Refusal: The host did not answer in time (504), or too many requests ask hosts (503).
        """
        seconds = HOST_SECONDS if seconds is None else seconds
        with self._slot():
            try:
                return call_within(action, seconds, late=late)
            except Unanswered:
                pass
        raise Refusal(
            504,
            "timed_out",
            f"The git host did not answer within {seconds:g} seconds.",
            hint="Try again in a minute. If it happens again, check the provider: deploycore"
            " provider test NAME",
        )

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not (self._slots.acquire(blocking=False) or self._waited()):
            raise Refusal(
                503,
                "busy",
                "Too many requests are waiting for git hosts.",
                hint="Send the request again in a minute.",
                headers={"Retry-After": "60"},
            )
        try:
            yield
        finally:
            self._slots.release()

    def _waited(self) -> bool:
        """Wait for a slot, unless too many others wait already; return whether there was one."""
        with self._lock:
            if self._waiting >= _WAITING_MOST:
                return False
            self._waiting += 1
        try:
            return self._slots.acquire(timeout=_BUSY_SECONDS)
        finally:
            with self._lock:
                self._waiting -= 1
