"""The kit's checks of reports that take more than one request fail for a plugin that is wrong."""

from __future__ import annotations

import pytest

from tests.testing.kit import run_broken

MODULE = """
from deploycore.errors import PermissionDenied
from deploycore.http import HttpClient
from deploycore_github import GitHubProvider as Right
from deploycore_github.contract import GitHubContract

{change}

class TestBroken(GitHubContract):
    pass
"""
LATER_REFUSALS_ARE_NOTHING = """
right = HttpClient.send_json
def send_json(self, method, url, **named):
    try:
        return right(self, method, url, **named)
    except PermissionDenied:
        if "deployments/" not in url:
            raise
HttpClient.send_json = send_json
"""
TRIES_AGAIN = """
right = Right._asking
Right._asking = lambda self, *given, **named: right(self, *given, **named).repeating("POST")
"""
WRONG = {
    "later-refusals": (
        LATER_REFUSALS_ARE_NOTHING,
        "test_what_goes_wrong_later_in_a_report_is_a_typed_error",
    ),
    "tries-again": (TRIES_AGAIN, "test_a_deployment_is_not_added_twice"),
}


def run(change, check, directory):
    return run_broken(directory, MODULE.format(change=change), [check])


@pytest.mark.parametrize(("change", "check"), WRONG.values(), ids=WRONG)
def test_an_incorrect_plugin_is_detected_with_the_requirement(tmp_path, change, check):
    done = run(change, check, tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "The contract requires of" in done.stdout
    assert run("", check, tmp_path).returncode == 0
