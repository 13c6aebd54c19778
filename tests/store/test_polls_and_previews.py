"""Polls and previews on each kind of database: only one process polls, and started work is
recorded."""

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


def test_only_one_of_many_concurrent_processes_polls(shop, any_settings):
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


def test_a_poll_result_is_available_to_the_next_poll(shop):
    shop.polls.take(["shop"], lease=60)
    shop.polls.note("shop", after=30, seconds=90, commit="1" * 40)
    assert shop.polls.due(host="here") == []
    with shop._database.writing() as connection:
        connection.execute(update(polls).values(due_at=datetime.now(UTC) - timedelta(hours=1)))
    assert [each.name for each in shop.polls.due(host="here")] == ["shop"]
    (again,) = shop.polls.take(["shop"], lease=60)
    assert (again.seconds, again.commit) == (90, "1" * 40)
    assert shop.polls.take(["shop"], lease=60) == []


def test_a_poll_taken_by_a_crashed_process_is_released_after_its_lease(shop):
    shop.polls.take(["shop"], lease=-1)
    assert [each.application for each in shop.polls.take(["shop"], lease=60)] == ["shop"]


def names(store):
    return [each.name for each in store.list_applications()]


def test_a_preview_is_stored_until_it_is_deleted(shop, begin):
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


def test_a_preview_that_cannot_be_removed_returns_an_error_that_is_not_retried(shop, begin):
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


def test_a_closed_preview_can_be_reopened_and_keeps_its_age(shop, begin):
    begin()
    made = shop.previews.list()
    shop.previews.end("shop", 7)
    assert shop.previews.list() != made
    assert begin(opens=False)
    assert shop.previews.list() == made


@pytest.mark.parametrize("had_one", [True, False])
def test_a_merged_pull_request_is_never_reopened(shop, begin, application, had_one):
    if had_one:
        begin()
    assert shop.previews.close(application(), 7, merged=True) == had_one
    assert not shop.previews.close(application(), 7, merged=False)
    assert [begin(opens=opens) for opens in (True, False)] == [False, False]
    assert begin("shop-pr-8", "/srv/previews/8", number=8)
    shop.previews.forget("shop-pr-7")
    assert begin(parent=application(repository="team/moved"))


def test_a_declined_pull_request_can_be_reopened(shop, begin, application):
    shop.previews.close(application(), 7, merged=False)
    assert not begin(opens=False)
    assert begin(opens=True)
    assert begin(opens=False)
    assert shop.previews.close(application(), 7, merged=False)
    assert not shop.previews.close(application(), 7, merged=True)


def test_a_preview_that_is_opened_and_closed_at_once_is_closed(shop, begin, application):
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


def test_an_application_created_by_a_user_in_place_of_a_preview_is_kept(shop, begin, application):
    begin()
    shop.remove_application("shop-pr-7")
    mine = shop.add_application(application("shop-pr-7", target=Path("/mine")))
    with pytest.raises(ConfigurationError, match="is used by an application"):
        begin()
    assert shop.get_application("shop-pr-7") == mine


def test_removing_a_parent_removes_previews_and_on_request_their_directories(shop, begin):
    begin()
    shop.remove_application("shop", end_previews=True)
    assert [each.ended_at is not None for each in shop.previews.list()] == [True]
    assert names(shop) == ["shop-pr-7"]  # until a worker removes it with its directory


def test_removing_the_parent_releases_directories_of_open_pull_requests(shop, begin, application):
    begin()
    begin("shop-pr-8", "/srv/previews/8", number=8)
    shop.previews.close(application(), 8, merged=True)
    shop.remove_application("shop")
    assert names(shop) == ["shop-pr-8"]
    assert [each.name for each in shop.previews.list()] == ["shop-pr-8"]  # which has ended
