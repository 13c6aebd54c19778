"""Triggers, webhooks and tokens in the store."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from deploycore.errors import ConfigurationError


@pytest.fixture
def shop(store, provider, application):
    """The store, with an application ``shop``."""
    store.add_provider(provider())
    store.add_application(application("shop"))
    store.add_application(application("blog"))
    return store


def test_a_trigger_is_identified_by_delivery_or_digest_per_application(shop):
    first = shop.triggers.add("shop", cause="push", ref="main", delivery="d", digest="x")
    assert first is not None
    assert shop.triggers.add("shop", cause="push", delivery="d", digest="y") is None
    assert shop.triggers.add("shop", cause="push", delivery="e", digest="x") is None
    assert shop.triggers.add("blog", cause="push", delivery="d", digest="x") is not None
    assert shop.triggers.add("shop", cause="poll") is not None
    assert shop.triggers.add("shop", cause="poll", delivery="", digest=None) is not None
    assert shop.triggers.get(first.id) == first


def test_a_trigger_of_an_unknown_application_is_refused(shop):
    with pytest.raises(ConfigurationError, match="no application 'nope'"):
        shop.triggers.add("nope", cause="push", delivery="d")
    with pytest.raises(ConfigurationError, match="no trigger 9"):
        shop.triggers.get(9)


def test_the_latest_trigger_is_selected_per_ref(shop):
    assert shop.triggers.newest("shop", "main") is None
    shop.triggers.add("shop", cause="push", ref="main", commit="a")
    newest = shop.triggers.add("shop", cause="push", ref="main", commit="b")
    shop.triggers.add("shop", cause="push", ref="next", commit="c")
    shop.triggers.add("blog", cause="push", ref="main", commit="d")
    assert shop.triggers.newest("shop", "main") == newest


def test_only_one_of_several_threads_adds_the_same_trigger(shop):
    found, barrier = [], threading.Barrier(8)

    def add():
        barrier.wait()
        found.append(shop.triggers.add("shop", cause="push", delivery="d", digest="x"))

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([each for each in found if each is not None]) == 1
    assert len(found) == 8


def test_triggers_are_counted(shop):
    assert shop.triggers.counts().due == 0
    shop.triggers.add("shop", cause="poll")
    counts = shop.triggers.counts()
    assert (counts.due, counts.postponed, counts.deployed, counts.failed) == (1, 0, 0, 0)
    assert counts.oldest_seconds >= 0


def test_deployments_are_counted_by_state(shop):
    for _ in range(3):
        shop.deployments.request("shop", ref="main")
    assert shop.deployments.count_by_state() == {"superseded": 2, "queued": 1}


def test_removing_an_application_deletes_its_triggers_and_webhook(shop):
    shop.triggers.add("shop", cause="poll")
    shop.webhooks.add("shop", "env:SECRET")
    shop.remove_application("shop")
    assert (shop.triggers.counts().due, shop.webhooks.list()) == (0, [])


def test_the_delivery_and_host_of_a_webhook_are_recorded(shop):
    shop.webhooks.add("shop", "env:SECRET")
    shop.webhooks.note_host("shop", hosts_id="7", url="https://x.example/webhooks/shop")
    shop.webhooks.note_delivery("shop")
    shop.webhooks.note_delivery("blog")
    record = shop.webhooks.get("shop")
    assert (record.hosts_id, record.url) == ("7", "https://x.example/webhooks/shop")
    assert record.delivered_at is not None


@pytest.mark.parametrize("operation", ["note_host", "end_rotation", "begin_rotation", "remove"])
def test_an_unknown_webhook_cannot_be_changed(shop, operation):
    arguments = {
        "note_host": {"hosts_id": "7", "url": "u"},
        "end_rotation": {"former_until": datetime.now(UTC)},
        "begin_rotation": {"secret": "env:NEW"},
        "remove": {},
    }[operation]
    with pytest.raises(ConfigurationError, match="'shop' has no webhook"):
        getattr(shop.webhooks, operation)("shop", **arguments)


def test_tokens_are_added_listed_and_removed(store):
    until = datetime.now(UTC) + timedelta(days=1)
    made = store.tokens.add("ci", digest="1" * 64, role="deploy", expires_at=until)
    store.tokens.note_use("ci")
    store.tokens.note_use("gone")
    [found] = store.tokens.list()
    assert (found.name, found.role, found.digest) == ("ci", "deploy", made.digest)
    assert (found.expires_at, found.used_at is None) == (until, False)
    assert "1" * 64 not in repr(found)
    with pytest.raises(ConfigurationError, match="is already used"):
        store.tokens.add("ci", digest="2" * 64, role="read", expires_at=None)
    with pytest.raises(ConfigurationError, match="is not a valid name"):
        store.tokens.add("c i", digest="2" * 64, role="read", expires_at=None)
    store.tokens.remove("ci")
    with pytest.raises(ConfigurationError, match="no token 'ci'"):
        store.tokens.remove("ci")
