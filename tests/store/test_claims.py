"""Claims: one worker at a time has an application, and the claim of a dead worker expires."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from deploycore.store import Store
from deploycore.store import claims as claims_module
from deploycore.store.lookup import named_row
from deploycore.store.tables import claims as table
from deploycore.store.tables import workers


@pytest.fixture
def shop(store, provider, application):
    """A store with an application, ``shop``."""
    store.add_provider(provider())
    store.add_application(application())
    return store


def lapse(store) -> None:
    """Have the lease of all claims be over."""
    with store._database.writing() as connection:
        long_ago = datetime.now(UTC) - timedelta(hours=1)
        connection.execute(update(table).values(expires_at=long_ago))


def beat(store, worker: str = "w1", held=("shop",)):
    return store.claims.beat(worker, host="here", process=1, lease=60, held=held)


def test_an_application_is_claimed_once(shop):
    claim = shop.claims.take("shop", "w1", lease=60)
    assert (claim.application, claim.worker, claim.taken_from) == ("shop", "w1", None)
    assert shop.claims.list() == [claim]
    assert shop.claims.take("shop", "w2", lease=60) is None
    assert shop.claims.take("shop", "w1", lease=60) is None


def test_a_removed_application_cannot_be_claimed(shop):
    assert shop.claims.take("other", "w1", lease=60) is None


def test_a_released_application_can_be_claimed(shop):
    shop.claims.take("shop", "w1", lease=60)
    shop.claims.release("shop", "w2")
    assert shop.claims.take("shop", "w2", lease=60) is None
    shop.claims.release("shop", "w1")
    assert shop.claims.take("shop", "w2", lease=60).taken_from is None


def test_an_expired_claim_passes_to_another_worker_permanently(shop):
    shop.claims.take("shop", "w1", lease=60)
    lapse(shop)
    assert shop.claims.take("shop", "w2", lease=60).taken_from == "w1"
    assert beat(shop, "w1") == set()
    shop.claims.release("shop", "w1")
    assert [each.worker for each in shop.claims.list()] == ["w2"]


def test_a_heartbeat_renews_claims_not_taken_over(shop):
    shop.claims.take("shop", "w1", lease=60)
    lapse(shop)
    assert beat(shop) == {"shop"}
    assert shop.claims.take("shop", "w2", lease=60) is None


def test_a_claim_expires_when_its_worker_no_longer_holds_the_application(shop):
    shop.claims.take("shop", "w1", lease=0)
    assert beat(shop, held=()) == set()
    assert shop.claims.take("shop", "w2", lease=60).taken_from == "w1"


def test_a_worker_is_listed_while_it_sends_heartbeats(shop):
    shop.claims.register("w1", host="here", process=42)
    (known,) = shop.claims.workers()
    assert (known.id, known.host, known.process) == ("w1", "here", 42)
    beat(shop)
    (later,) = shop.claims.workers()
    assert later.seen_at > known.seen_at
    assert later.started_at == known.started_at


def test_a_worker_that_retires_leaves_nothing(shop):
    shop.claims.register("w1", host="here", process=42)
    shop.claims.take("shop", "w1", lease=60)
    shop.claims.retire("w1")
    assert (shop.claims.workers(), shop.claims.list()) == ([], [])


def test_old_workers_are_deleted_and_may_return(shop):
    shop.claims.register("w1", host="here", process=1)
    with shop._database.writing() as connection:
        connection.execute(update(workers).values(seen_at=datetime.now(UTC) - timedelta(days=2)))
    shop.claims.register("w2", host="here", process=2)
    assert [each.id for each in shop.claims.workers()] == ["w2"]
    beat(shop, "w1")
    assert {each.id for each in shop.claims.workers()} == {"w1", "w2"}


def test_only_one_of_several_racing_workers_holds_an_application(any_settings, shop):
    """Each notes in memory that it has it, which nothing but the claim keeps from others."""
    holders, seen, taken, barrier = [], [], [], threading.Barrier(6)

    def work(worker: str) -> None:
        with Store(any_settings) as store:
            store.list_providers()
            barrier.wait(30)
            for _ in range(10):
                if store.claims.take("shop", worker, lease=60) is not None:
                    holders.append(worker)
                    seen.append(list(holders))
                    taken.append(worker)
                    holders.remove(worker)
                    store.claims.release("shop", worker)

    threads = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert taken
    assert all(len(each) == 1 for each in seen)
    assert shop.claims.list() == []


def test_only_one_of_several_workers_takes_an_expired_claim(any_settings, shop):
    shop.claims.take("shop", "dead", lease=60)
    lapse(shop)
    won, barrier = [], threading.Barrier(6)

    def take(worker: str) -> None:
        with Store(any_settings) as store:
            store.list_providers()
            barrier.wait(30)
            claim = store.claims.take("shop", worker, lease=60)
            won.extend([claim.taken_from] if claim else [])

    threads = [threading.Thread(target=take, args=(f"w{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert won == ["dead"]


def test_claiming_does_not_wait_for_a_concurrent_claim(any_settings, shop):
    """Else many workers would go through what there is to do in step, all but one in vain."""
    if not any_settings.database_url.startswith("postgresql"):
        pytest.skip("writers of an SQLite database wait for each other anyway")
    with shop._database.writing() as connection:
        named_row(connection, "application", "shop", locked=True)
        assert shop.claims.take("shop", "w1", lease=60) is None
    assert shop.claims.take("shop", "w1", lease=60) is not None


@pytest.mark.parametrize("hours", [-5, 5])
def test_machines_with_wrong_clocks_agree_on_claims(any_settings, shop, monkeypatch, hours):
    """The database's clock counts, where machines share one."""
    if not any_settings.database_url.startswith("postgresql"):
        pytest.skip("an SQLite database has one machine, with one clock")
    from deploycore.store import engine, triggers

    class Wrong(datetime):
        @classmethod
        def now(cls, zone=None):
            return datetime.now(zone) + timedelta(hours=hours)

    shop.claims.take("shop", "w1", lease=60)
    trigger = shop.triggers.add("shop", cause="push")
    for module in (engine, triggers, claims_module):
        monkeypatch.setattr(module, "datetime", Wrong, raising=False)
    assert shop.claims.take("shop", "w2", lease=60) is None
    assert shop.triggers.pending(host="here") == []
    assert beat(shop) == {"shop"}
    shop.claims.release("shop", "w1")
    assert shop.triggers.pending(host="here") == ["shop"]
    shop.triggers.postpone([trigger.id], seconds=60, error_code="git")
    assert shop.triggers.pending(host="here") == []
    assert 50 < shop.triggers.seconds_to_next() <= 60
