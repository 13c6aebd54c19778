"""The errors that are retried, and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from deploycore import errors
from deploycore.worker.retries import FIRST_SECONDS, MOST_SECONDS, seconds_to_retry

NOW = datetime(2026, 11, 25, tzinfo=UTC)
URL = "https://git.example/a/b.git"


@pytest.mark.parametrize(
    "error",
    [
        errors.ProviderUnavailable("Down."),
        errors.RateLimited("Less."),
        errors.UnexpectedAnswer("A page."),
        errors.GitError("No connection.", url=URL),
        errors.GitError("Failed.", url=URL, status=503),
        errors.RemoteRefused("Fewer requests.", url=URL, status=429),
        errors.RemoteRefused("It has moved.", url=URL, moved_to="2" * 40),
        errors.CorruptPack("Broken."),
        errors.Locked("Somebody else."),
        errors.Superseded("A newer one."),
        errors.StoreError("Busy."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_temporary_errors_are_retried(error):
    assert seconds_to_retry(error, 0) is not None


@pytest.mark.parametrize(
    "error",
    [
        errors.AuthenticationFailed("No."),
        errors.PermissionDenied("No."),
        errors.NotFound("No such branch."),
        errors.ConfigurationError("Wrong."),
        errors.PluginError("Broken."),
        errors.RemoteRefused("Wrong password.", url=URL, status=401),
        errors.GitError("The disk is full."),
        errors.KeyRefused("Wrong key.", url=URL),
        errors.HostKeyRefused("Another key.", url=URL),
        errors.UnsafeRepository("Evil."),
        errors.LimitExceeded("Large."),
        errors.StepFailed("Failed."),
        errors.HealthCheckFailed("Ill."),
        errors.Cancelled("Stop."),
        errors.DeployError("Vetoed."),
        errors.RepositoryReplaced("Another one."),
        errors.DeploycoreError("A bug."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_permanent_errors_are_not_retried(error):
    assert seconds_to_retry(error, 0) is None


def test_every_error_is_classified():
    """A new one belongs into one of the two lists above."""
    thought_of = {
        each.__class__
        for test in (
            test_temporary_errors_are_retried,
            test_permanent_errors_are_not_retried,
        )
        for each in test.pytestmark[0].args[1]
    }
    known = {getattr(errors, name) for name in errors.__all__}
    assert known - thought_of == {errors.ProviderError}


def test_each_attempt_doubles_the_delay_up_to_a_limit():
    waits = [
        seconds_to_retry(errors.ProviderUnavailable("Down."), attempts, jitter=lambda: 1.0)
        for attempts in (0, 1, 2, 3, 50, 5000)
    ]
    first = FIRST_SECONDS
    assert waits == [first, 2 * first, 4 * first, 8 * first, MOST_SECONDS, MOST_SECONDS]


def test_simultaneous_failures_are_not_retried_simultaneously():
    waits = {seconds_to_retry(errors.ProviderUnavailable("Down."), 5) for _ in range(50)}
    assert len(waits) > 40
    assert all(FIRST_SECONDS * 16 <= each <= FIRST_SECONDS * 32 for each in waits)


def test_a_retry_respects_the_time_given_by_the_host():
    error = errors.RateLimited("Less.", retry_at=NOW + timedelta(hours=2))
    for jitter in (0.0, 1.0):
        seconds = seconds_to_retry(error, 0, now=NOW, jitter=lambda value=jitter: value)
        assert 7200 <= seconds <= 7200 + FIRST_SECONDS


def test_a_retry_time_in_the_past_leads_to_a_prompt_retry():
    error = errors.RateLimited("Less.", retry_at=NOW - timedelta(hours=2))
    assert 0 < seconds_to_retry(error, 9, now=NOW) <= FIRST_SECONDS


def test_a_distant_retry_time_leads_to_a_retry_after_a_day():
    for retry_at in (NOW + timedelta(days=36_500), datetime.max.replace(tzinfo=UTC)):
        error = errors.RateLimited("Less.", retry_at=retry_at)
        assert 86_400 <= seconds_to_retry(error, 0, now=NOW) <= 86_400 + FIRST_SECONDS
