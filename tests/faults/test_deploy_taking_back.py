"""A release that does not work is rolled back, whatever fails meanwhile, and all messages are
correct."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from deploycore.cli.progress import cancelled_by_signals
from deploycore.deploy import Releases
from deploycore.errors import ConfigurationError, DeployError, HealthCheckFailed, StoreError
from deploycore.git import Cancellation
from deploycore.store.deployments import Deployments
from tests.deploy.conftest import create, installation, provider, publish, target
from tests.processes import Process

__all__ = ["create", "installation", "provider", "publish", "target"]

PROOF = {"health_check": {"shell": "! grep -q ill page", "retries": 0}}


@pytest.fixture
def ill(installation, create, publish):
    """An application whose next release does not work; gives the one that is live."""
    create(**PROOF)
    live = installation.deploy("site")
    publish("ill")
    return live


def last(installation):
    return installation.store.deployments.list("site", limit=1)[0]


def test_a_failed_rollback_switch_is_reported_and_retried(installation, ill, target, monkeypatch):
    replace, calls = os.replace, []

    def full(*arguments):
        calls.extend(arguments[1:] if str(arguments[1]).endswith("/current") else ())
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(*arguments)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(HealthCheckFailed) as caught:
        installation.deploy("site")
    assert "could not be restored" in caught.value.hint
    assert "deploycore recover" in caught.value.hint
    assert last(installation).state == "activating"
    (settled,) = installation.recover()
    assert (settled.state, settled.error_code) == ("rolled_back", "health_check_failed")
    assert Releases(target).current == target / "releases" / ill.release


def test_a_valid_release_that_could_not_be_recorded_is_not_marked_failed(
    installation, create, target, monkeypatch
):
    create()
    advance = Deployments.advance

    def busy(self, deployment, state, **known):
        if state == "healthy":
            raise StoreError("The database is busy.")
        return advance(self, deployment, state, **known)

    monkeypatch.setattr(Deployments, "advance", busy)
    with pytest.raises(StoreError):
        installation.deploy("site")
    assert last(installation).state == "activating"
    monkeypatch.undo()
    assert [each.state for each in installation.recover()] == ["healthy"]
    assert (target / "current" / "page").exists()


def test_nothing_is_changed_if_the_live_release_cannot_be_determined(
    installation, ill, target, monkeypatch
):
    def broken(path, *arguments, **options):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "readlink", broken)
    with pytest.raises(DeployError, match="Input/output error"):
        installation.deploy("site")
    monkeypatch.undo()
    assert (target / "current" / "page").read_text() == "one"
    assert os.listdir(target / "releases") == [ill.release]


@pytest.mark.parametrize("form", ["releases/{}/", "./releases/{}", "{target}/releases/{}"])
def test_a_link_written_by_a_user_in_another_form_is_accepted(installation, ill, target, form):
    (target / "current").unlink()
    (target / "current").symlink_to(form.format(ill.release, target=target))
    with pytest.raises(HealthCheckFailed) as caught:
        installation.deploy("site")
    assert f"Release {ill.release} is live again" in caught.value.hint
    assert (target / "current" / "page").read_text() == "one"


@pytest.mark.parametrize("leads", ["/etc", "releases", "releases/a/b", ".."])
def test_a_link_to_something_else_is_refused(installation, ill, target, leads):
    (target / "current").unlink()
    (target / "current").symlink_to(leads)
    with pytest.raises(ConfigurationError, match="which is not one of its releases"):
        installation.deploy("site")
    assert os.readlink(target / "current") == leads


def test_the_steps_of_the_previous_release_run_again_after_a_late_rollback(
    installation, create, publish, target
):
    create(
        steps={"after_activate": [{"shell": "cat page >> ../../served; ! grep -q ill page"}]},
        timeouts={"deploy": 600},
    )
    installation.deploy("site")
    publish("ill")
    definition = installation.store.get_application("site").definition
    late = {"after_activate": [{"shell": "cat page >> ../../served; grep -q one page || sleep 9"}]}
    installation.apply(
        [
            type(definition).model_validate(
                {**definition.as_dict(), "steps": late, "timeouts": {"deploy": 1.5}}
            )
        ]
    )
    with pytest.raises(DeployError):
        installation.deploy("site")
    assert (target / "served").read_text() == "oneillone"


def test_a_target_may_be_a_link(installation, create, publish, target, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target.symlink_to(tmp_path / "elsewhere")
    create()
    for content in ("one", "two"):
        publish(content)
        installation.deploy("site")
    assert (tmp_path / "elsewhere" / "current" / "page").read_text() == "two"


def test_a_release_removed_by_a_step_does_not_become_live(installation, create, target):
    create(steps={"build": [{"shell": 'rm -r "$PWD"'}]})
    with pytest.raises(DeployError, match="was removed during the deployment"):
        installation.deploy("site")
    assert not os.path.lexists(target / "current")
    assert last(installation).state == "failed"


def test_a_rollback_only_selects_successful_releases(installation, create, publish, target):
    create(**PROOF)
    installation.deploy("site")
    failed = installation.store.deployments.request("site", ref="main")
    for state in ("authenticating", "resolving"):
        installation.store.deployments.advance(failed.id, state)
    installation.store.deployments.advance(failed.id, "fetching", release="left")
    installation.store.deployments.advance(failed.id, "failed")
    (target / "releases" / "left").mkdir()
    publish("two")
    installation.deploy("site")
    installation.roll_back("site")
    assert (target / "current" / "page").read_text() == "one"
    with pytest.raises(ConfigurationError, match="'left' of site is not known to have worked"):
        installation.roll_back("site", to="left")


def test_a_changed_application_is_deployed_for_the_same_commit(installation, create):
    from pydantic import SecretStr

    create(watch=["src/"], environment={"A": {"secret": "stored"}})
    installation.keep_application_secret("site", "A", SecretStr("first-value"))
    assert installation.deploy("site").state == "healthy"
    assert installation.deploy("site").state == "skipped"
    installation.keep_application_secret("site", "A", SecretStr("second-value"))
    assert installation.deploy("site").state == "healthy"
    assert installation.deploy("site", force=True).state == "healthy"


def test_targets_can_be_exchanged_and_must_not_overlap(installation, create, tmp_path):
    sites = tmp_path / "sites"
    sites.mkdir()
    for name in ("a", "b"):
        create(name, target=sites / name)
    known = {each.name: each.definition for each in installation.store.list_applications()}
    swapped = [
        known["a"].model_copy(update={"target": sites / "b"}),
        known["b"].model_copy(update={"target": sites / "a"}),
    ]
    installation.apply(swapped)
    assert installation.store.get_application("a").definition.target == sites / "b"
    for place in (sites / "a", sites / "a" / "releases", sites):
        with pytest.raises(ConfigurationError, match="already has the target"):
            create("c", target=place)


def test_a_second_signal_waits_until_the_previous_release_is_restored():
    with cancelled_by_signals() as cancellation:
        with cancellation.shielded():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            assert cancellation.cancelled
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_cancellation_wakes_all_waiting_threads():
    """From many threads at once, each of which comes and goes."""
    cancellation, heard = Cancellation(), []
    ready = threading.Barrier(9)

    def wait():
        own = threading.Event()
        ready.wait()
        for _ in range(200):
            with cancellation.waking(lambda: None):
                pass
        with cancellation.waking(own.set):
            heard.append(own.wait(10))

    threads = [threading.Thread(target=wait) for _ in range(8)]
    for thread in threads:
        thread.start()
    ready.wait()
    cancellation.cancel()
    for thread in threads:
        thread.join()
    assert heard == [True] * 8


def test_a_closed_terminal_leaves_no_step_running(installation, create, home, tmp_path):
    """SIGHUP is what a process gets then."""
    create(
        steps={"build": [{"shell": "echo $$ > $PIDS; exec sleep 60"}]},
        environment={"PIDS": str(tmp_path / "pid")},
    )
    with Process(
        [sys.executable, "-m", "deploycore", "deploy", "site"],
        env={**os.environ, "DEPLOYCORE_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
            assert running.poll() is None
            time.sleep(0.01)
        running.send_signal(signal.SIGHUP)
        assert running.wait(30) == 130
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()
    assert last(installation).state == "cancelled"
