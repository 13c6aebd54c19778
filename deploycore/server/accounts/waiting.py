"""Threads for sign-ins, so that many sign-ins at once do not use up the processor or the threads of
other requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from deploycore.errors import DeploycoreError
from deploycore.server.problems import Refusal, refused_by

__all__ = ["SignInThreads"]

T = TypeVar("T")


class SignInThreads:
    """Runs a few functions at once in threads. Only a limited number of others may wait.

    Use it only in the event loop's thread.

    Args:
        at_once: The maximum number of functions that run.
        most: The maximum number of those that run or wait.
    """

    def __init__(self, at_once: int, *, most: int) -> None:
        self._limiter = CapacityLimiter(at_once)
        self._most = most
        self._count = 0

    async def run(self, work: Callable[[], T]) -> T:
        """Run a function in a thread.

        Raises:
            Refusal: Too many run or wait (503), or the function raised a ``DeploycoreError``.
        """
        if self._count >= self._most:
            raise Refusal(
                503,
                "busy",
                "Too many people are signing in at once.",
                hint="Try again in a few seconds.",
                headers={"Retry-After": "5"},
            )
        self._count += 1
        try:
            return await to_thread.run_sync(work, limiter=self._limiter)
        except DeploycoreError as error:
            raise refused_by(error) from None
        finally:
            self._count -= 1
