"""The error classes: stable codes for programs, sentences for people."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from deploycore import errors


def all_errors() -> list[type[errors.DeploycoreError]]:
    return [getattr(errors, name) for name in errors.__all__]


def test_every_error_is_public_and_in_the_documented_tree():
    assert {error.__name__ for error in all_errors()} == {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    for error in all_errors():
        assert error.__name__ in errors.__doc__


def test_codes_are_unique_and_exit_codes_are_valid():
    codes = [error.code for error in all_errors()]
    assert len(set(codes)) == len(codes)
    assert all(1 <= error.exit_code <= 255 and error.exit_code != 2 for error in all_errors())


def test_the_json_form_has_code_message_hint_and_details():
    error = errors.NotFound("No repository x.", hint="Look.", repository="a/x", ignored=None)
    error.add_context(provider="work", repository="other", plugin=None)
    assert json.loads(json.dumps(error.as_dict())) == {
        "code": "not_found",
        "message": "No repository x.",
        "hint": "Look.",
        "details": {"repository": "a/x", "provider": "work"},
    }
    assert str(error) == "No repository x. [provider work]"


@pytest.mark.parametrize(
    ("retry_at", "told"),
    [(None, {}), (datetime(2026, 1, 2, tzinfo=UTC), {"retry_at": "2026-01-02T00:00:00Z"})],
)
def test_a_rate_limit_error_has_the_retry_time_if_known(retry_at, told):
    error = errors.RateLimited("Too many.", retry_at=retry_at)
    assert error.retry_at == retry_at
    assert error.details == told
