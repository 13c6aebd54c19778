"""Webhook deliveries in the store: the last ones of each application, and counts of the refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from deploycore.store import DeliveryRecord
from deploycore.store.deliveries import DELIVERIES_MOST

AT = datetime(2026, 11, 29, 10, 0, tzinfo=UTC)


@pytest.fixture
def shop(store, provider, application):
    """The store, with applications ``shop`` and ``blog``."""
    store.add_provider(provider())
    store.add_application(application("shop"))
    store.add_application(application("blog"))
    return store


def delivery(number=0, *, application="shop", outcome="accepted", count=1, **more):
    given = {
        "reason": "",
        "message": "",
        "event": "push",
        "ref": f"branch-{number}",
        "commit": "a" * 40,
        "actor": "ada",
        "sender": "192.0.2.1",
        "delivery": f"delivery-{number}",
        "trigger": None,
        "received_at": AT + timedelta(seconds=number),
        "first_at": AT + timedelta(seconds=number),
    }
    return DeliveryRecord(application=application, outcome=outcome, count=count, **given | more)


def test_the_most_recent_deliveries_of_an_application_are_kept(shop):
    shop.deliveries.add([delivery(application="blog")])
    for first in range(0, 120, 40):
        shop.deliveries.add(delivery(number) for number in range(first, first + 40))
    found = shop.deliveries.list("shop", limit=1000)
    assert [each.ref for each in found] == [
        f"branch-{number}" for number in range(119, 119 - DELIVERIES_MOST, -1)
    ]
    assert [each.ref for each in shop.deliveries.list("blog")] == ["branch-0"]
    (first, second) = shop.deliveries.list("shop", limit=2)
    assert shop.deliveries.list("shop", before=first.id, limit=1) == [second]


def test_a_delivery_links_to_its_trigger_and_deployment(shop):
    trigger = shop.triggers.add("shop", cause="push")
    shop.deliveries.add([delivery(trigger=trigger.id), delivery(outcome="ignored", reason="ping")])
    ignored, accepted = shop.deliveries.list("shop")
    assert (accepted.trigger, accepted.deployment) == (trigger.id, None)
    assert (ignored.trigger, ignored.reason) == (None, "ping")
    deployment = shop.deployments.request("shop", ref="main")
    shop.triggers.settle([trigger.id], deployment=deployment.id)
    assert shop.deliveries.list("shop")[1].deployment == deployment.id


def test_rejected_deliveries_are_counted_by_reason(shop):
    wrong = {"outcome": "refused", "reason": "bad_signature"}
    shop.deliveries.add([delivery(1, **wrong, count=7), delivery(2, outcome="dropped")])
    shop.deliveries.add([delivery(9, **wrong, sender="192.0.2.9", count=2)])
    shop.deliveries.add(delivery(number, application="blog", **wrong) for number in range(3))
    for first in range(0, 100, 50):
        shop.deliveries.add(delivery(number) for number in range(first, first + 50))
    refused, dropped = shop.deliveries.list_refused("shop")
    assert (refused.reason, refused.count, refused.sender) == ("bad_signature", 9, "192.0.2.9")
    assert refused.received_at - refused.first_at == timedelta(seconds=8)
    assert (dropped.outcome, dropped.count) == ("dropped", 1)
    assert [each.count for each in shop.deliveries.list_refused("blog")] == [3]
    assert len(shop.deliveries.list("shop", limit=1000)) == DELIVERIES_MOST


def test_deliveries_of_unknown_applications_are_not_stored(shop):
    gone = {"application": "gone", "reason": "stale"}
    shop.deliveries.add([delivery(1), delivery(2, **gone), delivery(3, **gone, outcome="refused")])
    assert [each.ref for each in shop.deliveries.list("shop")] == ["branch-1"]
    assert (shop.deliveries.list("gone"), shop.deliveries.list_refused("gone")) == ([], [])


def test_removing_an_application_deletes_its_deliveries(shop, application):
    shop.deliveries.add([delivery(1), delivery(2, outcome="refused", reason="stale")])
    shop.remove_application("shop")
    shop.add_application(application("shop"))
    assert (shop.deliveries.list("shop"), shop.deliveries.list_refused("shop")) == ([], [])


def test_a_repeated_rejection_moves_to_the_top_of_the_history(shop):
    wrong = {"outcome": "refused", "reason": "bad_signature"}
    shop.deliveries.add([delivery(1, **wrong), delivery(2), delivery(3, application="blog")])
    assert [each.outcome for each in shop.deliveries.history("shop", limit=9)] == [
        "accepted",
        "refused",
    ]
    shop.deliveries.add([delivery(4, **wrong, count=2)])
    newest, *others = shop.deliveries.history(None, limit=9)
    assert (newest.outcome, newest.count) == ("refused", 3)
    assert newest.received_at - newest.first_at == timedelta(seconds=3)
    assert [each.application for each in others] == ["blog", "shop"]
    assert shop.deliveries.history(None, before=newest.id, limit=1) == others[:1]
