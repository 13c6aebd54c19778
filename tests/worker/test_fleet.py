"""Worker processes that share a database: nothing is deployed twice, and nothing is lost.

The builds themselves record what was built, in a file that is independent of deploycore.
``DEPLOYCORE_KILLS`` is the number of times that a worker is killed. Longer runs are started by
hand.
"""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from deploycore.errors import ConfigurationError
from deploycore.store.tables import deployments
from tests.worker.conftest import events_of, wait_for

KILLS = int(os.environ.get("DEPLOYCORE_KILLS", "6"))
LEASE = 4.0


def test_a_worker_processes_the_queue_and_exits(fleet):
    names = fleet.create(3)
    for name in names:
        fleet.add(name, actor="ada")
    events = events_of(fleet.start("--once"))
    assert {each["application"]: each.get("state") for each in events if "state" in each} == (
        dict.fromkeys(names, "healthy")
    )
    assert [fleet.live(name) for name in names] == ["one"] * 3
    (record, *_) = fleet.installation.store.deployments.list("app0")
    assert (record.commit, record.requested_by) == (fleet.commit, "ada (push)")
    assert events_of(fleet.start("--once")) == []


def test_two_workers_build_each_commit_of_each_application_once(fleet):
    names = fleet.create(8)
    for name in names:
        fleet.add(name)
        fleet.add(name)
    workers = [fleet.start("--threads", "2") for _ in range(2)]
    wait_for(fleet.is_done)
    assert fleet.builds() == {(name, fleet.commit): 1 for name in names}
    first = fleet.commit
    second = fleet.push("two")
    for name in names:
        fleet.add(name)
    wait_for(fleet.is_done)
    for worker in workers:
        worker.terminate()
    events = [events_of(worker) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert all(events), "each of both had something to do"
    assert fleet.builds() == {(name, commit): 1 for name in names for commit in (first, second)}
    assert fleet.builds("collided") == {}
    assert [fleet.live(name) for name in names] == ["two"] * 8
    assert fleet.installation.store.claims.list() == []
    assert fleet.installation.store.claims.workers() == []


def test_every_push_during_a_burst_leads_to_its_commit_or_a_newer_one(fleet):
    names = fleet.create(3)
    workers = [fleet.start("--threads", "2") for _ in range(2)]
    for number in range(8):
        fleet.push(f"push {number}")
        for name in names:
            fleet.add(name, delivery=f"delivery {number}", commit=fleet.commit)
    wait_for(fleet.is_done)
    for worker in workers:
        worker.terminate()
        events_of(worker)
    assert [fleet.live(name) for name in names] == ["push 7"] * 3
    assert max(fleet.builds().values()) == 1
    assert fleet.builds("collided") == {}
    store = fleet.installation.store
    assert all(each.deployment and not each.error_code for each in store.triggers.list())
    assert store.deployments.unfinished() == []


def test_the_work_of_a_killed_worker_is_taken_over_after_its_lease(fleet):
    (name,) = fleet.create(1)
    fleet.hold_builds()
    fleet.add(name)
    victim = fleet.start(lease=LEASE)
    wait_for(lambda: fleet.builds("began"))
    victim.kill()
    victim.wait()
    fleet.release_builds()
    other = fleet.start(lease=LEASE)
    wait_for(fleet.is_done)
    other.terminate()
    events = events_of(other)
    assert [each["event"] for each in events] == ["claimed", "settled"]
    assert events[0]["taken_from"]
    assert fleet.live(name) == "one"
    assert fleet.installation.store.deployments.unfinished() == []


def test_a_worker_suspended_past_its_lease_yields_when_it_resumes(fleet):
    (name,) = fleet.create(1)
    fleet.hold_builds()
    fleet.add(name)
    sleeper, claims = fleet.start(lease=LEASE), fleet.installation.store.claims
    wait_for(lambda: fleet.builds("began"))
    (claim,) = claims.list()
    fleet.suspend(sleeper)
    other = fleet.start(lease=LEASE)
    wait_for(lambda: any(each.worker != claim.worker for each in claims.list()))
    second = fleet.push("two")
    fleet.add(name)
    sleeper.send_signal(signal.SIGCONT)
    wait_for(lambda: (name, second) in fleet.builds("began"))  # the first build is interrupted
    sleeper.terminate()  # otherwise, either of them may take the second trigger
    assert [each["event"] for each in events_of(sleeper)] == ["claimed", "interrupted"]
    fleet.release_builds()
    wait_for(fleet.is_done)
    other.terminate()
    assert events_of(other)[0]["taken_from"] == claim.worker
    assert fleet.live(name) == "two"
    assert fleet.builds("collided") == {}
    assert fleet.installation.store.deployments.unfinished() == []


def test_workers_killed_at_any_moment_lose_nothing(fleet):
    names = fleet.create(6, seconds=0.02)
    chance = random.Random(os.environ.get("DEPLOYCORE_SEED", "7"))
    workers = [fleet.start("--threads", "2", lease=LEASE) for _ in range(2)]
    for number in range(KILLS):
        fleet.push(f"push {number}")
        for name in names:
            fleet.add(name, delivery=str(number))
        time.sleep(chance.uniform(0.0, 2.0))
        victim = workers.pop(0)
        victim.kill()
        victim.wait()
        workers.append(fleet.start("--threads", "2", lease=LEASE))
    wait_for(fleet.is_done, 100)
    for worker in workers:
        worker.terminate()
        events_of(worker)
    store = fleet.installation.store
    fleet.installation.recover()
    assert [fleet.live(name) for name in names] == [f"push {KILLS - 1}"] * len(names)
    assert fleet.builds("collided") == {}
    assert store.deployments.unfinished() == []
    assert [each.error_code for each in store.triggers.list() if each.error_code] == []
    healthy = {(each.application, each.commit) for each in store.deployments.list(state="healthy")}
    assert set(fleet.builds()) >= healthy


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopping_worker_finishes_its_deployments_and_starts_no_new_ones(fleet, number):
    names = fleet.create(3, seconds=1.0)
    fleet.hold_builds()
    for name in names:
        fleet.add(name)
    worker = fleet.start("--threads", "1")
    wait_for(lambda: fleet.builds("began"))
    worker.send_signal(number)
    fleet.release_builds()
    events = events_of(worker)
    assert worker.returncode == 0
    assert [each["event"] for each in events] == ["claimed", "settled"]
    assert len(fleet.builds()) == 1
    assert fleet.installation.store.triggers.counts().due == 2
    assert fleet.installation.store.claims.list() == []


def test_work_not_finished_within_the_drain_time_is_left_to_another_worker(fleet):
    (name,) = fleet.create(1)
    fleet.hold_builds()
    fleet.add(name)
    worker = fleet.start("--drain", "0.2")
    wait_for(lambda: fleet.builds("began"))
    worker.terminate()
    assert [each["event"] for each in events_of(worker)] == ["claimed", "interrupted"]
    store = fleet.installation.store
    assert [each.state for each in store.deployments.list(name)] == ["cancelled"]
    assert store.triggers.counts().due == 1
    assert store.claims.list() == []


def test_a_second_signal_stops_the_worker_immediately(fleet):
    (name,) = fleet.create(1)
    fleet.hold_builds()
    fleet.add(name)
    worker = fleet.start("--drain", "3600")
    wait_for(lambda: fleet.builds("began"))
    worker.terminate()
    time.sleep(0.5)
    worker.terminate()
    assert [each["event"] for each in events_of(worker)] == ["claimed", "interrupted"]


def test_a_deployment_of_a_worker_can_be_cancelled(fleet):
    (name,) = fleet.create(1)
    fleet.hold_builds()
    fleet.add(name)
    worker = fleet.start()
    wait_for(lambda: fleet.builds("began"))
    (running,) = fleet.installation.store.deployments.unfinished(name)
    fleet.installation.engine.cancel(running.id)
    wait_for(fleet.is_done)
    worker.terminate()
    events_of(worker)
    (trigger,) = fleet.installation.store.triggers.list(name)
    assert (trigger.deployment, trigger.error_code) == (running.id, "cancelled")


def test_a_takeover_completes_the_deployment_of_a_dead_machine(fleet):
    """On another machine: its record names one that will never come back."""
    from sqlalchemy import update

    (name,) = fleet.create(1)
    fleet.hold_builds()
    fleet.add(name)
    victim = fleet.start(lease=LEASE)
    wait_for(lambda: fleet.builds("began"))
    victim.kill()
    victim.wait()
    fleet.release_builds()
    store = fleet.installation.store
    with store._database.writing() as connection:
        connection.execute(update(deployments).values(host="a-machine-that-burned-down"))
    fleet.installation.recover()
    assert [each.state for each in store.deployments.list(name)] == ["building"]
    other = fleet.start(lease=LEASE)
    wait_for(fleet.is_done)
    other.terminate()
    events_of(other)
    assert [each.state for each in store.deployments.list(name)] == ["healthy", "failed"]
    assert len(list((fleet._place / "live" / name / "releases").iterdir())) == 1


def test_an_application_of_another_machine_is_rejected_here(fleet):
    (name,) = fleet.create(1)
    definition = fleet.installation.store.get_application(name).definition
    fleet.installation.apply([definition.model_copy(update={"host": "elsewhere"})])
    with pytest.raises(ConfigurationError, match="deployed by the machine 'elsewhere'"):
        fleet.installation.deploy(name)
    with pytest.raises(ConfigurationError, match="deployed by the machine 'elsewhere'"):
        fleet.installation.roll_back(name)
    fleet.add(name)
    assert events_of(fleet.start("--once")) == []
