"""Notifications of a fleet on PostgreSQL are fast, and a lost one does no harm."""

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
from deploycore.worker import announcing
from deploycore.worker import notifications as fleet
from deploycore.worker.notifications import Notifications, open_notifications
from tests.worker.conftest import wait_for

HOUR = 3600.0


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """What is polled for is for lost notifications; tests don't wait for it."""
    monkeypatch.setattr(fleet, "_POLL_SECONDS", 0.5)


@pytest.fixture
def environment(home, made_postgresql) -> dict[str, str]:
    return {"DEPLOYCORE_HOME": str(home), "DEPLOYCORE_DATABASE_URL": made_postgresql}


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
def notifications(installation):
    """Makes notifications, closed after the test."""
    with ExitStack() as stack:

        def make() -> Notifications:
            made = open_notifications(installation)
            stack.callback(made.close)
            return made

        yield make


def jobs(query) -> list[tuple[str, str]]:
    return query("SELECT args->>'application', queue_name FROM procrastinate_jobs ORDER BY id")


def test_a_trigger_from_another_process_wakes_a_worker_before_its_sweep(
    installation, elsewhere, deployments, add, start
):
    worker = start(sweep=HOUR)
    worker.wait_until_idle(30)
    with announcing(elsewhere):
        elsewhere.store.triggers.add("two", cause="push")
        wait_for(lambda: deployments.asked == ["two"])
    wait_for(lambda: installation.store.triggers.counts().deployed == 1)


def test_a_notification_sent_before_anybody_listens_is_kept(
    elsewhere, deployments, applications, notifications, start, query
):
    notifications().send("one")
    assert jobs(query) == [("one", "deploycore")]
    heard = []
    notifications().listen(heard.append, host="here", threads=1)
    wait_for(lambda: heard == ["one"])
    wait_for(lambda: jobs(query) == [])


def test_only_one_notification_is_queued_per_application(applications, notifications, query):
    sender = notifications()
    for _ in range(5):
        sender.send("one")
        sender.send("two")
    assert sorted(name for name, _ in jobs(query)) == ["one", "two"]


def test_a_notification_for_one_machine_is_not_delivered_to_others(
    installation, applications, notifications, query
):
    definition = installation.store.get_application("one").definition
    installation.apply([definition.model_copy(update={"host": "far"})])
    here, far = [], []
    sender, listener, other = notifications(), notifications(), notifications()
    sender.send("one")
    sender.send("two")
    assert jobs(query) == [("one", "deploycore@far"), ("two", "deploycore")]
    listener.listen(here.append, host="here", threads=1)
    wait_for(lambda: here == ["two"])
    other.listen(far.append, host="far", threads=1)
    wait_for(lambda: far == ["one"])
    assert here == ["two"]


def test_an_application_is_processed_by_one_worker_at_a_time(applications, notifications, query):
    running, most, lock = [], [], threading.Lock()

    def look_at(application: str) -> None:
        with lock:
            running.append(application)
            most.append(len(running))
        time.sleep(0.1)
        with lock:
            running.remove(application)

    listeners = [notifications() for _ in range(2)]
    for listener in listeners:
        listener.listen(look_at, host="here", threads=2)
    sender = notifications()
    for number in range(1, 4):
        sender.send("one")
        sender.send("one")
        wait_for(lambda number=number: len(most) >= number and not jobs(query))
    assert set(most) == {1}


def test_a_notification_taken_by_a_dead_worker_is_redelivered(
    applications, notifications, query, monkeypatch
):
    monkeypatch.setattr(fleet, "_STALLED_SECONDS", 1.0)
    notifications().send("one")
    notifications().send("two")
    query(
        "WITH dead AS (INSERT INTO procrastinate_workers (last_heartbeat)"
        " VALUES (now() - interval '1 hour') RETURNING id)"
        " UPDATE procrastinate_jobs SET status = 'doing', worker_id = dead.id FROM dead"
        " RETURNING procrastinate_jobs.id"
    )
    notifications().send("two")  # of which one waits already
    heard = []
    notifications().listen(heard.append, host="here", threads=1)
    wait_for(lambda: set(heard) == {"one", "two"})
    wait_for(lambda: jobs(query) == [])


def test_concurrently_starting_workers_create_the_tables_once(applications, installation, query):
    made = [open_notifications(installation) for _ in range(4)]
    threads = [threading.Thread(target=each.send, args=("one",)) for each in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for each in made:
        each.close()
    assert jobs(query) == [("one", "deploycore")]


def test_a_stopping_worker_notifies_the_fleet_of_remaining_work(
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


def test_a_lost_database_crashes_nothing_and_shows_no_password(caplog):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    address = SecretStr(f"postgresql://somebody:hunter2@127.0.0.1:{port}/nothing")
    gone = Notifications(address, lambda application: None)
    with caplog.at_level(logging.DEBUG):
        gone.send("one")
        gone.listen(lambda application: None, host="here", threads=1)
        time.sleep(0.3)
        gone.close()
    assert "other workers could not be notified: OperationalError" in caplog.text
    assert "hunter2" not in caplog.text
    assert "hunter2" not in repr(vars(gone))


def test_listening_can_be_stopped_at_any_time(installation, applications):
    for number in range(12):
        listener = open_notifications(installation)
        listener.listen(lambda application: None, host="here", threads=2)
        time.sleep(0.04 * number)
        listener.close()
        assert not listener._thread.is_alive()


def test_without_the_extra_a_worker_polls_more_often(
    installation, elsewhere, deployments, applications, start, monkeypatch
):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        fleet.importlib.util, "find_spec", lambda name: name != "procrastinate" and found(name)
    )
    assert open_notifications(installation) is None
    start(sweep=None).wait_until_idle(30)
    with announcing(elsewhere):
        elsewhere.store.triggers.add("two", cause="push")
    wait_for(lambda: deployments.asked == ["two"])


def test_with_sqlite_there_are_no_notifications_between_machines(tmp_path):
    settings = Settings.from_environment({"DEPLOYCORE_HOME": str(tmp_path / "other")})
    with Installation(settings) as installation:
        assert open_notifications(installation) is None
