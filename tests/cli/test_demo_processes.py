"""Commands of the demo run in processes that are forked from one that has imported everything."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib import import_module

import pytest

from deploycore.cli import demo_processes

_SCRIPT = """
import os, pathlib, signal, sys
from deploycore.cli.demo_processes import prepare, run_command

def leave(number, frame):
    sys.exit(3)

def run(*arguments):
    environment = os.environ | {"DEPLOYCORE_HOME": "home"}
    return run_command(
        arguments, given="", environment=environment, directory=pathlib.Path(sys.argv[1])
    )

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, leave)
    prepare()
    codes = [run(*each.split(",")) for each in sys.argv[2:]]
    print(codes)
"""


@pytest.fixture
def start(tmp_path):
    """Starts a script that runs commands one after another, in a session of its own."""
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    started = []

    def start(*commands):
        started.append(
            subprocess.Popen(
                [sys.executable, str(script), str(tmp_path), *commands],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        )
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.wait()
        each.stdout.close()


def wait_until_all_have_ended(session):
    """Wait until no process of a session is left."""
    ends = time.monotonic() + 60
    while True:
        try:
            os.killpg(session, 0)
        except ProcessLookupError:
            return
        assert time.monotonic() < ends
        time.sleep(0.01)


@pytest.mark.parametrize("name", demo_processes.IMPORTED)
def test_what_is_imported_exists(name):
    """The fork server ignores what it cannot import."""
    import_module(name)


def test_commands_print_and_return_their_exit_codes(start, tmp_path):
    process = start("--version", "provider,list", "provider,show,missing")
    shown, _ = process.communicate(timeout=300)
    assert shown.splitlines()[0].startswith("deploycore ")
    assert "missing" in shown
    assert shown.splitlines()[-1] == "[0, 0, 3]"
    assert (tmp_path / "home").is_dir()
    wait_until_all_have_ended(process.pid)


def test_an_interrupted_command_is_killed(start):
    process = start("worker")
    while "Stop it with Ctrl-C" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=300) == 3
    wait_until_all_have_ended(process.pid)


def test_elsewhere_commands_run_in_new_processes(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(sys, "platform", "darwin")
    demo_processes.prepare()
    environment = os.environ | {"DEPLOYCORE_HOME": "home"}
    code = demo_processes.run_command(
        ["provider", "show", "missing"], given="", environment=environment, directory=tmp_path
    )
    assert code == 3
    assert "missing" in capfd.readouterr().err
