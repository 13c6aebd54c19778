"""The kit's checks of deployments, and of signatures in a host's own form, fail for a faulty
plugin, and say why."""

from __future__ import annotations

import pytest
from deploycore.testing.contract.statuses import HostDeployments
from tests.testing.kit import run_broken

from deploycore_gitlab.contract import GitLabContract

MODULE = """
from deploycore.errors import DeploycoreError, NotFound
from deploycore.hookspecs import hookimpl
from deploycore_gitlab import GitLabProvider as Right, statuses, webhooks
from deploycore_gitlab.contract import GitLabContract

{change}

class TestBroken(GitLabContract):
    pass
"""

EMPTY_SECRET = """
webhooks.is_proved = lambda delivery, secrets: delivery.headers.get("webhook-signature") in [
    webhooks.signature(delivery, secret) for secret in secrets
]
"""
NOT_SAID = "del GitLabContract.forged"
ANYTHING_SIGNS = """
right = webhooks._is_signed
webhooks._is_signed = lambda delivery, secrets: bool(secrets) and (
    delivery.headers["webhook-signature"].startswith("v1,")
)
"""
WITHOUT_THE_BODY = """
from dataclasses import replace
right, bare = webhooks.signature, b""
from deploycore_gitlab.sandbox import hooks
webhooks.signature = lambda delivery, secret: right(replace(delivery, body=b""), secret)
made = hooks.delivery_headers
from deploycore_gitlab.sandbox import sandbox
sandbox.delivery_headers = lambda hook, body, root: made(hook, b"", root)
"""
ALWAYS_A_NEW_ONE = "statuses.present_deployment = lambda newest, status: None"
NEVER_ENDED = """
statuses.present_deployment = lambda newest, status: next(
    (each for each in newest if each.sha == status.commit), None
)
"""
SWALLOWS = """
right = Right.report_deployment
def report_deployment(self, repository, status):
    try:
        return right(self, repository, status)
    except {error}:
        return True
Right.report_deployment = hookimpl(report_deployment)
"""
ONLY_BEGINNINGS = """
right = Right.report_deployment
def report_deployment(self, repository, status):
    return status.state != "in_progress" or right(self, repository, status)
Right.report_deployment = hookimpl(report_deployment)
"""

WRONG = {
    "empty-secret": (EMPTY_SECRET, "test_an_empty_secret_proves_nothing"),
    "not-said": (NOT_SAID, "test_an_empty_secret_proves_nothing"),
    "anything-signs": (ANYTHING_SIGNS, "test_a_proof_that_is_missing_or_another_is_refused"),
    "without-the-body": (WITHOUT_THE_BODY, "test_a_body_that_was_changed_is_refused"),
    "always-new": (ALWAYS_A_NEW_ONE, "test_a_deployment_is_shown_once_and_kept_up_to_date"),
    "never-ended": (NEVER_ENDED, "test_another_deployment_of_the_commit_is_another"),
    "no-ends": (
        ONLY_BEGINNINGS,
        "test_a_deployment_of_which_only_one_report_comes_is_shown",
    ),
    "of-nothing": (
        SWALLOWS.format(error="NotFound"),
        "test_a_deployment_of_a_commit_or_repository_that_is_not_there_is_not_found",
    ),
    "silent": (
        SWALLOWS.format(error="DeploycoreError"),
        "test_what_goes_wrong_with_deployments_is_a_typed_error",
    ),
}


def run(change, check, directory):
    return run_broken(directory, MODULE.format(change=change), [check])


@pytest.mark.parametrize(("change", "check"), WRONG.values(), ids=WRONG)
def test_an_incorrect_plugin_is_detected_with_the_requirement(tmp_path, change, check):
    done = run(change, check, tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "The contract requires of" in done.stdout


def test_every_check_of_deployments_detects_something():
    checks = {name for name in vars(HostDeployments) if name.startswith("test_")}
    assert checks <= {name for _, name in WRONG.values()}


def test_every_expected_check_exists_in_the_contract():
    """``test_contract.py`` runs all of them on the right plugin."""
    assert [check for _, check in WRONG.values() if not hasattr(GitLabContract, check)] == []


def test_the_correct_plugin_passes_in_the_same_way(tmp_path):
    done = run("", "test_an_empty_secret_proves_nothing", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
