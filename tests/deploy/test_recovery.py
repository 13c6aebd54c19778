"""After the process of a deployment has died, recovery records its end, and a working release is
live."""

from __future__ import annotations

import errno
import os

import pytest

from deploycore.deploy import Releases
from deploycore.deploy.locks import Presence
from deploycore.errors import DeployError
from deploycore.git import Cancellation

COMMIT = "ab" * 20
BEFORE = ("authenticating", "resolving", "fetching", "building")


@pytest.fixture
def die(installation, target, home):
    """Leaves a deployment as a process that died in a state would; gives its record."""

    def make(state: str, *, switched: bool = False, name: str = "site", release: str = "dead"):
        deployments = installation.store.deployments
        record = deployments.request(name, ref="main", home=str(home))
        definition = installation.store.get_application(name).definition
        current = Releases(target).current
        for each in (*BEFORE, "activating"):
            if record.state == state:
                break
            fields = {}
            if each == "fetching":
                fields = {"commit": COMMIT, "release": release}
                (target / "releases" / release).mkdir(parents=True, exist_ok=True)
            if each == "activating":
                proofs = definition.steps.after_activate or definition.health_check
                fields = {
                    "previous": current.name if current else None,
                    "unproved": bool(proofs),
                }
            record = deployments.advance(record.id, each, **fields)
        if switched:
            Releases(target).activate(target / "releases" / release)
        return record

    return make


def ends(installation):
    return [(each.id, each.state) for each in installation.recover()]


@pytest.mark.parametrize("state", BEFORE)
def test_a_crash_before_the_switch_is_a_failure_and_leaves_nothing_behind(
    installation, create, target, die, state
):
    create()
    live = installation.deploy("site").release
    dead = die(state)
    assert ends(installation) == [(dead.id, "failed")]
    assert os.listdir(target / "releases") == [live]
    record = installation.store.deployments.get(dead.id)
    assert record.error == "The process ended before the deployment did."
    assert ends(installation) == []


def test_a_crash_during_the_switch_is_a_success_if_the_link_was_switched(
    installation, create, target, die
):
    """Nothing was to come after it."""
    create()
    installation.deploy("site")
    dead = die("activating", switched=True)
    assert ends(installation) == [(dead.id, "healthy")]
    assert Releases(target).current == target / "releases" / "dead"


def test_a_crash_just_before_the_switch_is_a_failure(installation, create, target, die):
    create()
    live = installation.deploy("site").release
    dead = die("activating")
    assert ends(installation) == [(dead.id, "failed")]
    assert os.listdir(target / "releases") == [live]


@pytest.mark.parametrize(
    "unproved",
    [
        {"health_check": {"run": ["true"]}},
        {"steps": {"after_activate": [{"shell": "basename $PWD >> ../../served"}]}},
    ],
    ids=["health-check", "steps"],
)
def test_an_unverified_release_is_rolled_back(installation, create, target, die, unproved):
    create(**unproved)
    live = installation.deploy("site").release
    dead = die("activating", switched=True)
    assert ends(installation) == [(dead.id, "rolled_back")]
    assert Releases(target).current == target / "releases" / live
    assert os.listdir(target / "releases") == [live]
    if "steps" in unproved:
        assert (target / "served").read_text().splitlines() == [live, live]


def test_an_unverified_first_release_is_removed(installation, create, target, die):
    create(health_check={"run": ["true"]})
    dead = die("activating", switched=True)
    assert ends(installation) == [(dead.id, "failed")]
    assert os.listdir(target / "releases") == []
    assert not os.path.lexists(target / "current")


def test_a_crash_during_a_rollback_is_completed(installation, create, target, die):
    from deploycore.errors import HealthCheckFailed

    create(health_check={"run": ["true"]})
    live = installation.deploy("site").release
    dead = die("activating")
    installation.store.deployments.note_error(dead.id, HealthCheckFailed("It is ill."))
    assert ends(installation) == [(dead.id, "rolled_back")]
    assert installation.store.deployments.get(dead.id).error == "It is ill."
    assert Releases(target).current == target / "releases" / live


def test_a_crash_during_a_manual_rollback_keeps_both_releases(
    installation, create, publish, target
):
    create(health_check={"run": ["true"]})
    first = installation.deploy("site").release
    publish("two")
    second = installation.deploy("site").release
    deployments = installation.store.deployments
    dead = deployments.request("site", ref=first, kind="rollback")
    deployments.advance(dead.id, "activating", release=first, previous=second, unproved=True)
    Releases(target).activate(target / "releases" / first)
    assert ends(installation) == [(dead.id, "rolled_back")]
    assert Releases(target).current == target / "releases" / second
    assert sorted(os.listdir(target / "releases")) == sorted([first, second])


def test_a_queued_deployment_is_cancelled_when_its_process_dies(installation, create, die):
    create()
    dead = die("queued")
    assert ends(installation) == [(dead.id, "cancelled")]


def test_recovery_does_not_touch_deployments_of_a_running_process(
    installation, create, target, die, home
):
    create()
    runs, waits = die("building"), die("queued")
    somebody = Presence(home / "locks").present("site", Cancellation(), wait=True)
    other = Presence(home / "locks").present("site", Cancellation(), wait=True)
    with Releases(target).locked(), other:
        assert ends(installation) == []
    with somebody:
        assert ends(installation) == [(runs.id, "failed")]
    assert ends(installation) == [(waits.id, "cancelled")]


def test_the_next_deployment_recovers_the_interrupted_one(installation, create, target, die):
    create()
    dead = die("fetching")
    done = installation.deploy("site")
    assert installation.store.deployments.get(dead.id).state == "failed"
    assert os.listdir(target / "releases") == [done.release]


def test_recovery_works_without_the_target_or_a_secret(installation, create, target, die, tmp_path):
    create()
    dead = die("fetching")
    target.rename(tmp_path / "elsewhere")
    assert ends(installation) == [(dead.id, "failed")]
    environment = {"TOKEN": {"secret": "env:NOT_THERE_AT_ALL"}}
    create("other", target=tmp_path / "other", environment=environment)
    dead = die("fetching", name="other")
    assert ends(installation) == [(dead.id, "failed")]


def test_leftovers_of_killed_processes_are_removed(installation, create, target):
    create()
    live = installation.deploy("site").release
    (target / ".current.deploycore-0123456789abcdef").symlink_to("releases/gone")
    (target / "releases" / ".removed.deploycore-00").mkdir()
    (target / "releases" / f".{live}.deploycore-0123456789abcdef").mkdir()
    assert ends(installation) == []
    assert os.listdir(target / "releases") == [live]
    assert (
        {"current", "releases"}
        <= set(os.listdir(target))
        <= {
            "current",
            "releases",
            ".deploycore.lock",
        }
    )


def test_a_deployment_on_another_machine_is_not_recovered_here(installation, create, die):
    from sqlalchemy import update

    from deploycore.store.tables import deployments

    create()
    dead = die("fetching")
    with installation.store._database.writing() as connection:
        connection.execute(update(deployments).values(host="another-machine"))
    assert ends(installation) == []
    assert installation.store.deployments.get(dead.id).state == "fetching"


def test_a_failed_recovery_does_not_prevent_other_recoveries(
    installation, create, target, die, tmp_path, home
):
    create()
    create("other", target=tmp_path / "other")
    stuck, dead = die("fetching"), die("fetching", name="other")
    (home / "locks").mkdir(exist_ok=True)
    (home / "locks" / "site.lock").mkdir()
    with pytest.raises(DeployError, match="site: The lock of site cannot be taken") as caught:
        installation.recover()
    assert installation.store.deployments.get(dead.id).state == "failed"
    assert installation.store.deployments.get(stuck.id).state == "fetching"
    assert "that site.lock in it is a file. Then run: deploycore recover" in caught.value.hint
    (home / "locks" / "site.lock").rmdir()
    assert ends(installation) == [(stuck.id, "failed")]


def test_a_previous_release_that_cannot_be_restored_is_reported(
    installation, create, target, die, monkeypatch
):
    create(health_check={"run": ["true"]})
    live = installation.deploy("site").release
    dead = die("activating", switched=True)
    replace = os.replace

    def full(old, new):
        if str(new).endswith("/current"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(
            DeployError, match=f"Deployment {dead.id} of site could not be"
        ) as caught:
            installation.recover()
    assert caught.value.hint == (
        f"Fix the cause that this command shows: deploycore logs {dead.id}. Then run: "
        "deploycore recover"
    )
    logged = [line.text for line in installation.engine.logs.read("site", dead.id)]
    assert any("No space left" in text for text in logged)
    assert ends(installation) == [(dead.id, "rolled_back")]
    assert Releases(target).current == target / "releases" / live


def test_verification_depends_on_the_settings_at_activation_time(installation, create, target, die):
    """The check was removed from the application since; nobody has made it."""
    create(health_check={"run": ["true"]})
    live = installation.deploy("site").release
    dead = die("activating", switched=True)
    definition = installation.store.get_application("site").definition
    installation.apply([definition.model_copy(update={"health_check": None})])
    assert ends(installation) == [(dead.id, "rolled_back")]
    assert Releases(target).current == target / "releases" / live


def test_without_the_previous_release_the_live_one_is_kept(installation, create, target, die):
    """There is nothing better to go back to."""
    create(health_check={"run": ["true"]})
    live = installation.deploy("site").release
    dead = die("activating", switched=True)
    (target / "releases" / live).rename(target / "elsewhere")
    assert ends(installation) == [(dead.id, "failed")]
    assert Releases(target).current == target / "releases" / "dead"


def test_no_rollback_if_another_release_is_already_live(installation, create, target, die):
    create(health_check={"run": ["true"]})
    installation.deploy("site")
    dead = die("activating")
    installation.store.deployments.note_error(dead.id, DeployError("It is ill."))
    newer = target / "releases" / "newer"
    newer.mkdir()
    Releases(target).activate(newer)
    assert ends(installation) == [(dead.id, "failed")]
    assert Releases(target).current == newer
