"""Tests of what is specific to Lantern."""

from __future__ import annotations

from deploycore.errors import PermissionDenied
from deploycore.http import ErrorAnswer

from deploycore_lantern.provider import explain


def test_a_403_error_names_the_scope_to_ask_for():
    answer = ErrorAnswer(status=403, method="GET", path="/api/me", headers={}, text="")
    error = explain(answer)
    assert isinstance(error, PermissionDenied)
    assert "code:read" in error.hint
