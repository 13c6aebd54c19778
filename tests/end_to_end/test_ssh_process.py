"""The process that holds a command's SSH connection never outlives the command."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.distributions import GOOD_PROVIDER, write_distribution
from tests.end_to_end.test_ssh import SSH_HOOK, add, served
from tests.postgresql import _children
from tests.processes import Process
from tests.ssh_server import proxy

__all__ = ["served"]

NO_HANG = 60
SILENT_AFTER = 3000  # the server has signed in the client, and has not sent everything

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it is started on Linux only")


@pytest.fixture
def slow(sshd):
    """A proxy to the server, which stops to forward until ``mend`` is called."""
    with proxy(sshd.port, silent_after=SILENT_AFTER) as running:
        yield running


@pytest.fixture
def command(shell, slow, served, sshd, tmp_path, monkeypatch):
    """Starts a real process with a command, in an installation with a provider for the proxy."""
    address = served.replace(f":{sshd.port}/", f":{slow.port}/")
    keys = [line.replace(f":{sshd.port} ", f":{slow.port} ") for line in sshd.host_keys]
    monkeypatch.setenv("PYTHONPATH", str(shell.directory / "site"))
    source = GOOD_PROVIDER + SSH_HOOK.format(address=address, published=repr(tuple(keys)))
    tree = tmp_path / "tree"
    commit = subprocess.check_output(["git", "-C", tree, "rev-parse", "HEAD"], text=True)
    source = source.replace('"1" * 40', repr(commit.strip()))
    write_distribution(shell.directory / "site", "deploycore-acme", "acme", source)
    shell.succeed(*add(shell, sshd.key, "--no-verify"), given=f"{shell.made_up}\n")

    def start(*arguments):
        return Process(
            [sys.executable, "-m", "deploycore", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=shell.environment(PYTHONPATH=f"{shell.directory / 'site'}:{os.getcwd()}"),
            cwd=shell.directory,
            start_new_session=True,
        )

    return start


def wait_until(condition):
    end = time.monotonic() + NO_HANG
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def has_ended(number):
    """Whether a process is gone, or waits for its parent to notice."""
    try:
        stat = Path(f"/proc/{number}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(") ")[2].startswith("Z")


def ignored_signals(number):
    """The signals that a process ignores."""
    status = Path(f"/proc/{number}/status").read_text()
    mask = int(re.search(r"SigIgn:\s*(\w+)", status)[1], 16)
    return {each for each in signal.Signals if mask >> each - 1 & 1}


def connected_child(running, slow):
    """Return the process of a command whose connection the proxy has stopped to forward."""
    [child] = wait_until(lambda: _children(running.pid))
    wait_until(lambda: slow.passed or slow.connections)
    return child


CLONE = ("clone", "work", "ada/repository-0", "here")


@pytest.mark.parametrize("when", ["at its start", "while it waits for the server"])
def test_a_command_that_is_killed_leaves_no_process(command, slow, when):
    with command(*CLONE) as running:
        [child] = wait_until(lambda: _children(running.pid))
        if when != "at its start":
            wait_until(lambda: slow.connections)
        running.kill()
        wait_until(lambda: has_ended(child))


def test_ctrl_c_ends_both(command, slow, shell):
    with command(*CLONE) as running:
        child = connected_child(running, slow)
        os.killpg(running.pid, signal.SIGINT)
        assert running.wait(NO_HANG) == 130
        assert has_ended(child)
        assert "Traceback" not in running.stderr.read()
    assert not (shell.directory / "here").exists()


def test_a_signal_to_the_process_alone_changes_nothing(command, slow):
    with command(*CLONE) as running:
        child = connected_child(running, slow)
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(child, each)
        assert {signal.SIGINT, signal.SIGTERM, signal.SIGHUP} <= ignored_signals(child)
        assert not has_ended(child)
        running.kill()


@pytest.mark.parametrize("closed", ["<&-", "<&- >&- 2>&-"])
def test_a_command_may_be_started_without_standard_streams(command, slow, shell, closed):
    slow.mend()
    words = [sys.executable, "-m", "deploycore", *CLONE]
    environment = shell.environment(PYTHONPATH=f"{shell.directory / 'site'}:{os.getcwd()}")
    subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *words],
        env=environment,
        cwd=shell.directory,
        timeout=NO_HANG,
    )
    assert (shell.directory / "here/a.txt").read_text() == "one"


def test_a_deployment_uses_the_process(command, slow, shell):
    shell.succeed(
        *("app", "create", "shop", "--provider", "work", "--repository", "ada/repository-0"),
        *("--ref", "main", "--target", str(shell.directory / "target")),
    )
    with command("deploy", "shop") as running:
        child = connected_child(running, slow)
        slow.mend()
        os.kill(child, signal.SIGKILL)  # the retry gets through
        assert running.wait(NO_HANG) == 0, running.stderr.read()
    assert (shell.directory / "target/current/a.txt").read_text() == "one"


def test_a_clone_over_https_forks_no_process(shell, connect, sandbox):
    name, _ = connect("api-token")
    sandbox.publish("acme", "site", "main", {"page": b"one"}, "One")
    code = (
        "import atexit, os, sys; from deploycore.cli import main\n"
        "os.register_at_fork(before=lambda: print('forked'))\n"
        "loaded = lambda: 'deploycore.ssh.process' in sys.modules\n"
        "atexit.register(lambda: print(f'loaded: {loaded()}'))\n"
        f"sys.argv[1:] = {['clone', name, 'acme/site', 'here']!r}; main()"
    )
    environment = shell.environment()
    with Process(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=shell.directory,
    ) as running:
        printed, _ = running.communicate(timeout=NO_HANG)
    assert "Cloned acme/site" in printed
    assert "loaded: False" in printed
    assert "forked" not in printed
