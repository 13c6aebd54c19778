"""A deployment killed at every state and at every change of the disk loses nothing.

After each kill, ``recover`` runs, and everything is checked: the live release is complete and was
proved to work, the history is correct, and nothing is locked or left over.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploycore.deploy import Releases
from deploycore.deploy.locks import Presence
from tests.deploy.conftest import create, installation, provider, publish, target
from tests.forked import ForkedProcess

__all__ = ["create", "installation", "provider", "publish", "target"]

ROOT = Path(__file__).parents[2]
POINTS_MOST = 400
HEALTHY = {"shell": "test ! -e ill", "retries": 0}
# What a kill after a change of the disk leaves is what one before the next change of the disk, or
# before the next state, leaves: nothing else is written in between. After a state there may be
# changes that are not counted, as before the release is activated.
WAYS = [("states", False), ("states", True), ("files", False)]
WAYS_NAMES = ["states-before", "states-after", "files-before"]
UNPROVED = {
    "plain": {},
    "proved": {"health_check": HEALTHY, "steps": {"after_activate": ["true"]}},
}


@pytest.fixture
def killed(home):
    """Runs deployments that die: ``killed(what="states", at=3)`` gives the exit status."""
    command = [sys.executable, "-m", "tests.faults.deployments", str(home)]
    runner = ForkedProcess(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def run(**wanted) -> int:
        runner.stdin.write(json.dumps({"rollback": False, "after": False} | wanted) + "\n")
        runner.stdin.flush()
        return int(runner.stdout.readline())

    yield run
    runner.stdin.close()
    runner.stdout.close()
    assert runner.wait(20) == 0


@pytest.fixture
def look(installation, target, home):
    """Recovers, and holds what there is to what is promised; gives what is live."""

    def run() -> str | None:
        installation.recover()
        deployments = installation.store.deployments
        assert deployments.unfinished() == []
        healthy = {each.release: each for each in deployments.list(state="healthy")}
        on_disk = os.listdir(target / "releases")
        assert all(name in healthy for name in on_disk), "a release that is not good stays"
        for name in on_disk:
            release = target / "releases" / name
            assert sorted(os.listdir(release)) == ["a", "page"]
            assert (release / "a" / "deep").read_bytes() == (release / "page").read_bytes()
        assert set(os.listdir(target)) <= {"releases", "current", ".deploycore.lock"}
        with Releases(target).locked(), Presence(home / "locks").alone("site") as is_alone:
            assert is_alone
        current = Releases(target).current
        if current is None:
            assert not os.path.lexists(target / "current")
            return None
        assert current.name in on_disk
        return (current / "page").read_text()

    return run


@pytest.fixture
def push(publish):
    """Publishes a commit of two files with the same content, and perhaps an ill one."""

    def run(content: str, *, ill: bool = False) -> None:
        publish(content, **{"a/deep": content.encode()} | ({"ill": b""} if ill else {}))

    return run


def at_every_point(killed, look, **wanted):
    """Kill at the first point, the second, …; ends with the run that no kill has hit.

    Yields what is live after each.
    """
    for at in range(1, POINTS_MOST):
        status = killed(at=at, **wanted)
        live = look()
        if status != -9:
            assert status == 0, status
            return
        yield live
    raise AssertionError("there is no end of points")


@pytest.mark.parametrize(("what", "after"), WAYS, ids=WAYS_NAMES)
@pytest.mark.parametrize("kind", UNPROVED)
def test_a_deployment_killed_at_any_point_leaves_a_valid_release(
    installation, create, push, killed, look, kind, what, after, record_property
):
    create(**UNPROVED[kind], keep=2)
    for content in ("one", "two"):
        push(content)
        installation.deploy("site")
    points = 0
    for live in at_every_point(killed, look, what=what, after=after):
        points += 1
        assert live in ("two", "three")
        if points == 1:
            push("three")
    assert points >= 6
    assert look() == "three"
    record_property("points survived", points)


@pytest.mark.parametrize("what", ["states", "files"])
def test_a_first_deployment_killed_at_any_point_leaves_a_valid_release_or_none(
    installation, create, push, killed, look, what, record_property
):
    create(**UNPROVED["proved"])
    push("one")
    points = 0
    for live in at_every_point(killed, look, what=what):
        points += 1
        assert live in (None, "one")
    assert points >= 4
    record_property("points survived", points)
    assert look() == "one"


@pytest.mark.parametrize(("what", "after"), WAYS, ids=WAYS_NAMES)
def test_a_process_killed_during_an_automatic_rollback_recovers(
    installation, create, push, killed, look, what, after, record_property
):
    create(**UNPROVED["proved"])
    push("one")
    installation.deploy("site")
    push("two", ill=True)
    points = 0
    for at in range(1, POINTS_MOST):
        status = killed(what=what, at=at, after=after, may_fail="health_check_failed")
        assert look() == "one"
        if status != -9:
            assert status == 3
            break
        points += 1
    assert points >= 6
    record_property("points survived", points)


@pytest.mark.parametrize("what", ["states", "files"])
def test_a_rollback_killed_at_any_point_leaves_a_valid_release(
    installation, create, push, killed, look, what, record_property
):
    create(**UNPROVED["proved"])
    for content in ("one", "two"):
        push(content)
        installation.deploy("site")
    points = 0
    for live in at_every_point(killed, look, what=what, rollback=True):
        points += 1
        assert live in ("two", "one")
        if live == "one":  # killed when all was recorded; from here there is no way back
            break
    assert points >= 3
    record_property("points survived", points)
    assert look() == "one"
