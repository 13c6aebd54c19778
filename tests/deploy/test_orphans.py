"""If deploycore is killed during a step, the next deployment ends the step's processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploycore.deploy import Releases
from deploycore.deploy.orphans import end_orphans, on_record
from deploycore.deploy.process import started_at
from tests.forked import ForkedProcess

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")

STEP = "(sleep 300 & echo $! > {0}/child; wait) & echo $$ > {0}/step; wait"
SOON = 60


def until(condition):
    moment = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < moment
        time.sleep(0.01)


def is_running(process: int) -> bool:
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(") ")[2][0] not in "ZX"


@pytest.fixture
def sleeper():
    """A process with a session of its own."""
    process = subprocess.Popen(["sleep", "300"], start_new_session=True)
    yield process.pid
    process.kill()
    process.wait()


@pytest.mark.parametrize("kind", ["build", "after_activate"])
def test_steps_of_a_killed_process_are_stopped_first(
    installation, create, target, home, tmp_path, kind
):
    create(steps={kind: [{"run": ["sh", "-c", STEP.format(tmp_path)]}]})
    command = [sys.executable, "-m", "deploycore", "deploy", "site"]
    environment = {**os.environ, "DEPLOYCORE_HOME": str(home)}
    with ForkedProcess(command, env=environment, stdout=subprocess.DEVNULL) as running:
        numbers = [tmp_path / "step", tmp_path / "child"]
        written = [*numbers, Releases(target).step_record]
        try:
            until(lambda: all(each.exists() and each.read_text() for each in written))
        finally:
            running.kill()
    step, child = (int(each.read_text()) for each in numbers)
    assert is_running(step)
    assert is_running(child)
    [settled] = installation.recover()
    assert settled.state == "failed"
    assert not is_running(step)
    assert not is_running(child)
    assert not Releases(target).step_record.exists()
    told = [line.text for line in installation.engine.logs.read("site", settled.id)]
    assert any("processes that its step left running were stopped" in text for text in told)


def test_the_record_is_empty_after_a_step_has_ended(installation, create, target):
    there = "until test -s ../../.deploycore.step; do sleep 0.02; done"
    create(steps={"build": [{"run": ["sh", "-c", there], "timeout": SOON}]})
    assert installation.deploy("site").state == "healthy"
    assert not Releases(target).step_record.exists()


def test_a_program_that_ignores_sigterm_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("deploycore.deploy.orphans.GRACE_SECONDS", 0.2)
    deaf = "trap '' TERM; touch ready; while :; do sleep 1; done"
    process = subprocess.Popen(["sh", "-c", deaf], start_new_session=True, cwd=tmp_path)
    until((tmp_path / "ready").exists)
    file = tmp_path / "record"
    noting = on_record(file, process.pid)
    noting.__enter__()
    assert end_orphans(file) >= 1
    assert process.wait(timeout=SOON) == -signal.SIGKILL


def test_another_session_with_the_same_number_is_not_touched(tmp_path, sleeper):
    file = tmp_path / "record"
    with on_record(file, sleeper):
        boot, session, began = file.read_text().split()
    assert (int(session), began) == (sleeper, started_at(sleeper))
    for other in (
        f"{boot} {session} {int(began) - 1}",  # it began at another time
        f"{'0' * 36} {session} {began}",  # on another machine, or before it was started anew
        f"{boot} {session}",
        f"{boot} none {began}",
        "",
        "\0\xff",
    ):
        file.write_text(other, encoding="latin-1")
        assert end_orphans(file) == 0
        assert is_running(sleeper)
        assert not file.exists()
    file.write_text(f"{boot} {session} {began}")
    assert end_orphans(file) == 1
    until(lambda: not is_running(sleeper))


def test_without_a_record_nothing_is_stopped(tmp_path):
    assert end_orphans(tmp_path / "record") == 0


def test_an_unwritable_record_does_not_prevent_a_step(tmp_path, sleeper):
    with on_record(tmp_path / "missing" / "record", sleeper):
        pass
    assert list(tmp_path.iterdir()) == []
