"""The kit's checks of webhooks and statuses fail for a plugin that is wrong, and say why."""

from __future__ import annotations

import pytest
from deploycore_bitbucket.contract import BitbucketContract

from deploycore.testing.contract import Deliveries, Registering, Statuses, Writing
from tests.testing.kit import run_broken

MODULE = """
import hashlib
import hmac
from deploycore.errors import DeploycoreError, NotFound, PermissionDenied
from deploycore.events import Delivered, hmac_sha256_matches
from deploycore.hookspecs import hookimpl
from deploycore_bitbucket import BitbucketProvider as Right, webhooks
from deploycore_bitbucket.contract import BitbucketContract
from deploycore_bitbucket.provider import _hooks

{change}

class TestBroken(BitbucketContract):
    pass
"""

EVERYTHING_IS_SIGNED = "webhooks.is_signed = lambda delivery, secrets: True"
NOTHING_IS_SIGNED = "webhooks.is_signed = lambda delivery, secrets: False"
ONE_SECRET = """
right = webhooks.is_signed
webhooks.is_signed = lambda delivery, secrets: right(delivery, secrets[:1])
"""
WITHOUT_A_PROOF_IS_FINE = """
right = webhooks.is_signed
webhooks.is_signed = lambda delivery, secrets: (
    "x-hub-signature" not in delivery.headers or right(delivery, secrets)
)
"""
ANY_ALGORITHM = """
webhooks.is_signed = lambda delivery, secrets: hmac_sha256_matches(
    delivery.body, delivery.headers.get("x-hub-signature", "").rpartition("=")[2], secrets
)
"""
BEGINNING_IS_ENOUGH = """
def is_signed(delivery, secrets):
    given = delivery.headers.get("x-hub-signature", "")
    return any(
        given and ("sha256=" + hmac.new(s.get_secret_value().encode(), delivery.body, "sha256")
        .hexdigest()).startswith(given) for s in secrets if s.get_secret_value()
    )
webhooks.is_signed = is_signed
"""
EMPTY_SECRET = """
def is_signed(delivery, secrets):
    given = delivery.headers.get("x-hub-signature", "")
    return any(
        given == "sha256=" + hmac.new(
            s.get_secret_value().encode(), delivery.body, "sha256"
        ).hexdigest() for s in secrets
    )
webhooks.is_signed = is_signed
"""
DECODED_BODY = """
import json
def is_signed(delivery, secrets):
    from deploycore.events import WebhookDelivery
    given = delivery.headers.get("x-hub-signature", "").removeprefix("sha256=")
    return hmac_sha256_matches(json.dumps(json.loads(delivery.body)).encode(), given, secrets)
webhooks.is_signed = is_signed
"""
LENIENT = """
right = webhooks.delivered
def delivered(delivery):
    try:
        return right(delivery)
    except Exception:
        return Delivered()
webhooks.delivered = delivered
"""
FOREIGN_ERRORS = """
import json
right = webhooks.delivered
def delivered(delivery):
    json.loads(delivery.body)["push"]["changes"]
    return right(delivery)
webhooks.delivered = delivered
"""
NO_DELETIONS = """
right = webhooks.delivered
def delivered(delivery):
    found = right(delivery)
    event = found.events[0]
    left = tuple(change for change in event.changes if change.after)
    return found.model_copy(update={"events": (event.model_copy(update={"changes": left}),)})
webhooks.delivered = delivered
"""
ALWAYS_ANOTHER = """
import itertools
numbers = itertools.count()
right = webhooks.delivered
webhooks.delivered = lambda delivery: right(delivery).model_copy(
    update={"delivery": str(next(numbers))}
)
"""
ALWAYS_A_NEW_ONE = """
import deploycore_bitbucket.provider
Right._webhooks_right = Right._webhooks
Right.register_webhook = hookimpl(lambda self, repository, url, secret: webhooks.webhook_from(
    self._asking(repository.owner, repository, action="register webhook").send_json(
        "POST", _hooks(repository), body=webhooks.subscription(url, secret)
    )
))
"""
REMOVAL_RAISES = """
def remove_webhook(self, repository, webhook):
    http = self._asking(repository.owner, repository, action="remove webhook")
    http.send_json("DELETE", _hooks(repository, webhook))
    return True
Right.remove_webhook = hookimpl(remove_webhook)
"""
NO_STATUS = "Right.report_status = hookimpl(lambda self, repository, status: True)"
LEAKING = """
from deploycore.errors import ProviderError
right = Right.register_webhook
def register_webhook(self, repository, url, secret):
    try:
        return right(self, repository, url, secret)
    except Exception as error:
        import logging
        logging.getLogger("plugin").debug("refused: %s", secret.get_secret_value())
        raise
Right.register_webhook = hookimpl(register_webhook)
"""
NO_BEFORE = """
right = webhooks._ref_change
webhooks._ref_change = lambda change: right(change).model_copy(update={"before": None})
"""
TAGS_ARE_BRANCHES = """
right = webhooks._ref_change
webhooks._ref_change = lambda change: right(change).model_copy(update={"kind": "branch"})
"""
FIRST_PAGE_ALONE = """
from itertools import islice
right = Right._webhooks
Right._webhooks = lambda self, http, repository: islice(right(self, http, repository), 10)
"""
REGISTERING_SEES_THE_FIRST_PAGE = """
from itertools import islice
listing, registering = Right._webhooks, Right.register_webhook
def register_webhook(self, repository, url, secret):
    self._webhooks = lambda http, repository: islice(listing(self, http, repository), 10)
    try:
        return registering(self, repository, url, secret)
    finally:
        del self._webhooks
Right.register_webhook = hookimpl(register_webhook)
"""
LATER_PAGES_MAY_BE_REFUSED = """
right = Right._webhooks
def _webhooks(self, http, repository):
    given = False
    try:
        for webhook in right(self, http, repository):
            given = True
            yield webhook
    except PermissionDenied:
        if not given:
            raise
Right._webhooks = _webhooks
"""
TRIES_AGAIN = """
right = Right._asking
Right._asking = lambda self, *given, **named: right(self, *given, **named).repeating("POST")
"""
NO_SCOPE_IS_NAMED = """
def unexplained(right):
    @hookimpl
    def hook({arguments}):
        try:
            return right({arguments})
        except PermissionDenied:
            raise PermissionDenied("The host does not want that.", hint="Ask the host.") from None
    return hook
Right.{hook} = unexplained(Right.{hook})
"""
NOTHING_IS_NOT_FOUND = """
def list_webhooks(self, repository):
    http = self._asking(repository.owner, repository, action="list webhooks")
    try:
        return list(self._webhooks(http, repository))
    except NotFound:
        return []
Right.list_webhooks = hookimpl(list_webhooks)
"""
SWALLOWS = """
def swallowing(right):
    @hookimpl
    def hook({arguments}):
        try:
            return right({arguments})
        except {errors}:
            return {instead}
    return hook
Right.{hook} = swallowing(Right.{hook})
"""
FOLLOWS = """
import requests
def register_webhook(self, repository, url, secret):
    wanted = {**webhooks.subscription(url, secret), "secret": secret.get_secret_value()}
    address = f"{self._config.api_base_url}{_hooks(repository)}"
    return webhooks.webhook_from(requests.post(address, json=wanted).json())
Right.register_webhook = hookimpl(register_webhook)
"""
NO_ADDRESS = """
from deploycore_bitbucket import statuses
right = statuses.build_status
statuses.build_status = lambda status, *given, **more: right(
    status.model_copy(update={"url": ""}), *given, **more
)
"""
REGISTERING = "self, repository, url, secret"
REPORTING = "self, repository, status"
SILENT_STATUS = {"hook": "report_status", "arguments": REPORTING, "instead": "True"}
SILENT_REMOVAL = {
    "hook": "remove_webhook",
    "arguments": "self, repository, webhook",
    "instead": "False",
    "errors": "DeploycoreError",
}

WRONG = {
    "no-before": (NO_BEFORE, "test_a_push_says_what_moved"),
    "tags-are-branches": (TAGS_ARE_BRANCHES, "test_a_tag_is_no_branch"),
    "first-page": (FIRST_PAGE_ALONE, "test_webhooks_of_other_addresses_are_left_alone"),
    "registering-first-page": (
        REGISTERING_SEES_THE_FIRST_PAGE,
        "test_webhooks_of_later_pages_are_known",
    ),
    "later-pages": (
        LATER_PAGES_MAY_BE_REFUSED,
        "test_what_goes_wrong_later_about_webhooks_is_a_typed_error",
    ),
    "tries-again": (TRIES_AGAIN, "test_a_webhook_is_not_made_twice"),
    "no-webhook-scope": (
        NO_SCOPE_IS_NAMED.format(hook="register_webhook", arguments=REGISTERING),
        "test_a_missing_scope_for_webhooks_is_named",
    ),
    "no-status-scope": (
        NO_SCOPE_IS_NAMED.format(hook="report_status", arguments=REPORTING),
        "test_a_missing_scope_for_statuses_is_named",
    ),
    "nothing-is-not-found": (
        NOTHING_IS_NOT_FOUND,
        "test_a_repository_that_is_not_there_has_no_webhooks",
    ),
    "status-of-nothing": (
        SWALLOWS.format(errors="NotFound", **SILENT_STATUS),
        "test_a_status_of_a_commit_or_repository_that_is_not_there_is_not_found",
    ),
    "silent-removal": (
        SWALLOWS.format(**SILENT_REMOVAL),
        "test_what_goes_wrong_with_webhooks_is_a_typed_error",
    ),
    "silent-status": (
        SWALLOWS.format(errors="DeploycoreError", **SILENT_STATUS),
        "test_what_goes_wrong_with_statuses_is_a_typed_error",
    ),
    "follows": (FOLLOWS, "test_the_secret_of_a_webhook_is_not_sent_on"),
    "no-address": (NO_ADDRESS, "test_a_status_of_all_there_is_to_tell_is_shown"),
    "everything-is-signed": (EVERYTHING_IS_SIGNED, "test_other_secrets_prove_nothing"),
    "nothing-is-signed": (NOTHING_IS_SIGNED, "test_a_delivery_is_proved_by_its_secret"),
    "one-secret": (ONE_SECRET, "test_a_delivery_is_proved_by_its_secret"),
    "no-proof": (WITHOUT_A_PROOF_IS_FINE, "test_a_proof_that_is_missing_or_another_is_refused"),
    "any-algorithm": (ANY_ALGORITHM, "test_a_proof_that_is_missing_or_another_is_refused"),
    "beginning": (BEGINNING_IS_ENOUGH, "test_a_proof_that_is_missing_or_another_is_refused"),
    "empty-secret": (EMPTY_SECRET, "test_an_empty_secret_proves_nothing"),
    "decoded-body": (DECODED_BODY, "test_a_body_that_was_changed_is_refused"),
    "lenient": (LENIENT, "test_what_is_no_delivery_is_an_unexpected_answer"),
    "foreign-errors": (FOREIGN_ERRORS, "test_any_damage_is_an_event_or_an_unexpected_answer"),
    "no-deletions": (NO_DELETIONS, "test_a_push_says_what_was_made_and_deleted"),
    "always-another": (
        ALWAYS_ANOTHER,
        "test_a_replay_has_the_same_identifier_and_another_push_another",
    ),
    "always-new": (ALWAYS_A_NEW_ONE, "test_registering_again_changes_what_is_there"),
    "removal-raises": (REMOVAL_RAISES, "test_each_mode_registers_lists_and_removes"),
    "no-status": (NO_STATUS, "test_a_status_is_shown_and_replaced_by_its_key"),
    "leaking": (LEAKING, "test_the_secret_of_a_webhook_shows_nowhere"),
}


def run(change, check, directory):
    return run_broken(directory, MODULE.format(change=change), [check])


@pytest.mark.parametrize(("change", "check"), WRONG.values(), ids=WRONG)
def test_an_incorrect_plugin_is_detected_with_the_requirement(tmp_path, change, check):
    done = run(change, check, tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "The contract requires of" in done.stdout or "NotFound" in done.stdout


def test_every_check_of_webhooks_and_statuses_detects_something():
    named = {name for _, name in WRONG.values()}
    assert named == {
        name
        for group in (Deliveries, Registering, Statuses, Writing)
        for name in vars(group)
        if name.startswith("test_")
    } - {
        # Checks of features that Bitbucket does not have; GitHub's plugin tests them.
        "test_what_goes_wrong_later_in_a_report_is_a_typed_error",
        "test_a_deployment_is_not_added_twice",
    }


def test_every_expected_check_exists_in_the_contract():
    """``test_contract.py`` runs all of them on the right plugin."""
    assert [check for _, check in WRONG.values() if not hasattr(BitbucketContract, check)] == []


def test_the_correct_plugin_passes_in_the_same_way(tmp_path):
    done = run("", "test_an_empty_secret_proves_nothing", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
