"""A test that fails does not wait for the program that it has started."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.processes import Process, pass_on_no_ignored_signals

ENDLESS = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(3600)"]


def test_a_program_is_killed_if_the_block_fails():
    running = Process(ENDLESS, stdout=subprocess.PIPE)
    assert running.line() == b"here\n"
    with pytest.raises(ZeroDivisionError), running:
        _ = 1 / 0
    assert running.returncode == -signal.SIGKILL


def test_a_program_is_not_killed_if_the_block_succeeds():
    with Process(
        [sys.executable, "-c", "print('here'); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.line() == "here\n"
        running.stdin.write("\n")
    assert running.returncode == 0


def test_waiting_for_output_of_an_ended_program_is_an_error():
    with (
        pytest.raises(AssertionError, match="nothing more"),
        Process([sys.executable, "-c", ""], stdout=subprocess.PIPE) as running,
    ):
        running.line()


def test_programs_get_signals_that_the_test_run_ignores():
    """A run in the background of a shell ignores SIGINT, which its programs would inherit."""
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        pass_on_no_ignored_signals()
        signal.raise_signal(signal.SIGINT)  # this process still ignores it
        with Process(ENDLESS, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:
            running.line()
            running.send_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, previous)
    assert running.returncode == -signal.SIGINT


def test_other_handlers_of_signals_stay():
    previous = signal.getsignal(signal.SIGINT)
    pass_on_no_ignored_signals()
    assert signal.getsignal(signal.SIGINT) == previous
