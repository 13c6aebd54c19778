"""No secret leaves the process but for the git host: the system calls of a whole journey are read.

strace shows the data of each write with what its descriptor leads to, and the arguments and the
environment of each program that is started.
"""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import sys
from urllib.parse import quote

import pytest
from deploycore_bitbucket.sandbox import Sandbox

from deploycore.cli.sandbox import add_command

CALLS = (
    "execve,write,writev,pwrite64,sendto,sendmsg,openat,rename,renameat,linkat,symlinkat,mkdirat"
)
STEP = "import os; print('built by', os.environ.get('USER'))"


def can_trace() -> bool:
    found = shutil.which("strace")
    return bool(found) and not subprocess.run([found, "-o", "/dev/null", "true"]).returncode


pytestmark = pytest.mark.skipif(not can_trace(), reason="strace cannot be used here")


def needles(secret):
    """A secret as it would be recognized: plain, percent-encoded, in base64, in hexadecimal."""
    text = secret.get_secret_value()
    yield text
    yield quote(text, safe="")
    yield text.encode().hex()
    for offset in range(3):
        yield base64.b64encode(b"x" * offset + text.encode()).decode()[4:-4]


@pytest.fixture
def sandbox():
    with Sandbox().with_demo_content() as sandbox:
        yield sandbox


@pytest.fixture
def traced(tmp_path, shell):
    """Runs a command below strace, and keeps the calls."""
    calls = tmp_path.parent / f"{tmp_path.name}-calls"
    found = []

    def run(*arguments, given=""):
        command = ["strace", "-f", "-yy", "-v", "-s", "200000", "-e", f"trace={CALLS}", "-o", calls]
        done = subprocess.run(
            [*command, sys.executable, "-m", "deploycore", *arguments],
            input=given,
            capture_output=True,
            text=True,
            env=shell.environment(),
            cwd=shell.directory,
        )
        assert done.returncode == 0, done.stderr
        found.extend(calls.read_text(errors="replace").splitlines())
        calls.unlink()
        return done.stdout + done.stderr

    run.calls = found
    return run


def test_a_whole_journey_shows_no_secret(traced, sandbox, tmp_path):
    connection = next(each for each in sandbox.connections if each.settings["mode"] == "api-token")
    arguments, given = add_command("bitbucket", connection, "work")
    printed = traced(*arguments, given=given)
    printed += traced("provider", "test", "work")
    printed += traced(
        "app", "create", "site", "--provider", "work", "--repository", "acme/shop",
        "--branch", "main", "--target", str(tmp_path / "site"),
        "--build", f"{sys.executable} -c {STEP!r}",
    )  # fmt: skip
    printed += traced("deploy", "site")
    new = sandbox.add_credential("api-token")
    printed += traced(
        "provider", "rotate", "work", "--token-stdin", given=new.secret.get_secret_value()
    )
    sandbox.commit("acme", "shop", "main", {"b": b"2"}, "More")
    printed += traced("deploy", "site")
    printed += traced("clone", "work", "acme/shop", str(tmp_path / "clone"))
    wanted = [each for secret in sandbox.secrets for each in needles(secret)]
    assert not [each for each in wanted if each in printed]
    to_the_host = re.compile(r"\b(?:sendto|write|sendmsg|writev)\(\d+<TCP:")
    shown = [line for line in traced.calls if any(each in line for each in wanted)]
    assert any(to_the_host.search(line) for line in shown)  # the canary is seen where it may be
    assert [line[:200] for line in shown if not to_the_host.search(line)] == []
    assert any("execve(" in line and "built by" in line for line in traced.calls)
