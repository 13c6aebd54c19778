"""Polls and previews on each kind of database: one asks, and what has begun is remembered."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from deploycore.applications.application import AutoDeploy
from deploycore.errors import ConfigurationError, StoreError
from deploycore.store import Store
from deploycore.store.tables import polls, previews


@pytest.fixture
def shop(store, provider, application):
    """A store with an application, ``shop``."""
    store.add_provider(provider())
    store.add_application(application(auto_deploy=AutoDeploy()))
    return store


@pytest.fixture
def begin(shop, application):
    """Keeps a preview of ``shop`` and its application: ``begin(number=8)``."""

    def begin(name="shop-pr-7", target="/srv/previews/7", **more):
        definition = application(name, target=Path(target))
        values = {
            "parent": application(),
            "number": 7,
            "within": Path("/srv/previews"),
            "limit": 2,
            "opens": True,
        }
        return shop.begin_preview(definition, **(values | more))

    return begin


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
    assert shop.polls.due(host="here") == []
    with shop._database.writing() as connection:
        connection.execute(update(polls).values(due_at=datetime.now(UTC) - timedelta(hours=1)))
    assert [each.name for each in shop.polls.due(host="here")] == ["shop"]
    (again,) = shop.polls.take(["shop"], lease=60)
    assert (again.seconds, again.commit) == (90, "1" * 40)
    assert shop.polls.take(["shop"], lease=60) == []


def test_who_takes_and_dies_has_it_no_longer_than_its_lease(shop):
    shop.polls.take(["shop"], lease=-1)
    assert [each.application for each in shop.polls.take(["shop"], lease=60)] == ["shop"]


def names(store):
    return [each.name for each in store.list_applications()]


def test_a_preview_is_remembered_until_it_is_forgotten(shop, begin):
    assert begin()
    assert [(each.name, each.parent) for each in shop.previews.list()] == [("shop-pr-7", "shop")]
    assert not shop.previews.begin_removal("shop-pr-7")
    assert shop.previews.end("shop", 7)
    assert not shop.previews.end("shop", 7)
    shop.previews.forget("shop-pr-7")
    assert len(shop.previews.list()) == 1
    assert shop.previews.begin_removal("shop-pr-7")
    with pytest.raises(StoreError, match="being removed"):
        begin()
    shop.previews.forget("shop-pr-7")
    assert shop.previews.list() == []


def test_one_that_can_not_be_removed_is_no_reason_to_send_again(shop, begin):
    """Hosts would send it again and again, and then nothing more."""
    begin()
    shop.previews.end("shop", 7)
    shop.previews.begin_removal("shop-pr-7")
    with shop._database.writing() as connection:
        long_ago = datetime.now(UTC) - timedelta(hours=1)
        connection.execute(update(previews).values(removed_at=long_ago))
    with pytest.raises(ConfigurationError, match="could not be removed yet") as caught:
        begin()
    assert "See the reason in the worker's log, or remove /srv/previews/7" in caught.value.hint
    shop.remove_application("shop-pr-7")
    shop.previews.forget("shop-pr-7")  # as a worker does once the directory can be removed
    assert begin()


def test_one_that_ended_may_begin_again_and_keeps_its_age(shop, begin):
    begin()
    made = shop.previews.list()
    shop.previews.end("shop", 7)
    assert shop.previews.list() != made
    assert begin(opens=False)
    assert shop.previews.list() == made


@pytest.mark.parametrize("had_one", [True, False])
def test_what_was_merged_never_begins_again(shop, begin, application, had_one):
    if had_one:
        begin()
    assert shop.previews.close(application(), 7, merged=True) == had_one
    assert not shop.previews.close(application(), 7, merged=False)
    assert [begin(opens=opens) for opens in (True, False)] == [False, False]
    assert begin("shop-pr-8", "/srv/previews/8", number=8)
    shop.previews.forget("shop-pr-7")
    assert begin(parent=application(repository="team/moved"))


def test_what_was_declined_begins_again_where_it_is_opened_again(shop, begin, application):
    shop.previews.close(application(), 7, merged=False)
    assert not begin(opens=False)
    assert begin(opens=True)
    assert begin(opens=False)
    assert shop.previews.close(application(), 7, merged=False)
    assert not shop.previews.close(application(), 7, merged=True)


def test_one_that_is_made_and_closed_at_once_has_ended(shop, begin, application):
    for number in range(20):
        name, gate = f"shop-pr-{number}", threading.Barrier(2)

        def make(name=name, number=number, gate=gate):
            gate.wait(30)
            begin(name, f"/srv/previews/{number}", number=number)

        making = threading.Thread(target=make)
        making.start()
        gate.wait(30)
        shop.previews.close(application(), number, merged=True)
        making.join()
    assert [each for each in shop.previews.list() if each.ended_at is None] == []


def test_names_limits_and_directories_are_kept(shop, begin, application):
    begin()
    begin("shop-pr-8", "/srv/previews/8", number=8)
    for name, target, number in (
        ("shop-pr-9", "/srv/previews/9", 9),
        ("shop", "/srv/previews/7", 7),
        ("shop-pr-7", "/srv/previews/7", 8),
        ("shop-pr-7", "/srv/previews/other", 7),
    ):
        with pytest.raises(ConfigurationError) as caught:
            begin(name, target, number=number)
    assert names(shop) == ["shop", "shop-pr-7", "shop-pr-8"]
    assert [each.name for each in shop.previews.list()] == ["shop-pr-7", "shop-pr-8"]
    assert (
        "Close the pull request, wait until the preview is removed, and open it again"
        in caught.value.hint
    )
    shop.previews.close(application(), 7, merged=False)
    assert shop.previews.begin_removal("shop-pr-7")
    shop.remove_application("shop-pr-7")
    shop.previews.forget("shop-pr-7")
    assert begin("shop-pr-7", "/srv/previews/other", number=7)


def test_what_a_person_made_in_the_place_of_a_preview_stays(shop, begin, application):
    begin()
    shop.remove_application("shop-pr-7")
    mine = shop.add_application(application("shop-pr-7", target=Path("/mine")))
    with pytest.raises(ConfigurationError, match="is used by an application"):
        begin()
    assert shop.get_application("shop-pr-7") == mine


def test_those_whose_parent_is_removed_go_and_their_directories_if_that_is_said(shop, begin):
    begin()
    shop.remove_application("shop", end_previews=True)
    assert [each.ended_at is not None for each in shop.previews.list()] == [True]
    assert names(shop) == ["shop-pr-7"]  # until a worker removes it with its directory


def test_directories_of_open_pull_requests_belong_to_nobody_once_the_parent_is_removed(
    shop, begin, application
):
    begin()
    begin("shop-pr-8", "/srv/previews/8", number=8)
    shop.previews.close(application(), 8, merged=True)
    shop.remove_application("shop")
    assert names(shop) == ["shop-pr-8"]
    assert [each.name for each in shop.previews.list()] == ["shop-pr-8"]  # which has ended
