"""The commands that prepare forks succeed: those that fail prepare nothing."""

from __future__ import annotations

import subprocess
import sys

from tests.forked import ForkedProcess

PROGRAM = "from tests.warming import warm_up; print(*warm_up())"


def test_the_commands_that_prepare_forks_succeed():
    command = [sys.executable, "-c", PROGRAM]
    with ForkedProcess(command, stdout=subprocess.PIPE, text=True) as process:
        printed, _ = process.communicate(timeout=300)
    assert (process.returncode, printed) == (0, "\n")
