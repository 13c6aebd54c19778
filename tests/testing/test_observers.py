"""The functions that create records for tests of observers."""

from __future__ import annotations

from dataclasses import fields

import pytest

from deploycore.events import DeploymentRecord
from deploycore.testing.observers import make_deployment, make_provider_call


def test_a_test_deployment_has_every_field_and_the_given_changes():
    made = make_deployment(state="failed", error_code="timed_out", pull_request=3)
    assert (made.state, made.error_code, made.pull_request) == ("failed", "timed_out", 3)
    assert made.is_finished
    optional = {"previous", "error_code", "error", "previous_commit", "removed_at", "pull_request"}
    plain = make_deployment()
    unset = {each.name for each in fields(DeploymentRecord) if getattr(plain, each.name) is None}
    assert unset == optional


def test_an_unknown_field_is_an_error():
    with pytest.raises(TypeError, match="aplication"):
        make_deployment(aplication="shop")
    with pytest.raises(TypeError, match="arg"):
        make_provider_call(arg={})


def test_a_test_provider_call_has_the_given_changes():
    made = make_provider_call(hook="remove_webhook", arguments={"webhook": "3"})
    assert (made.provider, made.hook, made.arguments) == (
        "work",
        "remove_webhook",
        {"webhook": "3"},
    )
