"""The time to wait before a request is sent again."""

from __future__ import annotations

from datetime import UTC, datetime

from deploycore.http.answers import Answer, Failure, retry_after
from deploycore.http.settings import HttpSettings

__all__ = ["seconds_before_retry"]


def seconds_before_retry(
    number: int,
    outcome: Answer | Failure,
    retry_at: datetime | None,
    settings: HttpSettings,
    *,
    jitter: float,
) -> float | None:
    """Return the seconds until the next attempt.

    This is the time that the host requests, or else a random part of an interval that doubles
    with each attempt (full jitter).

    Args:
        number: The number of the last attempt, from 1.
        outcome: The result of the last attempt.
        retry_at: When to try again, according to the provider's explanation of the response.
        settings: The maximum waits.
        jitter: A random number from 0 to 1.

    Returns:
        The seconds; ``None`` if the host requests a wait that is too long.
    """
    asked, now = None, datetime.now(UTC)
    if retry_at is not None:
        asked = max(0.0, (retry_at - now).total_seconds())
    elif isinstance(outcome, Answer):
        asked = retry_after(outcome.headers, now)
    if asked is not None:
        return asked if asked <= settings.retry_after_most else None
    return jitter * min(settings.backoff_most, settings.backoff_first * 2.0 ** (number - 1))
