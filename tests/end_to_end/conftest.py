"""Runs deploycore like a person: in separate processes, with a data directory and a sandbox.

After every test, everything that was printed or written is searched for the sandbox's secrets.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from deploycore.cli.sandbox import add_command, provider_name
from tests import forked
from tests.forked import ForkedProcess


class Shell:
    """Runs ``deploycore`` commands and keeps their output.

    Attributes:
        made_up: A wrong secret, which must not appear in any output either.
    """

    made_up = "made-up-secret-5f2c81d0"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.home = directory / "home"
        self.printed: list[str] = []

    def environment(self, **more: str) -> dict[str, str]:
        dropped = ("DEPLOYCORE_", "PYTHONDONTWRITEBYTECODE")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
        return kept | {"DEPLOYCORE_HOME": str(self.home), "COLUMNS": "80"} | more

    def start(self, *arguments: str, **environment: str) -> ForkedProcess:
        return ForkedProcess(
            [sys.executable, "-m", "deploycore", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment(**environment),
            cwd=self.directory,
        )

    def run(
        self, *arguments: str, given: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        done = forked.run(
            "deploycore",
            arguments,
            given=given,
            environment=self.environment(**environment),
            directory=self.directory,
            timeout=500,
        )
        self.printed += [done.stdout, done.stderr]
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def succeed(self, *arguments: str, given: str = "", **environment: str) -> str:
        done = self.run(*arguments, given=given, **environment)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout

    def fail(self, *arguments: str, given: str = "", **environment: str) -> tuple[int, str]:
        """Run a command that must fail with a next step; return its exit code and message."""
        done = self.run(*arguments, given=given, **environment)
        assert done.returncode not in (0, 1), (arguments, done.stdout, done.stderr)
        if done.returncode != 2:
            assert "\nError: " in "\n" + done.stderr
        return done.returncode, done.stderr

    def json(self, *arguments: str) -> object:
        return json.loads(self.succeed(*arguments, "--json"))

    def stream(self, *arguments: str) -> list[dict]:
        """Run a command that prints one JSON object per line; return these objects."""
        return list(map(json.loads, self.succeed(*arguments, "--json").splitlines()))


@pytest.fixture
def sandbox(demo_sandbox):
    """The sandbox that the commands of a test use."""
    return demo_sandbox


@pytest.fixture
def no_home_yet():
    """Requested by tests that begin without a data directory, as after an installation."""


@pytest.fixture
def shell(tmp_path: Path, sandbox, request, empty_home) -> Iterator[Shell]:
    """A shell whose output and files are searched for secrets after the test.

    Its database is a copy, because creating one takes most of a command's time.
    """
    shell = Shell(tmp_path)
    if "no_home_yet" not in request.fixturenames:
        shutil.copytree(empty_home, shell.home)
    yield shell
    secrets = [secret.get_secret_value() for secret in sandbox.secrets]
    needles = [form for secret in [*secrets, shell.made_up] for form in forms(secret)]
    for text in shell.printed:
        assert not any(needle.decode() in text for needle in needles)
    files = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
    assert any(path.is_relative_to(shell.home) for path in files) or not shell.home.is_dir()
    for path in files:
        content = path.read_bytes()
        assert not any(needle in content for needle in needles), path


def forms(secret: str) -> Iterator[bytes]:
    """A secret in its usual forms: plain, percent-encoded, and in base64 after a username."""
    yield secret.encode()
    yield quote(secret, safe="").encode()
    for offset in range(3):
        encoded = base64.b64encode(b"x" * offset + secret.encode())
        yield encoded[4:-4]


@pytest.fixture
def connect(shell, sandbox):
    """Add a provider for one of the sandbox's connections; return its name and connection."""

    def add(mode: str = "api-token"):
        for connection in sandbox.connections:
            if connection.settings["mode"] == mode:
                name = provider_name(connection)
                arguments, given = add_command("bitbucket", connection, name)
                shell.succeed(*arguments, given=given)
                return name, connection
        raise LookupError(mode)

    return add


@pytest.fixture
def serving(shell):
    """A server; gives its URL."""
    process = shell.start("serve", "--port", "0", "--workers", "1")
    url = process.line().split()[3]
    yield url
    process.send_signal(signal.SIGTERM)
    process.communicate()


@pytest.fixture
def token(shell):
    def make(role="admin"):
        return json.loads(shell.run("token", "add", role, "--role", role, "--json").stdout)["token"]

    return make


@pytest.fixture
def remote(shell, serving, token, tmp_path):
    """Runs commands as a person at another machine, who is signed in to the server."""
    away = {
        "DEPLOYCORE_HOME": str(tmp_path / "away"),
        "DEPLOYCORE_CONFIG_HOME": str(tmp_path / "c"),
    }
    made = token()
    shell.succeed("login", serving, "--stdin", given=f"{made}\n", **away)

    def run(*arguments, code=0, given=""):
        done = shell.run("--server", serving, *arguments, given=given, **away)
        assert done.returncode == code, (done.stdout, done.stderr)
        assert made not in done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    run.token, run.away, run.directory = made, away, tmp_path / "c"
    yield run
    assert not (tmp_path / "away").exists()  # nothing was done on this machine
