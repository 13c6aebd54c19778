"""One worker in the test's process: the applications that it claims, their results, and its
shutdown."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest
from sqlalchemy import update

from deploycore.errors import (
    Cancelled,
    ProviderUnavailable,
    RateLimited,
    StepFailed,
    StoreError,
)
from deploycore.store.tables import claims, triggers
from deploycore.worker import worker as worker_module
from tests.worker.conftest import wait_for


def settled(installation) -> list[tuple[int | None, str | None]]:
    """The deployment and the error of each trigger that is settled, the oldest first."""
    found = reversed(installation.store.triggers.list())
    return [(each.deployment, each.error_code) for each in found if each.settled_at]


def test_triggers_present_at_start_are_processed(installation, deployments, add, start):
    add("one", actor="ada")
    assert start().wait_until_idle(30)
    assert (deployments.asked, deployments.said) == (["one"], ["ada (push)"])
    assert settled(installation) == [(1, None)]
    assert installation.store.claims.list() == []


@pytest.mark.parametrize(
    ("told", "cause"),
    [
        ("push", "push"),
        ("poll", "poll"),
        ("request", "api"),
        ("pull_request", "preview"),
        ("recovery", ""),
    ],
)
def test_the_deployment_gets_the_cause_of_the_newest_trigger(
    installation, applications, deployments, start, told, cause
):
    installation.store.triggers.add("one", cause="push")
    installation.store.triggers.add("one", cause=told)
    assert start().wait_until_idle(30)
    assert deployments.causes == [cause]


def test_a_trigger_added_in_the_same_process_wakes_the_worker(
    installation, deployments, add, start
):
    worker = start()
    worker.wait_until_idle(30)
    add("two")
    wait_for(lambda: settled(installation))
    assert deployments.asked == ["two"]


def test_a_trigger_from_another_process_is_found_by_the_sweep(environment, deployments, add, start):
    from deploycore import Installation, Settings

    start(sweep=0.05).wait_until_idle(30)
    with Installation(Settings.from_environment(environment)) as other:
        other.store.triggers.add("two", cause="push")
    wait_for(lambda: deployments.asked == ["two"])


def test_a_deployment_settles_all_triggers_present_at_its_start(
    installation, deployments, add, start
):
    for number in range(5):
        add("one", actor=f"p{number}")
    assert start().wait_until_idle(30)
    assert (deployments.asked, deployments.said) == (["one"], ["p4 (push)"])
    assert settled(installation) == [(1, None)] * 5


def test_triggers_added_during_a_deployment_cause_another_one(
    installation, deployments, add, start
):
    deployments.gate.clear()
    add("one")
    worker = start(threads=4)
    wait_for(lambda: deployments.asked == ["one"])
    for _ in range(3):
        add("one")
    time.sleep(0.1)
    assert deployments.asked == ["one"]
    deployments.gate.set()
    assert worker.wait_until_idle(30)
    assert deployments.asked == ["one", "one"]
    assert settled(installation) == [(1, None), (2, None), (2, None), (2, None)]


def test_concurrent_deployments_are_limited_by_the_number_of_threads(deployments, add, start):
    deployments.gate.clear()
    for name in ("one", "two", "three"):
        add(name)
    worker = start(threads=2)
    wait_for(lambda: deployments.running == 2)
    time.sleep(0.1)
    deployments.gate.set()
    assert worker.wait_until_idle(30)
    assert deployments.most == 2
    assert sorted(deployments.asked) == ["one", "three", "two"]


def test_priority_takes_precedence_over_age(deployments, add, start):
    add("one")
    add("two")
    add("three", priority=1)
    assert start(threads=1).wait_until_idle(30)
    assert deployments.asked == ["three", "one", "two"]


def test_a_trigger_due_during_a_queue_read_does_not_wait_for_the_sweep(
    installation, deployments, add, start, monkeypatch
):
    monkeypatch.setattr("deploycore.worker.retries.FIRST_SECONDS", 0.05)
    queue = installation.store.triggers.queue

    def slow(*arguments, **options):
        found = queue(*arguments, **options)
        time.sleep(0.3)
        return found

    monkeypatch.setattr(installation.store.triggers, "queue", slow)
    deployments.errors = [ProviderUnavailable("Down.")]
    add("one")
    start()
    wait_for(lambda: settled(installation), 30)
    assert deployments.asked == ["one"] * 2


def test_a_trigger_with_a_permanent_error_is_settled_with_that_error(
    installation, deployments, add, start, events
):
    deployments.errors = [StepFailed("Failed.", deployment=7)]
    add("one")
    assert start(listener=events.append).wait_until_idle(30)
    assert settled(installation) == [(7, "step_failed")]
    assert [each.kind for each in events] == ["claimed", "settled"]
    assert events[-1].error == "Failed."


def test_a_cancelled_trigger_is_settled(installation, deployments, add, start):
    deployments.errors = [Cancelled("Stop.", deployment=7)]
    add("one")
    assert start().wait_until_idle(30)
    assert settled(installation) == [(7, "cancelled")]


def test_an_unexpected_error_settles_the_trigger_and_keeps_the_worker_running(
    installation, deployments, add, start
):
    deployments.errors = [ZeroDivisionError("secret-of-somebody")]
    add("one")
    worker = start()
    assert worker.wait_until_idle(30)
    assert settled(installation) == [(None, "error")]
    add("two")
    wait_for(lambda: deployments.asked == ["one", "two"])


def test_a_temporary_error_is_retried(installation, deployments, add, start, events, monkeypatch):
    monkeypatch.setattr("deploycore.worker.retries.FIRST_SECONDS", 0.1)
    deployments.errors = [ProviderUnavailable("Down."), ProviderUnavailable("Down.")]
    add("one")
    start(listener=events.append)
    wait_for(lambda: settled(installation))
    assert deployments.asked == ["one"] * 3
    assert settled(installation) == [(1, None)]
    assert installation.store.triggers.list()[0].attempts == 2
    # The record is written first, and then told of.
    wait_for(lambda: events and events[-1].kind == "settled")
    assert [each.kind for each in events if each.kind != "claimed"] == [
        "postponed",
        "postponed",
        "settled",
    ]


OLD, NEW = "a" * 40, "b" * 40


@pytest.fixture
def host_shows(installation, monkeypatch):
    """Has deployments find these commits: ``host_shows(OLD, NEW)``, the last one from then on."""
    store, states = installation.store.deployments, ("authenticating", "resolving")

    def host_shows(*commits):
        shown = list(commits)

        def deploy(name, **_):
            commit = shown.pop(0) if len(shown) > 1 else shown[0]
            live = store.list(name, state="healthy", limit=1)
            record = store.request(name, ref="main")
            for state in states:
                store.advance(record.id, state)
            if live and live[0].commit == commit:
                return store.advance(record.id, "skipped")
            for state in ("fetching", "activating"):
                store.advance(record.id, state, commit=commit)
            return store.advance(record.id, "healthy")

        monkeypatch.setattr("deploycore.worker.retries.FIRST_SECONDS", 0.05)
        monkeypatch.setattr(installation, "deploy", deploy)
        installation.deploy("one")

    return host_shows


def test_a_push_that_the_host_does_not_show_yet_is_retried(
    installation, add, start, host_shows, events
):
    host_shows(OLD, OLD, OLD, NEW)
    add("one", commit=NEW)
    start(listener=events.append)
    wait_for(lambda: settled(installation))
    (told,) = {each.hint for each in events if each.kind == "postponed"}
    assert told == "Wait: deploycore asks the git host again."
    found = installation.store.deployments.list("one")
    assert [(each.state, each.commit) for each in reversed(found)] == [
        ("healthy", OLD),
        ("skipped", None),
        ("skipped", None),
        ("healthy", NEW),
    ]
    assert settled(installation) == [(found[0].id, None)]


def test_a_host_that_keeps_showing_another_commit_is_trusted(installation, add, start, host_shows):
    host_shows(OLD)
    add("one", commit=NEW)
    start()
    wait_for(lambda: settled(installation))
    assert len(installation.store.deployments.list("one")) == 5
    assert settled(installation) == [(5, None)]


@pytest.mark.parametrize("told", [OLD, OLD[:12], None])
def test_a_live_commit_is_checked_once(installation, add, start, host_shows, told):
    host_shows(OLD)
    add("one", commit=NEW)
    add("one", commit=told)
    assert start().wait_until_idle(30)
    assert settled(installation) == [(2, None), (2, None)]


def test_a_postponed_trigger_waits_until_it_is_due(installation, deployments, add, start):
    from datetime import UTC, datetime

    at = datetime.now(UTC) + timedelta(hours=1)
    deployments.errors = [RateLimited("Less.", retry_at=at)]
    add("one")
    worker = start(sweep=0.05)
    wait_for(lambda: installation.store.triggers.open("one")[0].attempts == 1)
    (waiting,) = installation.store.triggers.open("one")
    assert waiting.not_before >= at - timedelta(seconds=1)
    add("one")
    assert worker.wait_until_idle(30)
    time.sleep(0.2)
    assert deployments.asked == ["one"]


def test_a_trigger_that_failed_for_a_day_is_abandoned(installation, deployments, add, start):
    deployments.errors = [ProviderUnavailable("Down.")]
    old = add("one")
    with installation.store._database.writing() as connection:
        connection.execute(
            update(triggers).values(received_at=old.received_at - timedelta(hours=25))
        )
    new = add("one")
    assert start().wait_until_idle(30)
    assert settled(installation) == [(None, "provider_unavailable")]
    assert [each.id for each in installation.store.triggers.open("one")] == [new.id]


def test_a_temporary_store_error_loses_nothing(installation, deployments, add, start, monkeypatch):
    settle = installation.store.triggers.settle
    failures = [StoreError("Busy."), StoreError("Busy.")]

    def failing(*arguments, **given):
        if failures:
            raise failures.pop()
        settle(*arguments, **given)

    monkeypatch.setattr(installation.store.triggers, "settle", failing)
    monkeypatch.setattr(worker_module, "_PAUSE_SECONDS", 0.05)
    add("one")
    start()
    wait_for(lambda: settled(installation))
    assert deployments.asked == ["one"] * 3


def test_an_unreadable_store_is_read_again(installation, deployments, add, start, monkeypatch):
    pending = installation.store.triggers.pending
    failures = [StoreError("Busy.")] * 3

    def failing(**given):
        if failures:
            raise failures.pop()
        return pending(**given)

    monkeypatch.setattr(installation.store.triggers, "pending", failing)
    monkeypatch.setattr(worker_module, "_PAUSE_SECONDS", 0.02)
    add("one")
    start()
    wait_for(lambda: deployments.asked == ["one"])


def test_an_application_bound_to_another_machine_is_not_processed(
    installation, deployments, add, start
):
    import socket

    for name, host in (("one", "elsewhere"), ("two", socket.gethostname())):
        definition = installation.store.get_application(name).definition
        installation.apply([definition.model_copy(update={"host": host})])
    for name in ("one", "two", "three"):
        add(name)
    assert start(threads=1).wait_until_idle(30)
    assert deployments.asked == ["two", "three"]


def test_stopping_lets_running_deployments_finish(installation, deployments, add, start):
    deployments.gate.clear()
    add("one")
    worker = start()
    wait_for(lambda: deployments.running == 1)
    stopping = threading.Thread(target=worker.stop, args=(60,))
    stopping.start()
    add("two")
    time.sleep(0.1)
    deployments.gate.set()
    stopping.join(30)
    assert deployments.asked == ["one"]
    assert settled(installation) == [(1, None)]
    assert (installation.store.claims.list(), installation.store.claims.workers()) == ([], [])


def test_a_deployment_that_exceeds_the_drain_time_is_left_to_the_next_worker(
    installation, deployments, add, start, events
):
    deployments.gate.clear()
    add("one")
    worker = start(listener=events.append)
    wait_for(lambda: deployments.running == 1)
    worker.stop(0.1)
    assert [each.kind for each in events] == ["claimed", "interrupted"]
    assert settled(installation) == []
    assert installation.store.triggers.open("one")[0].attempts == 0
    assert installation.store.claims.list() == []
    deployments.gate.set()
    assert start().wait_until_idle(30)
    assert settled(installation) == [(1, None)]


def test_stopping_twice_is_harmless(start, applications):
    worker = start()
    worker.stop()
    worker.stop()


def test_a_lost_claim_ends_the_deployment_and_settles_nothing(
    installation, deployments, add, start, events
):
    deployments.gate.clear()
    add("one")
    start(lease=0.6, listener=events.append)
    wait_for(lambda: deployments.running == 1)
    with installation.store._database.writing() as connection:
        connection.execute(update(claims).values(worker="another"))
    wait_for(lambda: deployments.running == 0)
    wait_for(lambda: [each.kind for each in events] == ["claimed", "interrupted"])
    assert settled(installation) == []
    assert [each.worker for each in installation.store.claims.list()] == ["another"]


def test_a_worker_without_heartbeats_stops_before_its_claims_expire(
    installation, deployments, add, start, monkeypatch
):
    """However the database hangs: the one who looks after it asks nobody."""
    released = threading.Event()
    monkeypatch.setattr(
        installation.store.claims, "beat", lambda *_, **__: released.wait(30) and set()
    )
    deployments.gate.clear()
    add("one")
    start(lease=1.0)
    wait_for(lambda: deployments.running == 1)
    wait_for(lambda: deployments.running == 0)
    assert settled(installation) == []
    released.set()


def test_losing_a_claim_to_another_worker_does_not_delay_other_work(
    installation, deployments, add, start, monkeypatch
):
    """Its sweep is a minute: it looks again at once, and beyond what it does not get."""
    take, asked = installation.store.claims.take, []

    def lose(application, worker, *, lease):
        asked.append(application)
        return None if application == "one" else take(application, worker, lease=lease)

    monkeypatch.setattr(installation.store.claims, "take", lose)
    for name in ("one", "two", "three"):
        add(name)
    start(threads=1)
    wait_for(lambda: deployments.asked == ["two", "three"])
    tried = asked.count("one")
    wait_for(lambda: asked.count("one") > tried)


def test_a_released_claim_is_not_reported_as_lost(
    installation, deployments, add, start, monkeypatch, caplog
):
    """A sign of life may come between the release and what the worker remembers of it."""
    release = installation.store.claims.release

    def release_and_beat(application, worker):
        release(application, worker)
        running[0]._beat()

    monkeypatch.setattr(installation.store.claims, "release", release_and_beat)
    running = [start(threads=1)]
    add("one")
    wait_for(lambda: settled(installation) and not installation.store.claims.list())
    assert running[0].wait_until_idle(30)
    assert "is lost" not in caplog.text


def test_a_claim_released_while_claims_are_examined_is_not_reported_as_lost(installation, caplog):
    """The slot's own thread sets it to none at any moment, also between two reads."""

    class Released:
        interrupted = False
        reads = 0

        @property
        def claimed(self):
            self.reads += 1
            return 1.0 if self.reads == 1 else None

        def interrupt(self):
            raise AssertionError

    worker, seen = worker_module.Worker(installation, threads=1), []
    worker._slots["site"] = slot = Released()
    worker._interrupt(lambda application, claimed: seen.append(claimed), "it is not")
    assert (seen, slot.reads) == ([1.0], 1)
    assert "is lost" not in caplog.text


def test_a_claim_stored_during_a_heartbeat_is_not_reported_as_lost(
    installation, deployments, add, start, monkeypatch, caplog
):
    """The heartbeat reads the claims before the new one is there, and compares them after that."""
    store, has_read = installation.store.claims, threading.Event()
    beat, take = store.beat, store.take

    def read_early(*given, **named):
        kept = beat(*given, **named)
        has_read.set()
        wait_for(lambda: deployments.running == 1)
        return kept

    def take_during_a_heartbeat(*given, **named):
        beating.start()
        assert has_read.wait(30)
        return take(*given, **named)

    monkeypatch.setattr(store, "beat", read_early)
    monkeypatch.setattr(store, "take", take_during_a_heartbeat)
    deployments.gate.clear()
    worker = start()
    beating = threading.Thread(target=worker._beat)
    add("one")
    wait_for(lambda: deployments.running == 1)
    beating.join()
    deployments.gate.set()
    wait_for(lambda: settled(installation) == [(1, None)])
    assert "is lost" not in caplog.text


def test_heartbeats_extend_a_claim_as_long_as_needed(installation, deployments, add, start):
    deployments.gate.clear()
    add("one")
    start(lease=6)
    wait_for(lambda: deployments.running == 1)
    first = installation.store.claims.list()[0].expires_at
    wait_for(lambda: installation.store.claims.list()[0].expires_at > first + timedelta(seconds=1))
    start(lease=0.5, sweep=0.05).wait_until_idle(5)
    assert deployments.asked == ["one"]


def test_work_of_a_dead_worker_is_taken_over_when_its_claim_expires(
    installation, deployments, add, start, events
):
    add("one")
    installation.store.claims.take("one", "dead", lease=0.5)
    start(listener=events.append)  # its sweep is a minute: it knows when the claim lapses
    wait_for(lambda: settled(installation))
    assert events[0].taken_from == "dead"


def test_a_claim_that_could_not_be_released_expires(
    installation, deployments, add, start, monkeypatch
):
    release, failures = installation.store.claims.release, [StoreError("Busy.")]

    def failing(*arguments):
        if failures:
            raise failures.pop()
        release(*arguments)

    monkeypatch.setattr(installation.store.claims, "release", failing)
    add("one")
    start(lease=0.5)
    wait_for(lambda: not failures)
    add("one")
    wait_for(lambda: deployments.asked == ["one", "one"], 10)


def test_processing_one_application_does_not_process_others(installation, deployments, add, start):
    import socket

    worker = start(sweep=60.0)
    worker.wait_until_idle(30)
    definition = installation.store.get_application("two").definition
    installation.apply([definition.model_copy(update={"host": socket.gethostname()})])
    installation.store.triggers._listeners.clear()  # nobody wakes it
    add("one")
    add("two")
    worker.check_application("two")
    worker.check_application("three")
    # When "two" is done, a slot is free, and the worker may have taken "one" by now.
    assert deployments.asked[0] == "two"
    assert "three" not in deployments.asked


@pytest.mark.parametrize("listener_fails", [True, False])
def test_a_listener_that_fails_does_not_change_the_result(
    installation, deployments, add, start, listener_fails
):
    def listen(event):
        if listener_fails:
            raise OSError("the terminal is gone")

    add("one")
    assert start(listener=listen).wait_until_idle(30)
    assert settled(installation) == [(1, None)]
