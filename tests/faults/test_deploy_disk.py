"""Disks, clocks and databases that fail during a deployment: nothing is lost."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from deploycore.deploy import Releases
from deploycore.deploy import recorder as recorder_module
from deploycore.deploy import run as run_module
from deploycore.errors import DeploycoreError, DeployError, GitError, HealthCheckFailed
from tests.deploy.conftest import create, installation, provider, publish, target
from tests.faults.deployments import CHANGING

__all__ = ["create", "installation", "provider", "publish", "target"]

ROOT = Path(__file__).parents[2]


class Failing:
    """Makes the n-th change of the disk fail, once it is armed, and all that follow if asked."""

    def __init__(self, monkeypatch, below: Path) -> None:
        self.at = 0
        self.number = errno.EIO
        self.count = 0
        self.armed = False
        self._below = str(below)
        for name in CHANGING:
            monkeypatch.setattr(os, name, self._failing(name, getattr(os, name)))

    def _failing(self, name, function):
        def call(*arguments, **options):
            if self.armed and self._is_meant(name, arguments, options):
                self.count += 1
                if self.count == self.at:
                    raise OSError(self.number, os.strerror(self.number))
            return function(*arguments, **options)

        return call

    def _is_meant(self, name, arguments, options):
        if name == "open" and not arguments[1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return False
        if name in ("fsync", "write", "open"):
            return True
        return any(self._below in os.fsdecode(each) for each in arguments if _is_path(each))


def _is_path(value) -> bool:
    return isinstance(value, str | bytes | os.PathLike)


@pytest.mark.parametrize(
    "numbers", [(errno.EACCES,), (errno.ENOSPC, errno.EIO, errno.EROFS)], ids=["denied", "broken"]
)
def test_the_live_release_is_valid_after_any_failure_of_the_switch(
    installation, create, publish, target, monkeypatch, numbers
):
    """Each call in turn, until none is left; then it succeeds.

    A ``PermissionError`` is treated in a way of its own at some places. The others are all plain
    ``OSError``: each call fails with the next of them.
    """
    create(health_check={"run": ["test", "-e", "page"], "retries": 0}, keep=2)
    for content in ("one", "two"):
        publish(content)
        installation.deploy("site")
    publish("three")
    failing = Failing(monkeypatch, target)

    def arm(event):
        if event.kind == "state":
            failing.armed = event.phase == "activating"

    for at in range(1, 100):
        failing.at, failing.count = at, 0
        failing.number = numbers[at % len(numbers)]
        failure = None
        try:
            installation.deploy("site", force=True, listener=arm)
        except DeployError as error:
            failure = error
        failing.armed = False
        if failure is not None:
            assert failure.hint
            # The health check tells in its own words that a program can't be started.
            reason = os.strerror(failing.number)
            told = type(failure) is HealthCheckFailed or reason in failure.message
            assert told, failure.message
        live = (target / "current" / "page").read_text()
        record = installation.store.deployments.list("site", limit=1)[0]
        assert record.is_finished
        assert (record.state == "healthy") == (failure is None), (at, record.state)
        assert live == ("three" if record.state == "healthy" else live)
        assert live in ("two", "three")
        if failing.count < at:
            break
    assert failure is None
    assert at > 3


def test_a_full_disk_during_the_export_is_reported_clearly(
    installation, create, publish, target, monkeypatch
):
    create()
    installation.deploy("site")
    publish("two")

    def full(*arguments, **options):
        raise GitError("No space left on device", hint="Make room.")

    monkeypatch.setattr("deploycore.git.export", full)
    with pytest.raises(GitError, match="No space"):
        installation.deploy("site")
    assert (target / "current" / "page").read_text() == "one"
    assert len(os.listdir(target / "releases")) == 1


def test_a_real_full_disk_loses_nothing(installation, create, publish, tmp_path):
    """A file system of its own, filled to the brim; the data directory is elsewhere."""
    small = tmp_path / "small"
    small.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)]
    if os.getuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only who may mount can fill a disk")
    try:
        create(target=small / "live")
        publish("one", **{"large": b"1" * 600_000})
        installation.deploy("site")
        publish("two", **{"large": os.urandom(1_800_000)})
        with pytest.raises(DeploycoreError, match="No space left") as caught:
            installation.deploy("site")
        assert caught.value.hint
        assert (small / "live" / "current" / "page").read_text() == "one"
        assert len(os.listdir(small / "live" / "releases")) == 1
        publish("three", **{"large": b"3"})
        assert installation.deploy("site").state == "healthy"
        subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
        with pytest.raises(DeploycoreError, match="Read-only file system"):
            installation.deploy("site")
        with pytest.raises(DeploycoreError, match="Read-only file system"):
            installation.roll_back("site")
        assert (small / "live" / "current" / "page").read_text() == "three"
        assert installation.recover() == []
        assert installation.store.deployments.unfinished() == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_clock_set_back_affects_neither_order_nor_names(
    installation, create, publish, target, monkeypatch
):
    create(keep=2)

    class Backwards(datetime):
        days = 0

        @classmethod
        def now(cls, zone=None):
            return datetime.now(zone) - timedelta(days=cls.days)

    for module in (run_module, recorder_module):
        monkeypatch.setattr(module, "datetime", Backwards)
    made = []
    for days, content in enumerate(("one", "two", "three", "four")):
        Backwards.days = days * 400
        publish(content)
        made.append(installation.deploy("site").release)
    assert (target / "current" / "page").read_text() == "four"
    assert sorted(os.listdir(target / "releases")) == sorted(made[-2:])
    installation.roll_back("site")
    assert (target / "current" / "page").read_text() == "three"


def test_a_database_locked_for_ten_seconds_is_waited_for(
    installation, create, publish, home, target
):
    create()
    installation.deploy("site")
    publish("two")
    release = threading.Event()

    def hold():
        with closing(sqlite3.connect(home / "deploycore.db", isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            holding.set()
            release.wait(10)
            database.execute("ROLLBACK")

    holding = threading.Event()
    holder = threading.Thread(target=hold)
    holder.start()
    holding.wait(5)
    began = time.monotonic()
    done = installation.deploy("site")
    holder.join()
    assert done.state == "healthy"
    assert time.monotonic() - began > 9
    assert (target / "current" / "page").read_text() == "two"


RACER = """
import sys
from deploycore import DeploycoreError, Installation, Settings
from deploycore.errors import Superseded
home, times = sys.argv[1], int(sys.argv[2])
with Installation(Settings.from_environment({"DEPLOYCORE_HOME": home})) as installation:
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(times):
        try:
            installation.deploy("site", force=True)
        except Superseded:
            pass
"""


def test_engines_that_race_for_an_application_deploy_one_at_a_time(
    installation, create, publish, home, target
):
    """``DEPLOYCORE_RACES`` says how often; the figure of 1,000 is run by hand."""
    times = int(os.environ.get("DEPLOYCORE_RACES", "40"))
    create(
        steps={"build": [{"shell": "mkdir ../../building && sleep 0.01 && rmdir ../../building"}]},
        keep=2,
    )
    installation.deploy("site")
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(home), str(times // 2)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for _ in range(2)
    ]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("\n")
        racer.stdin.flush()
    seen = [(racer.communicate(), racer.returncode) for racer in racers]
    assert [(said, code) for (_, said), code in seen] == [("", 0)] * 2
    states = [record.state for record in installation.store.deployments.list("site")]
    assert len(states) == times + 1
    assert set(states) <= {"healthy", "superseded"}
    assert len(os.listdir(target / "releases")) == 2
    assert installation.store.deployments.unfinished() == []


def test_a_reader_never_misses_a_file_and_never_sees_mixed_releases(
    installation, create, publish, target
):
    """Over a thousand switches, by the same code that a deployment switches with."""
    create(keep=3)
    for content in ("one", "two"):
        publish(content, **{"same": content.encode()})
        installation.deploy("site")
    releases = Releases(target)
    both = [releases.directory / name for name in releases.names()]
    done, faults, reads = threading.Event(), [], []

    def read():
        while not done.is_set():
            try:
                directory = os.open(target / "current", os.O_RDONLY | os.O_DIRECTORY)
                try:
                    seen = set()
                    for name in ("page", "same"):
                        file = os.open(name, os.O_RDONLY, dir_fd=directory)
                        seen.add(os.read(file, 10))
                        os.close(file)
                finally:
                    os.close(directory)
            except OSError as error:
                faults.append(error)
                continue
            reads.append(1)
            if len(seen) != 1:
                faults.append(seen)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1000):
        releases.activate(both[number % 2])
    done.set()
    reader.join()
    assert faults == []
    assert len(reads) > 100
