"""One deployment of an application at a time; the newest request wins; anybody may cancel."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from contextlib import contextmanager

import pytest

from deploycore.deploy import DeployRequest, Releases
from deploycore.deploy.locks import Presence
from deploycore.errors import Cancelled, ConfigurationError, Locked, Superseded
from deploycore.git import Cancellation


def states(installation, name: str = "site") -> list[str]:
    return [record.state for record in installation.store.deployments.list(name)]


@contextmanager
def held(target):
    """The target of somebody's running deployment."""
    releases = Releases(target)
    releases.prepare()
    with releases.locked():
        yield


class Waiting(threading.Thread):
    """A deployment in a thread; ``outcome`` is its record or its error."""

    def __init__(self, installation, name="site", **options):
        super().__init__(daemon=True)
        self.outcome = None
        self._deploy = lambda: installation.deploy(name, **options)
        self.start()

    def run(self):
        try:
            self.outcome = self._deploy()
        except Exception as error:
            self.outcome = error


def wait_for(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_deployment_waits_for_its_turn(installation, create, target):
    create()
    with held(target):
        waiting = Waiting(installation)
        wait_for(lambda: states(installation) == ["queued"])
        time.sleep(0.2)
        assert states(installation) == ["queued"]
    waiting.join(20)
    assert waiting.outcome.state == "healthy"
    assert waiting.outcome.seconds["queued"] > 0.1


def test_without_waiting_a_locked_target_is_reported_at_once(installation, create, target):
    create()
    with held(target), pytest.raises(Locked):
        installation.deploy("site", wait=False)
    assert states(installation) == []


def test_a_request_without_waiting_does_not_supersede_queued_ones(installation, create, target):
    create()
    with held(target):
        waiting = Waiting(installation)
        wait_for(lambda: states(installation) == ["queued"])
        with pytest.raises(Locked):
            installation.deploy("site", wait=False)
        assert states(installation) == ["queued"]
    waiting.join(20)
    assert waiting.outcome.state == "healthy"


def test_a_queued_deployment_uses_the_definition_at_its_start(
    installation, create, publish, target
):
    create()
    publish("other", branch="other")
    with held(target):
        waiting = Waiting(installation)
        wait_for(lambda: states(installation) == ["queued"])
        changed = installation.store.get_application("site").definition
        installation.apply([changed.model_copy(update={"ref": "other"})])
    waiting.join(20)
    assert (target / "current" / "page").read_text() == "other"


def test_an_application_cannot_be_moved_or_removed_during_a_deployment(
    installation, create, target, tmp_path
):
    """Whoever settles a deployment goes by the target that the application has."""
    create()
    with held(target):
        waiting = Waiting(installation)
        wait_for(lambda: states(installation) == ["queued"])
        moved = installation.store.get_application("site").definition
        with pytest.raises(ConfigurationError, match="cannot get another target"):
            installation.apply([moved.model_copy(update={"target": tmp_path / "elsewhere"})])
        with pytest.raises(ConfigurationError, match="cannot be removed") as caught:
            installation.remove_application("site")
        assert "deploycore cancel 1." in caught.value.hint
        installation.engine.cancel(1)
        waiting.join(20)
    installation.apply([moved.model_copy(update={"target": tmp_path / "elsewhere"})])
    assert installation.remove_application("site") == tmp_path / "elsewhere"


def test_the_latest_request_supersedes_queued_ones(installation, create, publish, target):
    create()
    with held(target):
        older = Waiting(installation)
        wait_for(lambda: states(installation) == ["queued"])
        newer = Waiting(installation)
        wait_for(lambda: states(installation) == ["queued", "superseded"])
        older.join(20)
        assert isinstance(older.outcome, Superseded)
        assert "deploycore deployments site" in older.outcome.hint
        assert installation.store.deployments.list("site")[0].state == "queued"
    newer.join(20)
    assert states(installation) == ["healthy", "superseded"]


def test_a_queued_deployment_can_be_cancelled_by_another_process(installation, create, target):
    create()
    with held(target):
        waiting = Waiting(installation)
        wait_for(lambda: states(installation) == ["queued"])
        installation.engine.cancel(1)
        waiting.join(20)
    assert isinstance(waiting.outcome, Cancelled)
    assert states(installation) == ["cancelled"]


def test_a_running_deployment_can_be_cancelled_by_another_process(installation, create, target):
    create(steps={"build": [{"run": ["sleep", "30"]}]})
    running = Waiting(installation)
    wait_for(lambda: states(installation) == ["building"])
    asked = installation.engine.cancel(1)
    assert (asked.state, asked.cancel_requested) == ("building", True)
    running.join(20)
    assert isinstance(running.outcome, Cancelled)
    assert states(installation) == ["cancelled"]
    assert not list((target / "releases").iterdir())


def test_a_failed_deployment_does_not_prevent_others(installation, create, tmp_path):
    names = [
        create(f"site{number}", target=tmp_path / f"live{number}", **options)
        for number, options in enumerate([{}, {"steps": {"build": ["false"]}}, {}, {"ref": "no"}])
    ]
    found = {each.application: each for each in installation.engine.deploy_many(names, parallel=3)}
    assert {name: found[name].deployment.state for name in names} == {
        "site0": "healthy",
        "site1": "failed",
        "site2": "healthy",
        "site3": "failed",
    }
    assert [found[name].error and found[name].error.code for name in names] == [
        None,
        "step_failed",
        None,
        "not_found",
    ]


def test_cancellation_of_a_batch_ends_all_deployments(installation, create, tmp_path):
    names = [
        create(f"s{n}", target=tmp_path / f"l{n}", steps={"build": [{"run": ["sleep", "30"]}]})
        for n in range(3)
    ]
    cancellation = Cancellation()

    def cancel(event):
        if event.phase == "building":
            cancellation.cancel()

    request = DeployRequest(listener=cancel, cancellation=cancellation)
    found = installation.engine.deploy_many(names, request, parallel=2)
    assert [each.error.code for each in found] == ["cancelled"] * 3


def test_without_waiting_a_running_recovery_is_reported(tmp_path):
    presence = Presence(tmp_path / "locks")
    with presence.present("site", Cancellation(), wait=False):
        pass
    with open(tmp_path / "locks" / "site.lock") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with (
            pytest.raises(Locked, match="is being recovered"),
            presence.present("site", Cancellation(), wait=False),
        ):
            pytest.fail("it is held")
    with presence.present("site", Cancellation(), wait=False):
        pass


def test_waiting_for_a_recovery_opens_one_file_at_a_time(tmp_path):
    """A recovery may run steps for minutes; each look at the lock left a file open."""
    presence, looks = Presence(tmp_path / "locks"), []

    class Looking(Cancellation):
        def raise_if_cancelled(self):
            looks.append(len(os.listdir("/proc/self/fd")))
            if len(looks) == 5:
                raise Cancelled("enough")

    with presence.alone("site") as is_alone:
        assert is_alone
        with pytest.raises(Cancelled), presence.present("site", Looking(), wait=True):
            pytest.fail("it is held")
    assert len(set(looks)) == 1
