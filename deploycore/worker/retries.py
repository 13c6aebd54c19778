"""Decide which errors are retried, and when. These functions have no side effects.

A failure of the git host or the network may be temporary. Wrong credentials, a wrong configuration
or a failed step need a person. After that, a push or ``deploycore deploy`` starts the next attempt.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from deploycore.errors import (
    CorruptPack,
    DeploycoreError,
    GitError,
    Locked,
    ProviderUnavailable,
    RateLimited,
    StoreError,
    Superseded,
    UnexpectedAnswer,
)

__all__ = ["GIVEN_UP_AFTER", "is_worth_retrying", "seconds_to_retry", "seconds_until_allowed"]

FIRST_SECONDS = 5.0
MOST_SECONDS = 900.0
GIVEN_UP_AFTER = timedelta(days=1)
"""The age from which a failure settles a trigger, whatever the failure is."""

_WORTH = (
    ProviderUnavailable,
    RateLimited,
    UnexpectedAnswer,  # for example a host's page about its maintenance
    CorruptPack,
    Locked,
    Superseded,  # the newer deployment may fail before it sends a request to the host
    StoreError,
)
_TOO_MANY_REQUESTS = 429


def is_worth_retrying(error: DeploycoreError) -> bool:
    """Whether the same operation may succeed later, without a person."""
    if isinstance(error, _WORTH):
        return True
    if not isinstance(error, GitError):
        return False
    if error.details.get("status") == _TOO_MANY_REQUESTS:
        return True
    if "moved_to" in error.details:  # a push happened between the request for the ref and the fetch
        return True
    # Network failures have no class of their own, but they have the address in their details.
    return type(error) is GitError and "url" in error.details


def seconds_to_retry(
    error: DeploycoreError,
    attempts: int,
    *,
    now: datetime | None = None,
    jitter: Callable[[], float] = random.random,
) -> float | None:
    """Return the seconds until the retry. They double after each failure, and vary randomly.

    Args:
        attempts: The number of failures before.
        now: The current time.
        jitter: A random number from 0 to 1.

    Returns:
        Seconds from now; ``None`` if the error is not retried.
    """
    if not is_worth_retrying(error):
        return None
    longest: float = min(MOST_SECONDS, FIRST_SECONDS * 2.0 ** min(attempts, 30))
    seconds = longest * (0.5 + 0.5 * jitter())
    allowed = seconds_until_allowed(error, now or datetime.now(UTC))
    return seconds if allowed is None else allowed + min(seconds, FIRST_SECONDS)


def seconds_until_allowed(error: DeploycoreError, now: datetime) -> float | None:
    """Return the seconds until the host allows a request; ``None`` if it did not say.

    The maximum is a day, because a wrong or malicious host could say a century.
    """
    if not isinstance(error, RateLimited) or error.retry_at is None:
        return None
    return min(max(error.retry_at - now, timedelta(0)), GIVEN_UP_AFTER).total_seconds()
