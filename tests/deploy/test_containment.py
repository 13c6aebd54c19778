"""A step that fails leaves no process behind, in any process group or session."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploycore.applications.application import Step
from deploycore.deploy import containment
from deploycore.deploy import process as process_module
from deploycore.deploy.containment import VARIABLE, Containment, marked
from deploycore.deploy.orphans import end_orphans
from deploycore.deploy.steps import run_command, step_environment
from deploycore.errors import Cancelled, StepFailed
from deploycore.git import Cancellation
from deploycore.redaction import Redactor
from tests.forked import ForkedProcess

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc"),
    pytest.mark.unprivileged,
]

SOON = 60

# Each process lives for a moment only: it starts the next one in a group, or a session, of its
# own, and ends. What is looked for one by one is gone before it is found.
HOPPING = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("started", flush=True)
os.close(1), os.close(2)
if os.fork():
    time.sleep(300 if sys.argv[2] == "wait" else 0.2)
    os._exit(int(sys.argv[2] == "fail"))
until = time.monotonic() + 300  # should the test fail, the machine is not left with it
while time.monotonic() < until:
    getattr(os, sys.argv[1])()
    if os.fork():
        os._exit(0)
    time.sleep(0.001)
"""

STAYING = (
    HOPPING.partition("until = ")[0]
    + """
getattr(os, sys.argv[1])()
time.sleep(300)
"""
)


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch):
    monkeypatch.setattr(process_module, "GRACE_SECONDS", 0.2)
    monkeypatch.setattr("deploycore.deploy.orphans.GRACE_SECONDS", 0.2)


@pytest.fixture
def tokens(monkeypatch):
    """The tokens of the steps that ran."""
    found = []

    class Noted(Containment):
        def __init__(self):
            super().__init__()
            found.append(self.token)

    monkeypatch.setattr(process_module, "Containment", Noted)
    yield found
    for each in found:
        for process in marked(each):
            os.kill(process, signal.SIGKILL)


@pytest.fixture
def without_cgroup(monkeypatch):
    monkeypatch.setattr(containment, "_own_cgroup", lambda: None)


needs_cgroup = pytest.mark.skipif(
    Containment().cgroup is None, reason="no control group can be made here"
)


def run(tmp_path, program, call, how, timeout=SOON, cancellation=None):
    path = tmp_path / "program.py"
    path.write_text(program)
    lines = []

    def shown(line):
        lines.append(line)
        if cancellation is not None:
            cancellation.cancel()

    run_command(
        Step(run=[sys.executable, str(path), call, how], timeout=timeout),
        directory=tmp_path,
        environment=step_environment({}),
        redactor=Redactor(),
        output=shown,
        cancellation=cancellation or Cancellation(),
        record=tmp_path / "record",
    )
    return lines


def nothing_runs(token):
    """Looked at often: what hops may be missed by one look."""
    return not any(marked(token) for _ in range(20))


@needs_cgroup
@pytest.mark.parametrize("call", ["setpgrp", "setsid"])
@pytest.mark.parametrize("how", ["fail", "wait"])
def test_an_endlessly_forking_program_is_killed_immediately(tmp_path, tokens, call, how):
    cancellation = Cancellation() if how == "wait" else None
    with pytest.raises((StepFailed, Cancelled)):
        run(tmp_path, HOPPING, call, how, cancellation=cancellation)
    assert nothing_runs(tokens[0])


@needs_cgroup
def test_a_program_starts_in_its_control_group(tmp_path, tokens, monkeypatch):
    """Also where deploycore is held up right after the start, as on a busy machine."""
    started = []

    class HeldUp(subprocess.Popen):
        def __init__(self, *given, **more):
            super().__init__(*given, **more)
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            started.append(self.pid)

    monkeypatch.setattr(process_module.subprocess, "Popen", HeldUp)
    lines = []
    run_command(
        Step(run=["cat", "/proc/self/cgroup"]),
        directory=tmp_path,
        environment=step_environment({}),
        redactor=Redactor(),
        output=lines.append,
        cancellation=Cancellation(),
    )
    assert len(started) == 1
    assert any(line.endswith(f"deploycore-step-{tokens[0]}") for line in lines)


@needs_cgroup
def test_empty_control_groups_of_killed_processes_are_removed_later(monkeypatch):
    apart = Containment().cgroup  # so that those of other tests are left alone
    monkeypatch.setattr(containment, "_own_cgroup", lambda: apart)
    empty, used = Containment(), Containment()
    with used.entry() as enter:
        running = subprocess.Popen(["sleep", "300"], preexec_fn=enter)
    now = time.time()
    try:
        Containment().close()
        assert empty.cgroup.exists()
        monkeypatch.setattr(containment.time, "time", lambda: now + 25 * 60 * 60)
        Containment().close()
        assert not empty.cgroup.exists()
        assert used.members() == {running.pid}
    finally:
        running.kill()
        running.wait()
        for each in (*apart.glob("deploycore-step-*"), apart):
            each.rmdir()


def test_processes_are_listed_newest_first():
    """What replaces itself all the time has a high number, and is gone a moment later."""
    found = containment._processes()
    assert os.getpid() in found
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("call", ["setpgrp", "setsid"])
@pytest.mark.parametrize("how", ["fail", "wait"])
def test_remaining_processes_are_found_without_a_control_group(
    tmp_path, tokens, without_cgroup, call, how
):
    cancellation = Cancellation() if how == "wait" else None
    with pytest.raises((StepFailed, Cancelled)):
        run(tmp_path, STAYING, call, how, cancellation=cancellation)
    assert nothing_runs(tokens[0])


def test_a_daemon_in_its_own_session_outlives_a_successful_step(tmp_path, tokens):
    assert run(tmp_path, STAYING, "setsid", "succeed") == ["started"]
    (daemon,) = marked(tokens[0])
    os.kill(daemon, 0)


@needs_cgroup
def test_no_control_group_is_left_behind(tmp_path, tokens):
    run(tmp_path, STAYING, "setsid", "succeed")
    with pytest.raises(StepFailed):
        run(tmp_path, HOPPING, "setsid", "fail")
    with pytest.raises(StepFailed):
        run_command(
            Step(run=["missing-program"]),
            directory=tmp_path,
            environment=step_environment({}),
            redactor=Redactor(),
            output=print,
            cancellation=Cancellation(),
        )
    own = containment._own_cgroup()
    assert len(tokens) == 3
    assert not [each for each in tokens if (own / f"deploycore-step-{each}").exists()]


@pytest.mark.parametrize("call", ["setpgrp", "setsid"])
def test_the_record_lists_processes_of_a_killed_process(tmp_path, call):
    program = tmp_path / "program.py"
    program.write_text(STAYING)
    deploying = (
        "import sys; from pathlib import Path; from tests.deploy.test_containment import run\n"
        f"run(Path({str(tmp_path)!r}), Path({str(program)!r}).read_text(), {call!r}, 'wait')"
    )
    record = tmp_path / "record"
    running = ForkedProcess([sys.executable, "-c", deploying], cwd=Path(__file__).parents[2])
    try:
        token = ""
        moment = time.monotonic() + SOON
        while len(marked(token) if token else ()) < 2:
            assert time.monotonic() < moment
            time.sleep(0.01)
            if record.exists() and record.read_text().endswith("\n"):
                token = record.read_text().split()[3]
    finally:
        running.kill()
        running.wait()
    assert end_orphans(record) >= 2
    assert nothing_runs(token)
    assert not record.exists()


def test_tokens_of_nested_steps_are_combined(monkeypatch):
    monkeypatch.setenv(VARIABLE, "outer")
    inner = Containment()
    inner.close()
    assert inner.variables == {VARIABLE: f"outer:{inner.token}"}


def test_control_groups_of_killed_processes_are_removed_once_an_hour(tmp_path):
    def make(name: str, age: float = 0) -> Path:
        made = tmp_path / name
        made.mkdir()
        os.utime(made, (time.time() - age,) * 2)
        return made

    old, new = make(f"{containment._PREFIX}old", 90_000), make(f"{containment._PREFIX}new")
    other = make("of-another-program", 90_000)
    containment._remove_abandoned(tmp_path, hour=1)
    assert [each.exists() for each in (old, new, other)] == [False, True, True]
    later = make(f"{containment._PREFIX}later", 90_000)
    containment._remove_abandoned(tmp_path, hour=1)
    assert later.exists()
    containment._remove_abandoned(tmp_path, hour=2)
    assert not later.exists()
