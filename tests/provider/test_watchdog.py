"""The shell that ends a process whose interpreter is blocked by a plugin's import."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from deploycore.provider import watchdog
from deploycore.provider.watchdog import ending_process
from tests.worker.conftest import wait_for

HOLD = "import re; re.match(r'(a|aa)+$', 'a' * 45 + 'b')"


def run(block: str, *, seconds: float = 0.5) -> subprocess.CompletedProcess[str]:
    program = (
        "import os, sys, time\n"
        "from deploycore.provider.watchdog import ending_process\n"
        f"with ending_process({seconds}, 'It is held.'):\n"
        f"    {block}\n"
        "print('over')"
    )
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def children() -> set[int]:
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    return set(map(int, path.read_text().split()))


def test_a_blocked_process_reports_the_reason_and_is_killed():
    done = run(HOLD)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGKILL, "", "It is held.\n")


def test_a_block_that_ends_leaves_no_process_and_prints_nothing():
    before = children()
    with ending_process(60, "never"):
        assert len(children() - before) == 1
    assert children() == before
    done = run("pass", seconds=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "over\n", "")


def test_an_exception_of_the_block_is_raised_and_nothing_is_left_behind():
    before = children()
    with pytest.raises(KeyboardInterrupt), ending_process(60, "never"):
        raise KeyboardInterrupt
    assert children() == before


def test_the_watchdog_does_not_outlive_a_killed_parent(tmp_path):
    program = (
        "import os, pathlib, sys\n"
        "from deploycore.provider.watchdog import ending_process\n"
        "with ending_process(600, 'never'):\n"
        "    found = pathlib.Path(f'/proc/self/task/{os.getpid()}/children').read_text()\n"
        "    print(found, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    shell = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()

    def is_gone() -> bool:
        with suppress(OSError):  # a zombie is for init to reap, which containers may lack
            status = Path(f"/proc/{shell}/stat").read_text()
            return status.rpartition(") ")[2].startswith("Z")
        return True

    wait_for(is_gone)


def test_without_a_shell_the_watchdog_is_disabled(monkeypatch):
    def refuse(*_, **__):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(watchdog.subprocess, "Popen", refuse)
    with ending_process(60, "never"):
        begun_at = time.monotonic()
    assert begun_at


def test_the_environment_of_the_watchdog_contains_no_secret(monkeypatch):
    monkeypatch.setenv("DEPLOYCORE_TOKEN", "made-up")
    before = children()
    with ending_process(60, "never"):
        (shell,) = children() - before
        wait_for(lambda: b"exec 3" in Path(f"/proc/{shell}/cmdline").read_bytes())
        assert b"made-up" not in Path(f"/proc/{shell}/environ").read_bytes()
