"""Nudges of a fleet on PostgreSQL: quick where they come, and harmless where they don't."""

from __future__ import annotations

import importlib.util
import logging
import socket
import threading
import time
from contextlib import ExitStack

import pytest
from pydantic import SecretStr

from deploycore import Installation, Settings
from deploycore.worker import announcing, fleet
from deploycore.worker.fleet import Nudges, open_nudges
from tests.worker.conftest import wait_for

HOUR = 3600.0


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """What is polled for is for lost notifications; tests don't wait for it."""
    monkeypatch.setattr(fleet, "_POLL_SECONDS", 0.5)


@pytest.fixture
def environment(tmp_path, postgresql) -> dict[str, str]:
    return {"DEPLOYCORE_HOME": str(tmp_path / "home"), "DEPLOYCORE_DATABASE_URL": postgresql}


@pytest.fixture
def elsewhere(environment):
    """The same installation, as another process has it."""
    with Installation(Settings.from_environment(environment)) as opened:
        yield opened


@pytest.fixture
def query(environment):
    """Asks the database: ``query("SELECT 1")``."""
    import psycopg

    address = environment["DEPLOYCORE_DATABASE_URL"].replace("+psycopg", "")
    with psycopg.connect(address, autocommit=True) as connection:
        yield lambda statement: connection.execute(statement).fetchall()


@pytest.fixture
def nudges(installation):
    """Makes nudges, closed after the test."""
    with ExitStack() as stack:

        def make() -> Nudges:
            made = open_nudges(installation)
            stack.callback(made.close)
            return made

        yield make


def jobs(query) -> list[tuple[str, str]]:
    return query("SELECT args->>'application', queue_name FROM procrastinate_jobs ORDER BY id")


def test_what_is_added_in_another_process_wakes_a_worker_long_before_its_sweep(
    installation, elsewhere, deployments, add, start
):
    worker = start(sweep=HOUR)
    worker.wait_until_idle(30)
    with announcing(elsewhere):
        elsewhere.store.triggers.add("two", cause="push")
        wait_for(lambda: deployments.asked == ["two"])
    wait_for(lambda: installation.store.triggers.counts().deployed == 1)


def test_a_nudge_that_comes_before_anybody_listens_is_kept(
    elsewhere, deployments, applications, nudges, start, query
):
    nudges().send("one")
    assert jobs(query) == [("one", "deploycore")]
    heard = []
    nudges().listen(heard.append, host="here", threads=1)
    wait_for(lambda: heard == ["one"])
    wait_for(lambda: jobs(query) == [])


def test_one_nudge_waits_for_each_application(applications, nudges, query):
    sender = nudges()
    for _ in range(5):
        sender.send("one")
        sender.send("two")
    assert sorted(name for name, _ in jobs(query)) == ["one", "two"]


def test_a_nudge_for_a_machine_is_for_nobody_else(installation, applications, nudges, query):
    definition = installation.store.get_application("one").definition
    installation.apply([definition.model_copy(update={"host": "far"})])
    here, far = [], []
    sender, listener, other = nudges(), nudges(), nudges()
    sender.send("one")
    sender.send("two")
    assert jobs(query) == [("one", "deploycore@far"), ("two", "deploycore")]
    listener.listen(here.append, host="here", threads=1)
    wait_for(lambda: here == ["two"])
    other.listen(far.append, host="far", threads=1)
    wait_for(lambda: far == ["one"])
    assert here == ["two"]


def test_one_application_is_looked_at_by_one_at_a_time(applications, nudges, query):
    running, most, lock = [], [], threading.Lock()

    def look_at(application: str) -> None:
        with lock:
            running.append(application)
            most.append(len(running))
        time.sleep(0.1)
        with lock:
            running.remove(application)

    listeners = [nudges() for _ in range(2)]
    for listener in listeners:
        listener.listen(look_at, host="here", threads=2)
    sender = nudges()
    for number in range(1, 4):
        sender.send("one")
        sender.send("one")
        wait_for(lambda number=number: len(most) >= number and not jobs(query))
    assert set(most) == {1}


def test_a_nudge_that_a_dead_worker_had_is_given_to_another(
    applications, nudges, query, monkeypatch
):
    monkeypatch.setattr(fleet, "_STALLED_SECONDS", 1.0)
    nudges().send("one")
    nudges().send("two")
    query(
        "WITH dead AS (INSERT INTO procrastinate_workers (last_heartbeat)"
        " VALUES (now() - interval '1 hour') RETURNING id)"
        " UPDATE procrastinate_jobs SET status = 'doing', worker_id = dead.id FROM dead"
        " RETURNING procrastinate_jobs.id"
    )
    nudges().send("two")  # of which one waits already
    heard = []
    nudges().listen(heard.append, host="here", threads=1)
    wait_for(lambda: set(heard) == {"one", "two"})
    wait_for(lambda: jobs(query) == [])


def test_tables_are_made_once_by_all_who_begin_at_once(applications, installation, query):
    made = [open_nudges(installation) for _ in range(4)]
    threads = [threading.Thread(target=each.send, args=("one",)) for each in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for each in made:
        each.close()
    assert jobs(query) == [("one", "deploycore")]


def test_a_worker_that_stops_tells_the_fleet_of_what_it_leaves(
    elsewhere, deployments, add, start, query, events
):
    deployments.gate.clear()
    worker = start(sweep=HOUR, listener=events.append)
    add("one")
    wait_for(lambda: deployments.running == 1)
    wait_for(lambda: jobs(query) == [])  # this worker has looked, and has it in hand already
    worker.stop(0)
    assert events[-1].kind == "interrupted"
    assert jobs(query) == [("one", "deploycore")]


def test_a_database_that_is_gone_breaks_nobody_and_shows_no_password(caplog):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    address = SecretStr(f"postgresql://somebody:hunter2@127.0.0.1:{port}/nothing")
    gone = Nudges(address, lambda application: None)
    with caplog.at_level(logging.DEBUG):
        gone.send("one")
        gone.listen(lambda application: None, host="here", threads=1)
        time.sleep(0.3)
        gone.close()
    assert "the fleet is not nudged: OperationalError" in caplog.text
    assert "hunter2" not in caplog.text
    assert "hunter2" not in repr(vars(gone))


def test_listening_ends_whenever_it_is_ended(installation, applications):
    for number in range(12):
        listener = open_nudges(installation)
        listener.listen(lambda application: None, host="here", threads=2)
        time.sleep(0.04 * number)
        listener.close()
        assert not listener._thread.is_alive()


def test_without_the_extra_a_worker_looks_more_often_instead(
    installation, elsewhere, deployments, applications, start, monkeypatch
):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        fleet.importlib.util, "find_spec", lambda name: name != "procrastinate" and found(name)
    )
    assert open_nudges(installation) is None
    start(sweep=None).wait_until_idle(30)
    with announcing(elsewhere):
        elsewhere.store.triggers.add("two", cause="push")
    wait_for(lambda: deployments.asked == ["two"])


def test_sqlite_has_one_machine_and_no_nudges(tmp_path):
    settings = Settings.from_environment({"DEPLOYCORE_HOME": str(tmp_path / "other")})
    with Installation(settings) as installation:
        assert open_nudges(installation) is None
