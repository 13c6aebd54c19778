"""The process in which ``clone`` opens the provider changes nothing but the time that it takes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.distributions import GOOD_PROVIDER, write_distribution
from tests.git.servers import Content, Server
from tests.processes import Process

NO_HANG = 60

several_processors = pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2,
    reason="it is started on Linux only, with several processors",
)

CLONE = ("clone", "work", "ada/shop", "here")
HOOK = "    @hookimpl\n    def clone_url(self, repository):\n"


@pytest.fixture
def server():
    running = Server()
    yield running
    running.stop()


@pytest.fixture
def acme(shell, server, tmp_path, monkeypatch):
    """Adds a provider whose ``clone_url`` first runs some lines: ``acme(*lines)``."""
    content = Content(tmp_path / "shop")
    content.commit(content.files({"a.txt": b"one"}))
    server.backend.repos["/ada/shop.git"] = content.repo
    server.credential = f"git:{shell.made_up}"
    site = shell.directory / "site"
    monkeypatch.setenv("PYTHONPATH", str(site))
    written = GOOD_PROVIDER.replace("https://acme.example/{", f"{server.origin}/{{")
    write_distribution(site, "deploycore-acme", "acme", written)
    add = ("provider", "add", "work", "--kind", "acme", "--token-stdin", "--no-verify")
    shell.succeed(*add, given=f"{shell.made_up}\n")

    def make(*lines):
        said = "".join(f"        {line}\n" for line in lines)
        (site / "deploycore_acme.py").write_text(written.replace(HOOK, HOOK + said))

    return make


@pytest.fixture
def start(shell):
    """Starts a real process with a command."""

    def begin(*arguments, **environment):
        return Process(
            [sys.executable, "-m", "deploycore", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=shell.environment(
                PYTHONPATH=f"{shell.directory / 'site'}:{os.getcwd()}", **environment
            ),
            cwd=shell.directory,
            start_new_session=True,
        )

    return begin


def wait_until(condition):
    end = time.monotonic() + NO_HANG
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def in_session(number):
    """The processes of a session that run."""
    found = []
    for each in filter(str.isdigit, os.listdir("/proc")):
        try:
            values = Path(f"/proc/{each}/stat").read_text().rpartition(") ")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if values[3] == str(number) and values[0] not in "ZX":
            found.append(int(each))
    return found


def noting(where):
    """Lines of a hook that note in which process it runs."""
    note = f"__import__('pathlib').Path({str(where)!r})"
    return (
        "import os",
        f"{note}.open('a').write(f'{{os.getpid()}}\\n')",
        f"first = len({note}.read_text().split()) == 1",
    )


@several_processors
def test_the_provider_is_opened_once_in_another_process(acme, start, shell):
    where = shell.directory / "where"
    acme(*noting(where), "print('from the plugin')")
    with start(*CLONE) as running:
        printed, said = running.communicate(timeout=NO_HANG)
    assert running.returncode == 0, said
    assert "Cloned ada/shop" in printed
    assert "from the plugin" not in printed
    assert said.count("from the plugin") == 1
    [number] = where.read_text().split()
    assert int(number) != running.pid
    assert (shell.directory / "here/a.txt").read_bytes() == b"one"
    assert not in_session(running.pid)


def test_one_processor_does_it_in_one_process(acme, start, shell):
    where = shell.directory / "where"
    one = min(os.sched_getaffinity(0)) if sys.platform == "linux" else 0
    site = shell.directory / "site" / "sitecustomize.py"
    site.write_text(f"import os; os.sched_setaffinity(0, {{{one}}})\n")
    acme(*noting(where))
    with start(*CLONE) as running:
        assert running.wait(NO_HANG) == 0, running.stderr.read()
    assert where.read_text().split() == [str(running.pid)]


@several_processors
def test_a_command_goes_on_alone_when_the_process_is_killed(acme, start, shell):
    where = shell.directory / "where"
    acme(*noting(where), "while first: __import__('time').sleep(1)")
    with start(*CLONE) as running:
        number = wait_until(lambda: where.exists() and where.read_text().split())[0]
        assert int(number) != running.pid
        os.kill(int(number), signal.SIGKILL)
        assert running.wait(NO_HANG) == 0, running.stderr.read()
    assert where.read_text().split() == [number, str(running.pid)]
    assert (shell.directory / "here/a.txt").read_bytes() == b"one"


@several_processors
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_the_process_ends_with_the_command(acme, start, shell, sent):
    where = shell.directory / "where"
    acme(*noting(where), "while True: __import__('time').sleep(1)")
    with start(*CLONE) as running:
        wait_until(lambda: where.exists() and where.read_text().split())
        os.kill(running.pid, sent)
        code = running.wait(NO_HANG)
        assert code == (-9 if sent == signal.SIGKILL else 130)
        wait_until(lambda: not in_session(running.pid))
        assert "Traceback" not in running.stderr.read()
    assert not (shell.directory / "here").exists()


@several_processors
def test_signals_to_the_process_alone_change_nothing(acme, start, shell):
    where = shell.directory / "where"
    go = shell.directory / "go"
    acme(*noting(where), f"while not os.path.exists({str(go)!r}): __import__('time').sleep(0.02)")
    with start(*CLONE) as running:
        number = wait_until(lambda: where.exists() and where.read_text().split())[0]
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(int(number), each)
        go.touch()
        assert running.wait(NO_HANG) == 0, running.stderr.read()
    assert where.read_text().split() == [number]


@pytest.mark.parametrize(
    ("fails", "expected"),
    [
        ("raise RuntimeError('no such thing')", "raised RuntimeError: no such thing"),
        ("return 'https://example.com'", "clone_url"),
        ("__import__('os')._exit(7) if first else None; raise KeyError('x')", "KeyError"),
    ],
)
def test_a_failure_is_reported_once(acme, start, shell, fails, expected):
    acme(*noting(shell.directory / "where"), fails)
    with start(*CLONE) as running:
        printed, said = running.communicate(timeout=NO_HANG)
    assert running.returncode not in (0, 1, 7)
    assert printed == ""
    assert said.count(expected) >= 1
    assert said.startswith("Error:")
    assert said.count("Next:") == 1
    assert "Traceback" not in said
    assert not (shell.directory / "here").exists()


def test_a_rejected_credential_is_explained_as_before(acme, start, server, shell):
    acme()
    server.credential = "git:another"
    with start(*CLONE) as running:
        printed, said = running.communicate(timeout=NO_HANG)
    assert running.returncode != 0
    assert said.count("Next:") == 1
    assert "ada/shop" in said
    assert "work" in said
    assert shell.made_up not in printed + said


@several_processors
@pytest.mark.parametrize("refused", ["os.fork", "mmap.mmap", "socket.socketpair"])
def test_a_command_goes_on_alone_when_the_system_refuses(acme, start, shell, refused):
    where = shell.directory / "where"
    module, name = refused.split(".")
    (shell.directory / "site" / "sitecustomize.py").write_text(
        f"import {module}\n"
        "def refuse(*given, **options): raise OSError(24, 'refused')\n"
        f"{module}.{name} = refuse\n"
    )
    acme(*noting(where))
    with start(*CLONE) as running:
        assert running.wait(NO_HANG) == 0, running.stderr.read()
    assert where.read_text().split() == [str(running.pid)]
