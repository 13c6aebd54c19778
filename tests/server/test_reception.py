"""A server that may have missed deliveries requests checks of the refs. All clocks are
simulated."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from sqlalchemy import update

from deploycore.errors import StoreError
from deploycore.server.reception import Missed, Reception
from deploycore.store.tables import polls
from tests.server.acme import body_of, push, signed


class Clock:
    """Two clocks, as a machine has them."""

    def __init__(self):
        self.up = self.wall = 1000.0

    def __call__(self):
        return self.up, self.wall

    def wait(self, seconds):
        self.up += seconds
        self.wall += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def missed():
    return set()


@pytest.fixture
def reception(installation, secret, clock, missed):
    def take():
        found = set(missed)
        missed.clear()
        return found

    return Reception(installation, take, clock=clock)


@pytest.fixture
def owed(installation):
    """The applications that are to be checked; they count as checked then."""

    def owed():
        names = set(installation.store.polls.requested())
        with installation.store._database.writing() as connection:
            connection.execute(update(polls).values(requested_at=None))
        return names

    return owed


def test_all_applications_are_checked_once_at_server_start(reception, owed, clock):
    reception.look()
    assert owed() == {"shop"}
    for _ in range(20):
        clock.wait(2)
        reception.look()
    assert owed() == set()


@pytest.mark.parametrize(
    "gap",
    [
        lambda clock: clock.wait(11),  # stopped, or the machine was too busy
        lambda clock: setattr(clock, "up", clock.up + 5000),  # suspended, and the clock set back
        lambda clock: setattr(clock, "wall", clock.wall + 5000),  # a virtual machine was paused
    ],
    ids=["stopped", "suspended", "paused"],
)
def test_all_applications_are_checked_after_the_process_was_suspended(reception, owed, clock, gap):
    reception.look()
    owed()
    gap(clock)
    reception.look()
    assert owed() == {"shop"}


def test_a_clock_set_back_triggers_no_check(reception, owed, clock):
    reception.look()
    owed()
    clock.wall -= 5000
    reception.look()
    assert owed() == set()


def test_all_applications_are_checked_when_the_database_returns(
    reception, owed, clock, installation, monkeypatch, caplog
):
    reception.look()
    owed()

    @contextmanager
    def broken():
        raise StoreError("The database is gone.")
        yield

    with monkeypatch.context() as patch:
        patch.setattr(installation.store._database, "writing", broken)
        for _ in range(20):
            clock.wait(2)
            reception.look()
    assert len([each for each in caplog.messages if "may be missed" in each]) == 1
    clock.wait(2)
    reception.look()
    assert owed() == {"shop"}


def test_reception_is_recorded_periodically(reception, installation, clock, monkeypatch):
    noted = []
    monkeypatch.setattr(installation.store.reception, "note", lambda: noted.append(clock.up))
    for _ in range(21):
        reception.look()
        clock.wait(2)
    assert len(noted) == 5


def test_only_an_application_with_a_rejected_delivery_is_checked(reception, owed, missed, create):
    create("blog")
    reception.look()
    owed()
    missed |= {"blog", "nobody"}
    reception.look()
    assert owed() == {"blog"}


def test_applications_without_auto_deploy_are_not_checked(reception, owed, create):
    create("manual", auto_deploy=None)
    create("frozen", ref="1" * 40)
    create("silent", auto_deploy={"push": False, "poll": "off"})
    create("hooked", auto_deploy={"poll": "off"})
    create("polled", auto_deploy={"push": False})
    reception.look()
    assert owed() == {"shop", "hooked", "polled"}


def test_repeated_rejections_cause_one_check_a_minute():
    now = [0.0]
    missed = Missed(clock=lambda: now[0])
    seen = []
    for _ in range(130):
        missed.add("shop")
        seen += missed.take()
        now[0] += 1
    assert len(seen) == 3
    now[0] += 60
    assert missed.take() == {"shop"}


def test_a_delivery_that_could_not_be_stored_counts_as_missed(
    serving, secret, installation, monkeypatch
):
    client = serving()
    acceptor = client.application.acceptor

    def send(name="shop"):
        body = body_of(push())
        headers = signed(body, secret)
        return client.post(f"/webhooks/{name}", content=body, headers=headers).status_code

    assert send() == 202
    assert acceptor.take_missed() == set()

    def broken(*_, **__):
        raise StoreError("The database is gone.")

    monkeypatch.setattr(installation.store.triggers, "add", broken)
    assert send() == 503
    assert send("nobody") == 404
    assert acceptor.take_missed() == {"shop"}
