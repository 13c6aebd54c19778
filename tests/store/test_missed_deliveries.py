"""Requested checks after deliveries may have been missed, on each kind of database."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from deploycore.applications.application import AutoDeploy
from deploycore.errors import ConfigurationError
from deploycore.store.reception import RECEIVES_SECONDS
from deploycore.store.tables import applications, polls, reception


@pytest.fixture
def shop(store, provider, application):
    """A store with three applications."""
    store.add_provider(provider())
    for name in ("blog", "shop", "wiki"):
        store.add_application(application(name, auto_deploy=AutoDeploy()))
    return store


@pytest.fixture
def row(shop):
    def row(name):
        with shop._database.reading() as connection:
            query = select(polls).where(polls.c.application == name)
            return connection.execute(query).mappings().one()

    return row


def change(store, table, **values):
    with store._database.writing() as connection:
        connection.execute(update(table).values(values))


def names_due(store):
    return {each.name for each in store.polls.due(host="here") if each.is_due}


def take(store, *names):
    return {each.application: each for each in store.polls.take(list(names), lease=300)}


def test_checks_are_spread_out_and_skip_removed_applications(shop, row):
    shop.polls.request(["wiki", "shop", "blog", "nobody"], spacing=20)
    since = shop.polls.requested()
    assert since.keys() == {"blog", "shop", "wiki"}
    due = [row(name)["due_at"] - since[name] for name in ("blog", "shop", "wiki")]
    assert due == [timedelta(seconds=each) for each in (0, 20, 40)]
    assert names_due(shop) == {"blog"}


def test_long_paused_polls_are_spread_out_and_imminent_ones_are_kept(shop, row):
    take(shop, "blog", "shop", "wiki")
    for name, after in (("blog", -3600), ("shop", 3), ("wiki", -3600)):
        shop.polls.note(name, after=after, seconds=60)
    soon = row("shop")["due_at"]
    shop.polls.request(["blog", "shop", "wiki"], spacing=30)
    since = shop.polls.requested()
    assert row("shop")["due_at"] == soon
    assert [row(name)["due_at"] - since[name] for name in ("blog", "wiki")] == [
        timedelta(0),
        timedelta(seconds=60),
    ]


def test_repeated_server_restarts_do_not_postpone_checks(shop, row):
    for _ in range(3):
        shop.polls.request(["shop"])
        before = row("shop")["due_at"]
        shop.polls.request(["blog", "shop"], spacing=1000)
        assert row("shop")["due_at"] <= before


def test_a_completed_check_is_no_longer_pending(shop):
    shop.polls.request(["shop"])
    taken = take(shop, "shop")["shop"]
    shop.polls.note("shop", after=60, seconds=60, commit="c", checked=taken)
    assert shop.polls.requested() == {}
    assert names_due(shop) == {"blog", "wiki"}


def test_a_failed_check_is_still_pending(shop):
    shop.polls.request(["shop"])
    take(shop, "shop")
    shop.polls.note("shop", after=60, seconds=120)
    assert shop.polls.requested().keys() == {"shop"}


@pytest.mark.parametrize("was_requested", [False, True])
def test_a_check_already_running_does_not_satisfy_a_new_request(shop, was_requested):
    """The host may have answered before the push that nobody received."""
    if was_requested:
        shop.polls.request(["shop"])
    taken = take(shop, "shop")["shop"]
    shop.polls.request(["shop"])
    shop.polls.note("shop", after=900, seconds=900, commit="c", checked=taken)
    assert shop.polls.requested().keys() == {"shop"}
    assert names_due(shop) == {"blog", "shop", "wiki"}


def test_a_host_is_not_polled_before_its_retry_after_time(shop, row):
    take(shop, "shop")
    shop.polls.note("shop", after=5000, seconds=60, not_before=3000)
    shop.polls.request(["shop"])
    wait = row("shop")["due_at"] - shop.polls.requested()["shop"]
    assert timedelta(seconds=2900) < wait <= timedelta(seconds=3000)


def test_reception_is_interrupted_only_if_a_server_was_running_before(shop):
    assert not shop.reception.is_interrupted()
    shop.reception.note()
    assert not shop.reception.is_interrupted()
    long_ago = shop.reception.seen_at() - timedelta(seconds=RECEIVES_SECONDS + 5)
    change(shop, reception, seen_at=long_ago)
    assert shop.reception.is_interrupted()


def test_an_identity_applies_only_to_its_repository_and_provider(shop, provider, application):
    definition = application("shop")
    assert shop.repositories.find(definition) is None
    shop.repositories.learn(definition, "17")
    assert shop.repositories.find(definition).host_id == "17"
    for change in ({"repository": "team/other"}, {"provider": "elsewhere"}):
        assert shop.repositories.find(definition.model_copy(update=change)) is None
    shop.repositories.forget("shop")
    assert shop.repositories.list() == []
    with pytest.raises(ConfigurationError):
        shop.repositories.learn(application("nobody"), "17")


def test_a_rename_keeps_revision_and_previous_names_and_happens_once(shop, application):
    definition = shop.get_application("shop").definition
    shop.repositories.learn(definition, "17")
    shop.repositories.note_told_name(definition, "team/store")
    assert shop.repositories.rename(definition, "team/store", "17")
    assert not shop.repositories.rename(definition, "team/store", "17")
    record = shop.get_application("shop")
    assert (record.definition.repository, record.revision) == ("team/store", 1)
    known = shop.repositories.find(record.definition)
    assert (known.former_names, known.told_name, known.host_id) == (("team/shop",), None, "17")
    # Applied again with its former name, it is still the same repository.
    assert shop.repositories.find(definition).host_id == "17"
    shop.repositories.learn(definition, "17")
    assert shop.repositories.find(record.definition).former_names == ("team/store",)


def test_a_definition_that_an_older_version_stored_can_be_renamed(shop):
    definition = shop.get_application("shop").definition
    with shop._database.writing() as connection:
        stored = dict(definition.as_dict())
        stored.pop("keep", None)
        is_this = applications.c.name == "shop"
        connection.execute(update(applications).where(is_this).values(definition=stored))
    assert shop.repositories.rename(definition, "team/store", "17")


def test_closed_pull_requests_stay_closed_under_the_new_name(shop):
    definition = shop.get_application("shop").definition
    shop.previews.close(definition, 7, merged=True)
    shop.repositories.rename(definition, "team/store", "17")
    renamed = shop.get_application("shop").definition
    shop.previews.close(renamed, 8, merged=True)
    shop.repositories.rename(renamed, "team/shop", "17")
    assert not shop.previews.close(definition, 7, merged=False)
