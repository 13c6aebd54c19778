"""Tests of what is specific to Acme."""

from __future__ import annotations

import pytest
from deploycore.configuration import parse_config
from deploycore.errors import ConfigurationError, PermissionDenied
from deploycore.http import ErrorAnswer

from deploycore_acme import AcmeProvider
from deploycore_acme.provider import explain


# EDIT 12: tests of what is specific to the host
@pytest.mark.parametrize(
    "url",
    [
        "acme.example",
        "http://acme.example",
        "https://a@acme.example",
    ],
)
def test_an_invalid_address_is_rejected(url):
    with pytest.raises(ConfigurationError, match="url: "):
        parse_config(
            AcmeProvider.Config,
            {"name": "work", "url": url, "owner": "ada", "token": "made-up"},
            kind="acme",
        )


def test_a_403_error_names_the_scope_to_ask_for():
    answer = ErrorAnswer(status=403, method="GET", path="/api/v1/user", headers={}, text="")
    error = explain(answer)
    assert isinstance(error, PermissionDenied)
    assert "repositories:read" in error.hint
