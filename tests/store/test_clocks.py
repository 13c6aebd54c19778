"""Times from a clock that was ahead do not cause waits, on each kind of database."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from deploycore.applications.application import AutoDeploy
from deploycore.errors import ConfigurationError
from deploycore.store import claims, polls, triggers
from deploycore.store.ahead import find_times_ahead
from deploycore.store.direct import DirectStatements
from deploycore.store.named import StatementsOfEngine
from deploycore.store.tables import claims as claims_table
from deploycore.store.tables import polls as polls_table
from deploycore.store.tables import previews as previews_table
from deploycore.store.tables import provider_tokens as provider_tokens_table
from deploycore.store.tables import reception as reception_table
from deploycore.store.tables import tokens as tokens_table
from deploycore.store.tables import triggers as triggers_table
from deploycore.store.tables import webhooks as webhooks_table

JUMPS = [timedelta(minutes=10), timedelta(hours=5), timedelta(days=400)]
jumps = pytest.mark.parametrize("jump", JUMPS, ids=["10 minutes", "5 hours", "400 days"])


@pytest.fixture
def shop(store, provider, application):
    """A store with an application, ``shop``, that is polled."""
    store.add_provider(provider())
    store.add_application(application(auto_deploy=AutoDeploy()))
    return store


@pytest.fixture
def ahead(monkeypatch):
    """Has the database's clock be ahead: ``with ahead(timedelta(hours=5)):``."""

    @contextmanager
    def ahead(jump):
        with monkeypatch.context() as patch:
            for module in (claims, polls, triggers):
                real = module.present
                patch.setattr(module, "present", lambda to, real=real: real(to) + jump)
            for statements in (DirectStatements, StatementsOfEngine):
                real = statements.present
                patch.setattr(statements, "present", lambda to, real=real: real(to) + jump)
            yield

    return ahead


def kinds_ahead(store) -> dict[str, tuple[str, ...]]:
    with store._database.reading() as connection:
        return {each.what: each.names for each in find_times_ahead(connection)}


def change(store, table, **values) -> None:
    with store._database.writing() as connection:
        connection.execute(update(table).values(values))


@jumps
def test_a_claim_with_a_future_time_is_void(shop, ahead, jump):
    shop.triggers.add("shop", cause="push")
    with ahead(jump):
        assert shop.claims.take("shop", "dead", lease=60)
        assert shop.triggers.pending(host="here") == []
    assert kinds_ahead(shop) == {"claims of workers": ("shop",)}
    assert shop.triggers.pending(host="here") == ["shop"]
    assert shop.triggers.seconds_to_next() is None
    assert shop.claims.take("shop", "w2", lease=60).taken_from == "dead"
    assert shop.claims.take("shop", "w3", lease=60) is None
    assert kinds_ahead(shop) == {}


@jumps
def test_a_claim_renewed_with_a_future_time_is_void(shop, ahead, jump):
    assert shop.claims.take("shop", "dead", lease=3600)
    with ahead(jump):
        shop.claims.beat("dead", host="here", process=1, lease=60, held=["shop"])
    assert kinds_ahead(shop) == {
        "claims of workers": ("shop",),
        "heartbeats of workers": ("dead",),
    }
    assert shop.claims.take("shop", "w2", lease=60).taken_from == "dead"


@jumps
def test_a_running_worker_keeps_its_claim_with_its_next_heartbeat(shop, ahead, jump):
    with ahead(jump):
        assert shop.claims.take("shop", "w1", lease=60)
    assert shop.claims.beat("w1", host="here", process=1, lease=60, held=["shop"]) == {"shop"}
    assert shop.claims.take("shop", "w2", lease=60) is None


def test_a_claim_without_a_start_time_is_void_after_the_longest_lease(shop):
    assert shop.claims.take("shop", "w1", lease=60)
    for minutes, is_held in ((59, True), (70, False)):
        until = datetime.now(UTC) + timedelta(minutes=minutes)
        change(shop, claims_table, expires_at=until, renewed_at=None)
        assert (shop.claims.take("shop", "w2", lease=60) is None) == is_held


@pytest.mark.parametrize("seconds", [-30, 30])
def test_a_small_clock_correction_voids_nothing(shop, ahead, seconds):
    with ahead(timedelta(seconds=seconds)):
        shop.claims.take("shop", "w1", lease=60)
        shop.polls.note("shop", after=60, seconds=60)
        trigger = shop.triggers.add("shop", cause="push")
        shop.triggers.postpone([trigger.id], seconds=60, error_code="git")
    assert shop.claims.take("shop", "w2", lease=60) is None
    assert shop.polls.take(["shop"], lease=60) == []
    assert shop.polls.due(host="here") == []
    shop.claims.release("shop", "w1")
    assert shop.triggers.pending(host="here") == []
    assert kinds_ahead(shop) == {}


@jumps
@pytest.mark.parametrize("after", [30, 86_400])
def test_a_poll_scheduled_with_a_future_time_is_due(shop, ahead, jump, after):
    with ahead(jump):
        assert shop.polls.take(["shop"], lease=60)
        shop.polls.note("shop", after=after, seconds=after, commit="1" * 40)
        assert shop.polls.due(host="here") == []
    assert kinds_ahead(shop) == {"next polls": ("shop",)}
    assert [each.name for each in shop.polls.due(host="here")] == ["shop"]
    (taken,) = shop.polls.take(["shop"], lease=60)
    assert taken.commit == "1" * 40
    assert shop.polls.due(host="here") == []
    assert kinds_ahead(shop) == {}


@jumps
def test_a_check_requested_with_a_future_time_is_due(shop, ahead, jump):
    with ahead(jump):
        shop.polls.take(["shop"], lease=60)
        shop.polls.note("shop", after=60, seconds=60, not_before=86_400)
        shop.polls.request(["shop"])
        assert shop.polls.due(host="here") == []
    assert kinds_ahead(shop).keys() >= {"next polls", "requested checks"}
    shop.polls.request(["shop"])
    (due,) = shop.polls.due(host="here")
    assert (due.is_due, due.is_requested) == (True, True)
    (taken,) = shop.polls.take(["shop"], lease=60)
    shop.polls.note("shop", after=60, seconds=60, checked=taken)
    assert shop.polls.requested() == {}
    assert kinds_ahead(shop) == {}


@jumps
def test_a_server_heartbeat_with_a_future_time_is_ignored(shop, ahead, jump):
    shop.reception.note()
    assert not shop.reception.is_interrupted()
    change(shop, reception_table, seen_at=datetime.now(UTC) + jump)
    assert shop.reception.is_interrupted()
    assert "signs of life of servers" in kinds_ahead(shop)


def test_a_changed_application_still_has_its_pending_check(shop, application):
    shop.polls.request(["shop"])
    for auto in (AutoDeploy(), AutoDeploy(poll="off")):
        shop.put_applications([application(ref="other", auto_deploy=auto)])
        assert shop.polls.requested().keys() == {"shop"}
    shop.put_applications([application(ref="other")])
    assert shop.polls.requested() == {}


def test_a_poll_without_a_start_time_is_due_after_the_longest_interval(shop):
    for hours, is_due in ((26, False), (28, True)):
        at = datetime.now(UTC) + timedelta(hours=hours)
        change(shop, polls_table, due_at=at, set_at=None)
        assert bool(shop.polls.due(host="here")) == is_due
        assert bool(shop.polls.take(["shop"], lease=60)) == is_due


@jumps
@pytest.mark.parametrize("code", ["git", "rate_limited"])
def test_a_retry_scheduled_with_a_future_time_is_due(shop, ahead, jump, code):
    with ahead(jump):
        trigger = shop.triggers.add("shop", cause="push")
        shop.triggers.postpone([trigger.id], seconds=600, error_code=code)
        assert shop.triggers.pending(host="here") == []
    assert kinds_ahead(shop) == {"retries": ("shop",), "triggers": ("shop",)}
    assert shop.triggers.pending(host="here") == ["shop"]
    assert shop.triggers.counts().due == 1
    assert shop.triggers.seconds_to_next() is None


def test_a_retry_without_a_start_time_is_due_after_the_longest_delay(shop):
    trigger = shop.triggers.add("shop", cause="push")
    shop.triggers.postpone([trigger.id], seconds=60, error_code="git")
    for hours, names in ((24, []), (26, ["shop"])):
        at = datetime.now(UTC) + timedelta(hours=hours)
        change(shop, triggers_table, not_before=at, tried_at=None)
        assert shop.triggers.pending(host="here") == names


def test_no_stored_time_exceeds_the_accepted_maximum(shop):
    trigger = shop.triggers.add("shop", cause="push")
    shop.triggers.postpone([trigger.id], seconds=1e9, error_code="git")
    shop.claims.take("shop", "w1", lease=1e9)
    shop.polls.take(["shop"], lease=1e9)
    shop.polls.note("shop", after=1e9, seconds=1e9)
    assert kinds_ahead(shop) == {}
    assert shop.polls.due(host="here") == []
    shop.claims.release("shop", "w1")
    assert shop.triggers.pending(host="here") == []


def test_a_worker_with_a_future_time_is_deleted_and_may_return(shop, ahead):
    with ahead(timedelta(days=3)):
        shop.claims.register("w1", host="here", process=1)
    shop.claims.register("w2", host="here", process=2)
    assert [each.id for each in shop.claims.workers()] == ["w2"]
    shop.claims.beat("w1", host="here", process=1, lease=60, held=())
    assert {each.id for each in shop.claims.workers()} == {"w1", "w2"}


def test_a_preview_that_cannot_be_removed_is_reported_despite_a_future_time(shop, application):
    definition = application("shop-pr-7", target=Path("/srv/previews/7"))
    given = {"parent": application(), "number": 7, "within": Path("/srv/previews")}
    given |= {"limit": 2, "opens": True}
    assert shop.begin_preview(definition, **given)
    shop.previews.end("shop", 7)
    assert shop.previews.begin_removal("shop-pr-7")
    change(shop, previews_table, removed_at=datetime.now(UTC) + timedelta(days=3))
    with pytest.raises(ConfigurationError, match="could not be removed yet"):
        shop.begin_preview(definition, **given)
    assert kinds_ahead(shop) == {"removals of previews": ("shop-pr-7",)}


def test_deliveries_and_tokens_with_a_future_time_are_reported(shop):
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    shop.webhooks.add("shop", "env:SECRET")
    shop.tokens.add("ci", digest="0" * 64, role="read", expires_at=None)
    change(shop, webhooks_table, delivered_at=tomorrow)
    change(shop, tokens_table, created_at=tomorrow)
    assert kinds_ahead(shop) == {
        "last deliveries": ("shop",),
        "creation times of tokens": ("ci",),
    }


@jumps
def test_a_future_renewal_time_does_not_extend_a_token(shop, jump):
    tokens = shop.provider_tokens
    tokens.put("acme", "client", "sealed", 3600)
    assert 0 < tokens.load("acme", "client").seconds_left <= 3600
    tokens.put("acme", "endless", "sealed", None)
    change(shop, provider_tokens_table, renewed_at=datetime.now(UTC) + jump)
    assert tokens.load("acme", "client").seconds_left <= 0
    assert tokens.load("acme", "endless").seconds_left is None


def test_a_clock_difference_of_seconds_does_not_renew_a_token(shop):
    tokens = shop.provider_tokens
    tokens.put("acme", "client", "sealed", 3600)
    change(shop, provider_tokens_table, renewed_at=datetime.now(UTC) + timedelta(seconds=20))
    assert 3500 < tokens.load("acme", "client").seconds_left <= 3600
