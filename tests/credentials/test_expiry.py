"""Which warning is due before credentials expire, and its words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from deploycore.credentials.expiry import describe_expiry, due_warning, is_same_expiry
from deploycore.errors import AuthenticationFailed, NotFound, PermissionDenied, RemoteRefused
from deploycore.provider.stored_credentials import StoredCredentials

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("left", "due"),
    [
        (timedelta(days=31), None),
        (timedelta(days=30), 30),
        (timedelta(days=7, seconds=1), 30),
        (timedelta(days=7), 7),
        (timedelta(hours=25), 7),
        (timedelta(days=1), 1),
        (timedelta(seconds=1), 1),
        (timedelta(0), 0),
        (timedelta(days=-400), 0),
    ],
)
def test_the_last_warning_reached_is_due(left, due):
    assert due_warning(NOW + left, NOW) == due


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (timedelta(days=7), "expire in 7 days (2026-12-06)"),
        (timedelta(days=1, hours=1), "expire in 2 days (2026-11-30)"),
        (timedelta(hours=1), "expire within a day (2026-11-29)"),
        (timedelta(days=-1), "expired on 2026-11-28"),
    ],
)
def test_the_text_of_the_warning(left, said):
    assert describe_expiry(NOW + left, NOW) == said


def test_an_expiry_given_in_seconds_is_stable_across_requests():
    assert is_same_expiry(NOW, NOW + timedelta(seconds=3))
    assert not is_same_expiry(NOW, NOW + timedelta(minutes=3))
    assert is_same_expiry(None, None)
    assert not is_same_expiry(None, NOW)


def explained(error, *, expires_at=None, has_secrets=True):
    stored = StoredCredentials("work", has_secrets, expires_at)
    stored.explain(error)
    stored.explain(error)  # an error may pass by twice
    return error.message, error.hint


PAST = datetime(2020, 1, 2, 3, tzinfo=UTC)
ROTATE = "deploycore provider rotate work"


@pytest.mark.parametrize(
    "error", [AuthenticationFailed("No.", hint="Check it."), RemoteRefused("No.", status=401)]
)
def test_an_expiry_in_the_past_is_reported_first(error):
    message, hint = explained(error, expires_at=PAST)
    assert message == "The credentials of provider work expired on 2020-01-02. No."
    assert str(error) == message
    assert hint.startswith(f"Replace them: {ROTATE}")


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (
            AuthenticationFailed("No.", hint="Make a new token"),
            f"Make a new token. Then replace the stored secret: {ROTATE}",
        ),
        (AuthenticationFailed("No."), f"Then replace the stored secret: {ROTATE}"),
        (
            PermissionDenied("No.", hint="Create a token with the scope x."),
            f"Create a token with the scope x. Then replace the stored secret: {ROTATE}",
        ),
        (PermissionDenied("No.", hint="Ask the owner."), "Ask the owner."),
        (
            AuthenticationFailed("No.", hint="Sign in: deploycore provider authorize work"),
            "Sign in: deploycore provider authorize work",
        ),
        (NotFound("No.", hint="Make a new token."), "Make a new token."),
        (RemoteRefused("No.", status=404), ""),
    ],
)
def test_the_hint_for_a_rejected_secret_contains_the_command(error, hint):
    assert explained(error, expires_at=datetime.now(UTC) + timedelta(days=1)) == ("No.", hint)


def test_a_provider_without_secrets_gets_no_hint_to_replace_them():
    error = AuthenticationFailed("No.", hint="Make a token.")
    assert explained(error, expires_at=PAST, has_secrets=False) == ("No.", "Make a token.")


def test_the_hint_for_a_signed_in_provider_suggests_a_new_sign_in():
    stored = StoredCredentials("work", True, PAST, is_signed_in=True)
    error = AuthenticationFailed("No.", hint="Check it.")
    stored.explain(error)
    assert error.hint.startswith("Replace them: deploycore provider authorize work")
