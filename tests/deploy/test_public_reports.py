"""Faults that users of other deploy tools have reported in public, tried on deploycore.

Each test names the report that it follows.
"""

from __future__ import annotations

import shutil
import subprocess
import time

import pytest

from deploycore.errors import DeploycoreError
from deploycore.worker import Worker


def page(target) -> str:
    return (target / "current" / "page").read_text()


def change(installation, **fields):
    """Change fields of the application ``site``."""
    definition = installation.store.get_application("site").definition
    installation.apply([type(definition).model_validate({**definition.as_dict(), **fields})])


def test_files_that_cannot_be_removed_do_not_block_a_deployment(
    installation, create, publish, target
):
    """kubernetes/git-sync#236: a file of another user's ended all further updates."""
    if not shutil.which("chattr"):
        pytest.skip("chattr is not installed")
    create(keep=2)
    stuck = target / "releases" / installation.deploy("site").release / "page"
    if subprocess.run(["chattr", "+i", stuck], capture_output=True).returncode:
        pytest.skip("this user or this file system cannot make files immutable")
    try:
        for content in ("two", "three", "four"):
            publish(content)
            assert installation.deploy("site").state == "healthy"
        assert page(target) == "four"
    finally:
        subprocess.run(["chattr", "-R", "-i", target / "releases"], check=True)


def test_after_a_failed_build_the_next_deployment_runs(installation, create, target):
    """dokku/dokku#4458: after a failure during the release, a clone was 'in progress' for ever."""
    create(steps={"build": [{"shell": "exit 1"}]})
    for _ in range(2):
        with pytest.raises(DeploycoreError, match="exit"):
            installation.deploy("site")
    change(installation, steps={})
    assert installation.deploy("site").state == "healthy"
    assert page(target) == "one"


def test_failed_deployments_do_not_count_toward_the_kept_releases(
    installation, create, publish, target
):
    """f500/ansible-project_deploy#3: as many failures as releases are kept removed the live one."""
    create(keep=2)
    installation.deploy("site")
    publish("two")
    installation.deploy("site")
    change(installation, steps={"build": [{"shell": "exit 1"}]})
    for content in ("three", "four", "five"):
        publish(content)
        with pytest.raises(DeploycoreError, match="exit"):
            installation.deploy("site")
    assert page(target) == "two"
    assert installation.roll_back("site").state == "healthy"
    assert page(target) == "one"


def test_a_second_rollback_skips_the_failed_release(installation, create, publish, target):
    """shipitjs/shipit-deploy#22: after A, bad B, rollback and bad C, a rollback led to B."""
    create()
    installation.deploy("site")
    publish("bad b")
    installation.deploy("site")
    installation.roll_back("site")
    assert page(target) == "one"
    publish("bad c")
    installation.deploy("site")
    installation.roll_back("site")
    assert page(target) == "one"


def test_a_push_during_a_deployment_is_deployed_after_it(
    installation, create, publish, target, tmp_path
):
    """oblien/openship#847: a push that arrived during a deployment was dropped."""
    begun, go_on = tmp_path / "begun", tmp_path / "go-on"
    wait = f"touch {begun}; until [ -e {go_on} ]; do sleep 0.05; done"
    create(auto_deploy={}, steps={"build": [{"shell": wait}]})
    triggers = installation.store.triggers
    triggers.add("site", cause="push", ref="refs/heads/main", actor="ada")
    with Worker(installation, threads=1) as worker:
        while not begun.exists():
            time.sleep(0.02)
        publish("two")
        triggers.add("site", cause="push", ref="refs/heads/main", actor="ada")
        go_on.touch()
        worker.wait_until_idle()
    assert page(target) == "two"


def test_a_failure_after_the_switch_removes_no_older_release(installation, create, publish, target):
    """andres-montanez/Magallanes#155: clean-up ran before the last steps had succeeded."""
    create(keep=3)
    installation.deploy("site")
    for content in ("two", "three"):
        publish(content)
        installation.deploy("site")
    before = {each.name for each in installation.releases("site")}
    change(installation, steps={"after_activate": [{"shell": 'test "$(cat page)" != four'}]})
    publish("four")
    with pytest.raises(DeploycoreError):
        installation.deploy("site")
    assert page(target) == "three"
    assert {each.name for each in installation.releases("site")} == before


@pytest.mark.parametrize("kind", ["build", "after_activate"])
def test_a_hanging_step_times_out_and_does_not_block_later_deployments(
    installation, create, publish, target, kind
):
    """Unitech/pm2-deploy#1, caprover/caprover#243: a step hung, and with it all that followed."""
    create()
    installation.deploy("site")
    publish("two")
    change(installation, steps={kind: [{"shell": "sleep 600", "timeout": 0.5}]})
    with pytest.raises(DeploycoreError, match=r"0\.5"):
        installation.deploy("site")
    assert page(target) == "one"
    change(installation, steps={})
    assert installation.deploy("site").state == "healthy"
    assert page(target) == "two"
