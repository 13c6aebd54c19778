"""Each file-system call of a removal fails in turn, with the usual errors.

Removal of an application with its history, and removal of a preview's directory: nothing outside
changes, the messages are correct, and the next attempt completes the removal.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploycore.deploy import Releases
from deploycore.errors import DeploycoreError
from deploycore.worker.previews import handle, remove_ended
from tests.faults.refusals import NUMBERS, ROUNDS, Refuser
from tests.worker.conftest import applications, environment, installation
from tests.worker.test_previews import event, parent

__all__ = ["applications", "environment", "installation", "parent"]

CALLS_MOST = 300


@pytest.fixture
def place(tmp_path):
    """Where previews are, beside a target of somebody else's."""
    other = tmp_path / "previews" / "other"
    other.mkdir(parents=True)
    (other / "page").write_text("other")
    other.chmod(0o500)
    return tmp_path / "previews"


def sweep(place: Path, first: int, prepare: Callable[[], None], act: Callable[[], Any]):
    """Do it again and again, with the next call refused each time: what came of each."""
    for at in range(1, CALLS_MOST):
        prepare()
        refuser = Refuser(str(place), at, NUMBERS[(at + first) % len(NUMBERS)])
        refuser.armed = True
        try:
            found = act()
        except DeploycoreError as error:
            found = error
        finally:
            refuser.undo()
        yield found
        if refuser.count < at:
            return
    pytest.fail("the calls do not end")


def fill(target: Path) -> None:
    """A target with a release that may not be written, and a link in it."""
    target.mkdir(parents=True, exist_ok=True)
    release = target / "releases" / "r1"
    (release / "bin").mkdir(parents=True)
    (release / "bin" / "a").symlink_to("../x")
    (release / "bin" / "b").write_text("b")
    (target / "current").symlink_to("releases/r1")
    for each in (release / "bin", release):
        each.chmod(0o555)


def around(place: Path, *left_out: str) -> dict[str, Any]:
    names = [each for each in place.iterdir() if each.name not in left_out]
    found = [place, *names, *(below for each in names for below in each.rglob("*"))]
    return {
        str(each): (
            stat.filemode(each.lstat().st_mode),
            each.read_bytes() if each.is_file() else None,
        )
        for each in found
    }


@pytest.mark.parametrize("first", ROUNDS)
def test_a_preview_is_removed_completely_or_reported_and_retried(
    installation, parent, place, first
):
    record, target = parent(), place / "7-topic"
    before = around(place)

    def prepare() -> None:
        assert handle(installation, record, event()) == "made"
        fill(target)
        handle(installation, record, event(action="declined"))

    calls = 0
    for failures in sweep(place, first, prepare, lambda: remove_ended(installation)):
        asides = {each.name for each in place.iterdir()} - {"other"}
        assert around(place, *asides) == before, calls
        assert all("one-pr-7" in each for each in failures)
        assert not any("by an error of deploycore itself" in each for each in failures), failures
        is_noted = [each.name for each in installation.store.previews.list()] == ["one-pr-7"]
        assert is_noted == bool(failures), (calls, failures)
        assert not asides or failures, (calls, asides)
        if target.exists():
            assert Releases(target).current.name == "r1"
        assert remove_ended(installation) == frozenset(), calls
        assert list(place.iterdir()) == [place / "other"]
        assert installation.store.previews.list() == []
        calls += 1
    assert calls > 20


@pytest.mark.parametrize("first", range(len(NUMBERS)))
def test_leftover_logs_of_a_purged_application_are_named(
    installation, applications, tmp_path, first
):
    target = installation.store.get_application("one").definition.target
    logs = installation.settings.home / "logs"
    fill(target)
    definition = installation.store.get_application("one").definition
    (logs / "two").mkdir(parents=True)
    (logs / "two" / "9.jsonl").write_text("{}")
    before = around(target), around(logs)

    def prepare() -> None:
        installation.apply([definition])
        deployment = installation.store.deployments.request("one", ref="main")
        with installation.engine.logs.open("one", deployment.id):
            pass
        installation.store.deployments.advance(deployment.id, "failed")

    def act():
        return installation.removals.remove("one", purge=True)

    calls = 0
    for done in sweep(logs, first, prepare, act):
        assert not isinstance(done, DeploycoreError), (calls, done)
        assert installation.store.deployments.count("one") == (0, 0)
        assert bool(done.remains) == (logs / "one").exists(), (calls, done)
        assert around(target) == before[0]
        assert around(logs, "one") == before[1]
        shutil.rmtree(logs / "one", ignore_errors=True)
        calls += 1
    assert calls > 5
    assert os.stat(target / "current").st_mode
