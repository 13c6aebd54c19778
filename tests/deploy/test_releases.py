"""The target directory: atomic switches, one deployment at a time, and no changes to other
files."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploycore.deploy.releases import Releases
from deploycore.errors import ConfigurationError, DeployError, Locked
from tests.forked import ForkedProcess

AT = datetime(2026, 11, 24, 10, 15, tzinfo=UTC)
COMMIT = "1a2b3c4d5e6f" + "0" * 28


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    made = Releases(tmp_path / "target")
    made.prepare()
    return made


def make(releases: Releases, content: str) -> Path:
    path = releases.new(COMMIT, AT)
    path.mkdir()
    (path / "file").write_text(content)
    return path


def test_a_release_name_contains_its_time_and_commit(releases):
    assert releases.new(COMMIT, AT).name == "20261124T101500Z-1a2b3c4d5e6f"


def test_the_same_second_and_commit_get_another_name(releases):
    first, second, third = (make(releases, "x") for _ in range(3))
    assert len({first, second, third}) == 3


def test_activation_switches_the_link(releases):
    assert releases.current is None
    for content in ("one", "two"):
        release = make(releases, content)
        releases.activate(release)
        assert releases.current == release
        assert (releases.target / "current" / "file").read_text() == content
    assert sorted(os.listdir(releases.target)) == ["current", "releases"]


def test_the_link_is_relative_so_the_target_can_be_moved(releases, tmp_path):
    releases.activate(make(releases, "one"))
    moved = releases.target.rename(tmp_path / "moved")
    assert (moved / "current" / "file").read_text() == "one"


def test_a_reader_never_misses_a_file_during_a_switch(releases):
    pair = [make(releases, "one"), make(releases, "two")]
    releases.activate(pair[0])
    seen, stop = set(), threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add((releases.target / "current" / "file").read_text())

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(500):
        releases.activate(pair[number % 2])
    stop.set()
    reader.join()
    assert seen == {"one", "two"}


@pytest.mark.parametrize("call", ["symlink", "replace"])
def test_a_failed_switch_keeps_the_previous_release_live(releases, monkeypatch, call):
    first, second = make(releases, "one"), make(releases, "two")
    releases.activate(first)

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(DeployError, match="No space left") as caught:
            releases.activate(second)
    assert "free space on its disk" in caught.value.hint
    assert releases.current == first
    assert sorted(os.listdir(releases.target)) == ["current", "releases"]
    releases.activate(second)
    assert releases.current == second


def test_a_concurrent_deployment_is_rejected(releases):
    code = (
        "import sys; from pathlib import Path; from deploycore.deploy.releases import Releases\n"
        "with Releases(Path(sys.argv[1])).locked(): print('held', flush=True); sys.stdin.read()"
    )
    holder = ForkedProcess(
        [sys.executable, "-c", code, str(releases.target)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(Locked, match="Another deployment") as caught,
            releases.locked(),
        ):
            pass
        assert "Wait until it ends" in caught.value.hint
        holder.kill()
    with releases.locked():
        pass


def test_files_of_killed_deployments_are_removed(releases):
    (releases.target / ".current.deploycore-0123").symlink_to("releases/gone")
    (releases.directory / ".removed.deploycore-0123" / "below").mkdir(parents=True)
    staging = releases.directory / ".name.deploycore-0123456789abcdef"
    staging.mkdir()
    kept = make(releases, "one")
    releases.clear()
    assert os.listdir(releases.target) == ["releases"]
    assert os.listdir(releases.directory) == [kept.name]


def test_a_target_with_foreign_files_is_rejected(tmp_path):
    (tmp_path / "letter.txt").touch()
    with pytest.raises(ConfigurationError, match="is not empty"):
        Releases(tmp_path).prepare()
    assert os.listdir(tmp_path) == ["letter.txt"]


def test_a_target_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="is not a directory"):
        Releases(tmp_path / "file").prepare()


def test_a_current_that_is_a_directory_is_refused(tmp_path):
    (tmp_path / "releases").mkdir()
    (tmp_path / "current").mkdir()
    with pytest.raises(ConfigurationError, match="is not a link") as caught:
        Releases(tmp_path).prepare()
    assert "an empty or new directory" in caught.value.hint
    Releases(tmp_path / "new").prepare()


def test_a_target_below_a_file_is_reported_clearly(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DeployError, match="cannot be written"):
        Releases(tmp_path / "file" / "target").prepare()


def test_a_release_that_is_not_live_can_be_discarded(releases, tmp_path):
    live, dead = make(releases, "live"), make(releases, "dead")
    releases.activate(live)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for release in (live, dead, elsewhere, releases.directory / "gone"):
        releases.discard(release)
    assert os.listdir(releases.directory) == [live.name]
    assert elsewhere.is_dir()


def test_a_link_to_elsewhere_is_rejected_until_it_is_corrected(releases):
    good = make(releases, "one")
    releases.activate(good)
    link = releases.target / "current"
    link.unlink()
    link.symlink_to("../elsewhere")
    with pytest.raises(ConfigurationError, match="not one of its releases") as caught:
        assert releases.current
    assert caught.value.hint == "Point it to releases/NAME, or remove it."
    link.unlink()
    assert releases.current is None
    link.symlink_to(f"releases/{good.name}")
    assert releases.current == good


def test_a_process_forked_by_a_plugin_does_not_hold_the_lock(releases):
    releases.prepare()
    with releases.locked():
        reader, writer = os.pipe()
        begun, begins = os.pipe()
        child = os.fork()
        if child == 0:  # lives on, as a daemon of a library does
            os.close(writer)
            os.write(begins, b".")
            os.read(reader, 1)
            os._exit(0)
        os.close(reader)
        os.close(begins)
        assert os.read(begun, 1) == b"."  # what Python does in a new child is done
        os.close(begun)
        assert releases.is_locked()
    try:
        assert not releases.is_locked()
    finally:
        os.close(writer)
        os.waitpid(child, 0)
