"""What has changed since a mark, however long ago that was."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from deploycore.store import DeliveryRecord, changes
from deploycore.store.changes import Mark


@pytest.fixture
def shop(store, provider, application):
    store.add_provider(provider())
    store.put_applications([application(), application("blog")])
    return store


def test_a_mark_precedes_everything_unfinished(shop):
    assert shop.changes.mark() == Mark(0, 0)
    ids = [shop.deployments.request(name, ref="main").id for name in ("shop", "blog", "shop")]
    assert shop.changes.mark().deployment == ids[1] - 1  # the first was superseded
    for number in ids[1:]:
        shop.deployments.advance(number, "failed")
    trigger = shop.triggers.add("shop", cause="push")
    assert shop.changes.mark() == Mark(ids[-1], trigger.id - 1)
    shop.triggers.settle([trigger.id])
    assert shop.changes.mark() == Mark(ids[-1], trigger.id)


def test_everything_after_a_mark_is_found_in_its_current_state(shop):
    mark = shop.changes.mark()
    record = shop.deployments.request("shop", ref="main")
    trigger = shop.triggers.add("shop", cause="push")
    shop.deployments.advance(record.id, "failed")
    found = shop.changes.look(mark)
    assert [(each.id, each.state) for each in found.deployments] == [(record.id, "failed")]
    assert [each.id for each in found.triggers] == [trigger.id]
    assert found.providers == {"acme": (1, None)}
    assert found.is_all
    later = shop.changes.look(shop.changes.mark(), deployments_too=[record.id, 999])
    assert [each.id for each in later.deployments] == [record.id]


def test_deliveries_after_a_mark_are_found(shop):
    at = datetime(2026, 11, 29, tzinfo=UTC)
    texts = dict.fromkeys(("reason", "message", "event", "ref", "actor", "sender", "delivery"), "")
    given = texts | {"commit": None, "trigger": None, "received_at": at, "first_at": at}
    shop.deliveries.add([DeliveryRecord("shop", "ignored", **given)])
    mark = shop.changes.mark()
    shop.deliveries.add([DeliveryRecord("shop", "accepted", **given)])
    [found] = shop.changes.look(mark).deliveries
    assert (found.outcome, mark.delivery) == ("accepted", found.id - 1)
    assert shop.changes.look(shop.changes.mark()).deliveries == []


def test_an_oversized_result_is_truncated_and_marked(shop, monkeypatch):
    monkeypatch.setattr(changes, "MOST", 3)
    for _ in range(5):
        shop.triggers.add("shop", cause="push", settled=True)
    found = shop.changes.look(Mark(0, 0))
    assert len(found.triggers) == 3
    assert not found.is_all
    assert found.triggers[-1].id == shop.triggers.list(limit=1)[0].id
