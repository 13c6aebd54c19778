"""Triggers are recognized if they arrive again, processed in order, and settled once."""

from __future__ import annotations

import sqlite3
import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import bindparam, event, text, update

from deploycore.errors import ConfigurationError
from deploycore.store import Store
from deploycore.store.tables import triggers as table
from deploycore.store.triggers import REMEMBERED


@pytest.fixture
def shops(store, provider, application):
    """A store with three applications, the last of them for a machine called ``far``."""
    store.add_provider(provider())
    store.add_application(application("shop"))
    store.add_application(application("blog"))
    store.add_application(application("away", host="far"))
    return store


@pytest.fixture
def add(shops):
    def add(application="shop", **given):
        return shops.triggers.add(application, **({"cause": "push"} | given))

    return add


def age(store, days: float) -> None:
    """Have everything that was settled be so for longer."""
    with store._database.writing() as connection:
        connection.execute(update(table).values(settled_at=table.c.received_at))
    found = store.triggers.list()
    with store._database.writing() as connection:
        for each in found:
            at = each.received_at - timedelta(days=days)
            connection.execute(update(table).where(table.c.id == each.id).values(settled_at=at))


def test_a_trigger_is_read_as_it_was_stored(shops, add):
    added = add(ref="main", commit="ab" * 20, actor="ada", delivery="d1", digest="e" * 64)
    assert shops.triggers.open("shop") == [added]
    assert (added.cause, added.ref, added.actor, added.priority) == ("push", "main", "ada", 0)
    assert (added.attempts, added.settled_at, added.error_code) == (0, None, None)
    assert added.received_at == added.not_before


def test_an_unknown_application_has_no_triggers(add):
    with pytest.raises(ConfigurationError, match="no application 'shob'"):
        add("shob")


@pytest.mark.parametrize("again", [{"delivery": "d1"}, {"digest": "e" * 64}])
def test_a_redelivery_is_recognized_regardless_of_the_outcome(shops, add, again):
    first = add(delivery="d1", digest="e" * 64)
    assert add(**again) is None
    shops.triggers.settle([first.id], error_code="not_found")
    assert add(**again) is None
    assert len(shops.triggers.list("shop")) == 1


def test_triggers_without_a_delivery_are_never_duplicates(add):
    assert add(cause="poll").id != add(cause="poll").id
    assert add(delivery="", digest="").id


def test_one_delivery_creates_one_trigger_per_application(add):
    assert add("shop", delivery="d1")
    assert add("blog", delivery="d1")
    assert add("blog", delivery="d1") is None


def test_a_delivery_expires_even_without_pruning(shops, add):
    first = add(delivery="d1", digest="e" * 64)
    shops.triggers.settle([first.id], deployment=1)
    age(shops, REMEMBERED.days - 1)
    assert add(delivery="d1") is None
    age(shops, REMEMBERED.days + 1)
    assert add(delivery="d1").id > first.id
    assert len(shops.triggers.list("shop")) == 1


def test_pruning_deletes_only_triggers_settled_long_ago(shops, add):
    old = add(delivery="old")
    shops.triggers.settle([old.id], deployment=1)
    age(shops, REMEMBERED.days + 1)
    new, still_open = add(delivery="new"), add()
    shops.triggers.settle([new.id], deployment=2)
    assert shops.triggers.prune() == 1
    assert {each.id for each in shops.triggers.list()} == {new.id, still_open.id}


def test_only_one_of_several_identical_deliveries_is_added(any_settings, shops):
    added, barrier = [], threading.Barrier(8)

    def deliver() -> None:
        with Store(any_settings) as store:
            store.list_providers()
            barrier.wait(30)
            for number in range(10):
                record = store.triggers.add("shop", cause="push", delivery=f"d{number}")
                added.append(record and record.delivery)

    threads = [threading.Thread(target=deliver) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert sorted(filter(None, added)) == [f"d{number}" for number in range(10)]
    assert len(added) == 80
    assert len(shops.triggers.open("shop")) == 10


def test_pending_applications_are_ordered_by_priority_and_age(shops, add):
    add("blog")
    add("shop")
    assert shops.triggers.pending(host="here") == ["blog", "shop"]
    add("shop", priority=5)
    add("blog")
    assert shops.triggers.pending(host="here") == ["shop", "blog"]
    assert shops.triggers.pending(host="here", limit=1) == ["shop"]
    assert shops.triggers.pending(host="here", application="blog") == ["blog"]


def test_an_application_bound_to_a_machine_is_pending_only_there(shops, add):
    add("away")
    add("shop")
    assert shops.triggers.pending(host="here") == ["shop"]
    assert shops.triggers.pending(host="far") == ["away", "shop"]


def test_a_claimed_application_is_not_pending(shops, add):
    add()
    shops.claims.take("shop", "w1", lease=60)
    assert shops.triggers.pending(host="here") == []
    shops.claims.release("shop", "w1")
    assert shops.triggers.pending(host="here") == ["shop"]


def test_an_expired_claim_does_not_prevent_pending(shops, add):
    add()
    shops.claims.take("shop", "w1", lease=-1)
    assert shops.triggers.pending(host="here") == ["shop"]


def test_a_postponed_trigger_waits_and_counts_its_attempts(shops, add):
    first = add()
    shops.triggers.postpone([first.id], seconds=100, error_code="provider_unavailable")
    assert shops.triggers.pending(host="here") == []
    assert 90 < shops.triggers.seconds_to_next() <= 100
    (now,) = shops.triggers.open("shop")
    assert (now.attempts, now.error_code) == (1, "provider_unavailable")
    shops.triggers.postpone([first.id], seconds=-1, error_code="git")
    assert shops.triggers.pending(host="here") == ["shop"]
    assert shops.triggers.open("shop")[0].attempts == 2
    assert shops.triggers.seconds_to_next() is None


def test_a_new_trigger_makes_a_postponed_application_due_at_once(shops, add):
    shops.triggers.postpone([add().id], seconds=100, error_code="provider_unavailable")
    add()
    assert shops.triggers.pending(host="here") == ["shop"]


def test_a_rate_limit_is_respected_despite_new_triggers(shops, add):
    shops.triggers.postpone([add().id], seconds=100, error_code="rate_limited")
    add(priority=9)
    assert shops.triggers.pending(host="here") == []


def test_settled_triggers_never_change(shops, add):
    one, two = add(), add()
    shops.triggers.settle([one.id], deployment=7)
    shops.triggers.settle([one.id, two.id], deployment=8, error_code="step_failed")
    newest, oldest = shops.triggers.list("shop")
    assert (oldest.deployment, oldest.error_code) == (7, None)
    assert (newest.deployment, newest.error_code) == (8, "step_failed")
    shops.triggers.postpone([one.id], seconds=1, error_code="git")
    assert shops.triggers.open("shop") == []


def test_counts_report_the_size_of_the_backlog(shops, add):
    nothing = shops.triggers.counts()
    assert (nothing.due, nothing.postponed, nothing.oldest_seconds) == (0, 0, 0.0)
    add()
    shops.triggers.postpone([add().id], seconds=100, error_code="git")
    shops.triggers.settle([add().id], deployment=1)
    shops.triggers.settle([add().id, add().id], error_code="step_failed")
    counts = shops.triggers.counts()
    assert (counts.due, counts.postponed, counts.deployed, counts.failed) == (1, 1, 1, 2)
    assert counts.oldest_seconds > 0


def test_removing_an_application_deletes_its_triggers_and_claims(shops, add):
    add()
    shops.claims.take("shop", "w1", lease=60)
    shops.remove_application("shop")
    assert shops.triggers.list() == []
    assert shops.claims.list() == []


def test_listeners_are_notified_only_of_added_triggers(shops, add):
    told = []

    def broken(application: str) -> None:
        raise RuntimeError(application)

    shops.triggers.subscribe(broken)
    end = shops.triggers.subscribe(told.append)
    add(delivery="d1")
    add(delivery="d1")
    add("blog")
    end()
    add("blog")
    assert told == ["shop", "blog"]


def test_a_new_trigger_is_due_after_the_clock_is_set_back(shops, add, monkeypatch):
    add()
    before = datetime.now(UTC) - timedelta(hours=1)
    monkeypatch.setattr("deploycore.store.triggers.present", lambda connection: before)
    assert shops.triggers.pending(host="here") == ["shop"]
    assert shops.triggers.counts().due == 1


MANY = 66_000
"""More than a statement can have parameters: SQLite allows 32,766, PostgreSQL 65,535."""
APART = 33  # so that each part of the ids has triggers, and pruning takes several transactions


@pytest.fixture
def few_parameters(shops):
    """Let SQLite refuse a statement with more parameters than deploycore uses at once, so that
    reading and pruning thousands of triggers shows what tens of thousands would."""

    def limit(connection, record):
        connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 1100)

    with shops._database.reading() as connection:
        engine = connection.engine
    if engine.dialect.name != "sqlite":
        yield
        return
    engine.dispose()  # connections that have no such limit
    event.listen(engine, "connect", limit)
    yield
    event.remove(engine, "connect", limit)


@pytest.fixture
def many(shops, few_parameters):
    """A store with many open triggers of one application, and one of another one; their number and
    the ids among which they are. No other id has a trigger, as when others have settled them."""
    add = text(
        "INSERT INTO triggers (id, application, cause, ref, actor, priority, received_at,"
        " not_before, attempts) WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1"
        " FROM counted WHERE n < :many) SELECT n * :apart, 'shop', 'push', 'main', '', 0, :at,"
        " :at, 0 FROM counted"
    ).bindparams(bindparam("at", type_=table.c.received_at.type))
    with shops._database.writing() as connection:
        values = {"at": datetime.now(UTC), "many": MANY // APART, "apart": APART}
        connection.execute(add, values)
        if connection.dialect.name != "sqlite":
            sequence = "pg_get_serial_sequence('triggers', 'id')"
            connection.execute(text(f"SELECT setval({sequence}, {MANY})"))
    shops.triggers.add("blog", cause="push", ref="main")
    return shops, MANY // APART, range(1, MANY + 1)


def test_any_number_of_triggers_can_be_postponed_settled_and_deleted(many):
    store, count, ids = many
    triggers = store.triggers
    found = triggers.open("shop")
    assert [each.id for each in found] == list(ids[APART - 1 :: APART])
    triggers.postpone(ids, seconds=100, error_code="git")
    assert triggers.counts().postponed == count
    late = triggers.add("shop", cause="push", ref="main")
    triggers.settle(ids, deployment=7)
    assert [each.id for each in triggers.open("shop")] == [late.id]
    assert triggers.prune() == 0
    old = update(table).where(table.c.settled_at.is_not(None))
    with store._database.writing() as connection:
        connection.execute(old.values(settled_at=datetime.now(UTC) - timedelta(days=31)))
    assert triggers.prune(is_stopped=lambda: True) == 0
    assert triggers.prune() == count  # but for the last one about the ref, which is open
    assert [each.application for each in triggers.list()] == ["shop", "blog"]


def test_any_number_of_releases_can_be_looked_up(shops):
    names = [f"r{number}" for number in range(MANY)]
    asked = shops.deployments.request("shop", ref="main")
    for state in ("authenticating", "resolving"):
        shops.deployments.advance(asked.id, state)
    shops.deployments.advance(asked.id, "fetching", release=names[-1])
    assert list(shops.deployments.of_releases("shop", names)) == names[-1:]
