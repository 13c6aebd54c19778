"""The order of applications in the queue: each one is processed eventually."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from deploycore.store.tables import triggers


@pytest.fixture
def shops(store, provider, application):
    """A store with the applications ``a`` to ``d`` of ``acme``, and ``z`` of ``other``."""
    for name in ("acme", "other"):
        store.add_provider(provider(name))
    for name in "abcd":
        store.add_application(application(name))
    store.add_application(application("z", provider="other"))
    return store


def fail(store, name: str) -> None:
    """Have a try of an application fail, and be due again."""
    ids = [each.id for each in store.triggers.open(name)]
    store.triggers.postpone(ids, seconds=0, error_code="unavailable")


def names(store, **given) -> list[str]:
    return [each.application for each in store.triggers.queue("here", **given)]


def test_a_failed_request_moves_to_the_end_of_the_queue(shops):
    for name in "abcd":
        shops.triggers.add(name, cause="push")
    fail(shops, "a")
    fail(shops, "b")
    assert names(shops) == ["c", "d", "a", "b"]
    fail(shops, "c")
    shops.triggers.add("z", cause="push")
    assert names(shops) == ["d", "a", "b", "c", "z"]  # nobody who comes later overtakes them


def test_a_new_push_does_not_move_a_failing_application_forward(shops):
    shops.triggers.add("a", cause="push")
    shops.triggers.add("b", cause="push")
    fail(shops, "a")
    shops.triggers.add("a", cause="push")
    assert names(shops) == ["b", "a"]


def test_a_failed_high_priority_request_loses_its_priority(shops):
    shops.triggers.add("a", cause="request", priority=10)
    shops.triggers.add("b", cause="push")
    assert names(shops) == ["a", "b"]
    fail(shops, "a")
    assert names(shops) == ["b", "a"]
    shops.triggers.add("c", cause="request", priority=10)
    assert names(shops) == ["c", "b", "a"]


def test_an_application_that_always_fails_does_not_block_others(shops):
    for name in "abcd":
        shops.triggers.add(name, cause="push")
    tried = []
    for _ in range(12):
        (first,) = names(shops, limit=1)
        tried.append(first)
        fail(shops, first)
    assert tried == [*"abcd"] * 3


def test_an_application_with_many_triggers_does_not_hide_others(shops):
    for number in range(100):
        shops.triggers.add("a", cause="push", delivery=str(number))
    shops.triggers.add("b", cause="push")
    shops.triggers.add("c", cause="push")
    assert names(shops, limit=2) == ["a", "b"]
    assert names(shops, limit=3) == ["a", "b", "c"]
    assert names(shops, limit=9) == ["a", "b", "c"]


def test_providers_and_retries_can_be_excluded(shops):
    for name in "abz":
        shops.triggers.add(name, cause="push")
    fail(shops, "a")
    assert names(shops, without={"acme"}) == ["z"]
    assert names(shops, retries=False) == ["b", "z"]
    assert names(shops, retries=False, without={"other"}) == ["b"]
    (first, *_) = shops.triggers.queue("here", "a")
    assert (first.application, first.provider, first.is_retried) == ("a", "acme", True)


def test_existing_triggers_keep_their_order_after_the_queue_upgrade(shops):
    for name in "cab":
        shops.triggers.add(name, cause="push")
    with shops._database.writing() as connection:
        connection.execute(update(triggers).values(turn=triggers.c.id))
    assert names(shops) == ["c", "a", "b"]
