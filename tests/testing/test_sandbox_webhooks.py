"""Webhooks and statuses in the base class of sandboxes."""

from __future__ import annotations

import json

import pytest
from pydantic import SecretStr

from deploycore.testing.messages import Refusal
from deploycore.testing.sandbox import Sandbox
from deploycore.testing.scenarios import ONE, WebhookHost
from deploycore.testing.webhooks import Event, Hook, Listener, ShownStatus, hmac_sha256

SECRET = SecretStr("It's a Secret to Everybody")


class Harbour(Sandbox):
    def settings(self, credential):
        return {}

    def routes(self):
        return {}

    def push_event(self, repository, updates):
        told = [[update.kind, update.name, update.before, update.after] for update in updates]
        return Event("push", json.dumps([repository.full_name, told]).encode())

    def webhook_headers(self, hook, body):
        return {"X-Signature": hmac_sha256(hook.secret, body)}


@pytest.fixture
def harbour():
    with Harbour() as running:
        yield running


@pytest.fixture
def listener():
    with Listener() as running:
        yield running


class Lighthouse(Harbour):
    """Tells of each branch and tag apart."""

    def push_events(self, repository, updates):
        return [self.push_event(repository, [update]) for update in updates]


def test_the_sandbox_implements_the_webhook_interface_of_the_kit(harbour):
    assert isinstance(harbour, WebhookHost)


def test_all_changes_of_branches_and_tags_are_delivered(harbour, listener):
    start = harbour.publish("ada", "shop", "main", {"a": b"1"}, "Start")
    hook = Hook("1", "ada/shop", listener.address, ("push",), SECRET)
    harbour.webhooks.put(hook)
    after = harbour.publish("ada", "shop", "main", {"a": b"2"}, "Next")
    harbour.publish("ada", "notes", "main", {"a": b"2"}, "Elsewhere")
    harbour.add_tag("ada", "shop", "v1", at=after)
    harbour.delete_branches("ada", "shop", ["main"])
    assert harbour.webhooks.wait()
    assert [json.loads(found.body) for found in listener.received] == [
        ["ada/shop", [["branch", "main", start, after]]],
        ["ada/shop", [["tag", "v1", None, after]]],
        ["ada/shop", [["branch", "main", after, None]]],
    ]
    found = listener.received[0]
    assert found.headers["x-signature"] == hmac_sha256(SECRET, found.body)
    assert SECRET in list(harbour.secrets)


def test_an_event_can_be_sent_to_one_webhook_that_did_not_subscribe_to_it(harbour, listener):
    for id in ("1", "2"):
        hook = harbour.webhooks.put(
            Hook(id, "ada/shop", f"{listener.url}/{id}", ("push",), SECRET, active=False)
        )
    harbour.webhooks.send(hook, Event("ping", b"{}", {"X-Event": "ping"}))
    assert harbour.webhooks.wait()
    (found,) = listener.received
    assert found.headers["x-event"] == "ping"
    assert found.headers["x-signature"] == hmac_sha256(SECRET, b"{}")
    assert [sent.hook.id for sent in harbour.webhooks.deliveries] == ["2"]


def test_a_host_without_webhooks_delivers_nothing(listener):
    class Silent(Harbour):
        push_event = Sandbox.push_event

    with Silent() as silent:
        silent.publish("ada", "shop", "main", {"a": b"1"}, "Start")
        silent.webhooks.put(Hook("1", "ada/shop", listener.address, ("push",), SECRET))
        silent.publish("ada", "shop", "main", {"a": b"2"}, "Next")
        assert silent.webhooks.wait()
    assert listener.received == []


def test_a_scenario_starts_without_webhooks(harbour, listener):
    harbour.webhooks.put(Hook("1", "ada/shop", listener.address, ("push",), SECRET))
    harbour.arrange(ONE)
    assert harbour.webhooks.of("ada/shop") == []


def test_a_status_is_shown_for_an_existing_commit(harbour):
    commit = harbour.publish("ada", "shop", "main", {"a": b"1"}, "Start")
    row = harbour.repository("ada", "shop")
    harbour.show_status(row, commit, ShownStatus("key", "failed"))
    harbour.show_status(row, commit, ShownStatus("key", "successful"))
    assert harbour.statuses("ada", "shop", commit) == [ShownStatus("key", "successful")]
    for wrong in ("0" * 40, "main"):
        with pytest.raises(Refusal):
            harbour.show_status(row, wrong, ShownStatus("key", "failed"))


def test_a_host_can_deliver_each_branch_of_a_push_separately(listener):
    with Lighthouse() as lighthouse:
        start = lighthouse.publish("ada", "shop", "main", {"a": b"1"}, "Start")
        lighthouse.webhooks.put(Hook("1", "ada/shop", listener.address, ("push",), SECRET))
        row = lighthouse.find("ada", "shop")
        lighthouse.git.add_branches(row, {"develop": start, "topic": start})
        assert lighthouse.webhooks.wait()
    assert [json.loads(found.body) for found in listener.received] == [
        ["ada/shop", [["branch", "develop", None, start]]],
        ["ada/shop", [["branch", "topic", None, start]]],
    ]


def test_all_hooks_and_tags_are_shown(harbour):
    start = harbour.publish("ada", "shop", "main", {"a": b"1"}, "Start")
    harbour.add_tag("ada", "shop", "v1", at=start)
    assert harbour.git.tags(harbour.find("ada", "shop")) == {"v1": start}
    hooks = [Hook(number, f"ada/{number}", "http://127.0.0.1/") for number in "12"]
    for hook in hooks:
        harbour.webhooks.put(hook)
    assert harbour.webhooks.all == hooks
