"""What is worth another try, and when: pure, so that it can be read and tested by itself.

The git host and the network may be well again in a while. Credentials, configuration, and what
an application's own steps say, are not, unless a person does something; that person's push, or
``deploycore deploy``, is the next try.
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
"""How old a trigger becomes before a failure settles it, whatever that is."""

_WORTH = (
    ProviderUnavailable,
    RateLimited,
    UnexpectedAnswer,  # a host's page about its maintenance, say
    CorruptPack,
    Locked,
    Superseded,  # the newer one may fail before it has asked the host
    StoreError,
)
_TOO_MANY_REQUESTS = 429


def is_worth_retrying(error: DeploycoreError) -> bool:
    """Whether the same may succeed later, without anybody doing anything."""
    if isinstance(error, _WORTH):
        return True
    if not isinstance(error, GitError):
        return False
    if error.details.get("status") == _TOO_MANY_REQUESTS:
        return True
    if "moved_to" in error.details:  # somebody pushed between the question and the fetch
        return True
    # The network's failures are of no subclass, and name the address.
    return type(error) is GitError and "url" in error.details


def seconds_to_retry(
    error: DeploycoreError,
    attempts: int,
    *,
    now: datetime | None = None,
    jitter: Callable[[], float] = random.random,
) -> float | None:
    """When to try again: twice as long after each failure, and never all at the same moment.

    Args:
        attempts: How often it has failed before.
        now: The present time.
        jitter: A number from 0 to 1, another one each time.

    Returns:
        Seconds from now; ``None`` where it is not worth it.
    """
    if not is_worth_retrying(error):
        return None
    longest: float = min(MOST_SECONDS, FIRST_SECONDS * 2.0 ** min(attempts, 30))
    seconds = longest * (0.5 + 0.5 * jitter())
    allowed = seconds_until_allowed(error, now or datetime.now(UTC))
    return seconds if allowed is None else allowed + min(seconds, FIRST_SECONDS)


def seconds_until_allowed(error: DeploycoreError, now: datetime) -> float | None:
    """How long the host does not want to be asked; ``None`` where it did not say.

    It is believed up to a day: a mistaken host, or one that means ill, would say a century.
    """
    if not isinstance(error, RateLimited) or error.retry_at is None:
        return None
    return min(max(error.retry_at - now, timedelta(0)), GIVEN_UP_AFTER).total_seconds()
