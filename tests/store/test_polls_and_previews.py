"""Polls and previews on each kind of database: one asks, and what has begun is remembered."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from deploycore.errors import ConfigurationError, StoreError
from deploycore.store import Store
from deploycore.store.tables import polls


@pytest.fixture
def shop(store, provider, application):
    """A store with an application, ``shop``."""
    store.add_provider(provider())
    store.add_application(application())
    return store


def begin(store, name="shop-pr-7", **more):
    values = {
        "parent": "shop",
        "number": 7,
        "target": Path("/srv/previews/7"),
        "within": Path("/srv/previews"),
        "host": None,
        "limit": 2,
    }
    return store.previews.begin(name, **(values | more))


def test_of_many_who_would_poll_one_does(shop, any_settings):
    taken, gate = [], threading.Barrier(4)

    def take():
        with Store(any_settings) as store:
            store.list_providers()
            gate.wait(30)
            taken.extend(store.polls.take(["shop"], lease=60))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.application for each in taken] == ["shop"]


def test_what_was_found_out_is_there_the_next_time(shop):
    shop.polls.take(["shop"], lease=60)
    shop.polls.note("shop", after=30, seconds=90, commit="1" * 40)
    assert shop.polls.due() == {"shop": False}
    with shop._database.writing() as connection:
        connection.execute(update(polls).values(due_at=datetime.now(UTC) - timedelta(hours=1)))
    assert shop.polls.due() == {"shop": True}
    (again,) = shop.polls.take(["shop"], lease=60)
    assert (again.seconds, again.commit) == (90, "1" * 40)
    assert shop.polls.take(["shop"], lease=60) == []


def test_who_takes_and_dies_has_it_no_longer_than_its_lease(shop):
    shop.polls.take(["shop"], lease=-1)
    assert [each.application for each in shop.polls.take(["shop"], lease=60)] == ["shop"]


def test_a_preview_is_remembered_until_it_is_forgotten(shop):
    made = begin(shop)
    assert shop.previews.list() == [made]
    assert not shop.previews.begin_removal("shop-pr-7")
    assert shop.previews.end("shop", 7)
    assert not shop.previews.end("shop", 7)
    shop.previews.forget("shop-pr-7")
    assert len(shop.previews.list()) == 1
    assert shop.previews.begin_removal("shop-pr-7")
    with pytest.raises(StoreError, match="being removed"):
        begin(shop)
    shop.previews.forget("shop-pr-7")
    assert shop.previews.list() == []


def test_one_that_ended_may_begin_again_and_keeps_its_age(shop):
    made = begin(shop)
    shop.previews.end("shop", 7)
    assert begin(shop) == made


def test_names_limits_and_directories_are_kept(shop):
    begin(shop)
    begin(shop, "shop-pr-8", number=8, target=Path("/srv/previews/8"))
    for wrong in (
        {"name": "shop-pr-9", "number": 9},
        {"name": "shop"},
        {"number": 8},
        {"target": Path("/srv/previews/other")},
    ):
        with pytest.raises(ConfigurationError):
            begin(shop, **wrong)
    assert len(shop.previews.list()) == 2


def test_those_whose_parent_is_gone_end(shop):
    begin(shop)
    assert not shop.previews.end_orphans()
    shop.remove_application("shop")
    assert shop.previews.end_orphans()
    assert [each.ended_at is not None for each in shop.previews.list()] == [True]
