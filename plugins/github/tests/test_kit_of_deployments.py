"""The kit's checks of reports that take more than one request fail for a plugin that is wrong."""

from __future__ import annotations

import os

import pytest

from tests import forked

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
    module = directory / "test_broken.py"
    module.write_text(MODULE.format(change=change))
    (directory / "none.ini").write_text("[pytest]\n")
    options = ["-q", "-c", str(directory / "none.ini"), "-p", "no:cacheprovider", "-p", "no:xdist"]
    return forked.run(
        "pytest",
        [str(module), "-k", check, *options],
        directory=directory,
        environment={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""},
    )


@pytest.mark.parametrize(("change", "check"), WRONG.values(), ids=WRONG)
def test_a_wrong_plugin_is_caught_and_told_what_is_asked(tmp_path, change, check):
    done = run(change, check, tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "The contract requires of" in done.stdout
    assert run("", check, tmp_path).returncode == 0
