"""Secrets are sent only to the git host: the system calls of all commands are checked.

strace shows the data and the destination of each write, and the arguments and the environment of
each program that is started.
"""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from urllib.parse import quote

import pytest
import requests
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
        # Any port, so that tests can run at the same time.
        sandbox.oauth.rules = replace(sandbox.oauth.rules, ports_matter=False)
        sandbox.oauth.account = "ada"
        yield sandbox


@pytest.fixture
def traced(tmp_path, shell):
    """Runs a command below strace, and keeps the calls."""
    calls = tmp_path.parent / f"{tmp_path.name}-calls"
    found = []

    def run(*arguments, given="", answer=None):
        """What a command prints; ``answer`` gives what is typed once it has printed an address."""
        command = [
            "strace",
            "-f",
            "--seccomp-bpf",
            "-yy",
            "-v",
            "-s",
            "200000",
            "-e",
            f"trace={CALLS}",
            "-o",
            calls,
        ]
        started = subprocess.Popen(
            [*command, sys.executable, "-m", "deploycore", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=shell.environment(),
            cwd=shell.directory,
        )
        printed = ""
        try:
            if answer is not None:
                printed = started.stderr.readline() + started.stderr.readline()
                given = answer(printed.split()[-1])
            out, err = started.communicate(given, timeout=300)
        except BaseException:
            started.kill()
            started.communicate()
            raise
        assert started.returncode == 0, err
        found.extend(calls.read_text(errors="replace").splitlines())
        calls.unlink()
        return printed + out + err

    run.calls = found
    return run


def browse(address):
    """Where the browser is sent."""
    answer = requests.get(address, allow_redirects=False, timeout=30)
    return answer.headers["Location"]


def follow(address):
    """Let the browser go there, to the listener of the command."""
    requests.get(browse(address), timeout=30)
    return ""


def test_a_complete_workflow_shows_no_secret(traced, sandbox, tmp_path):
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
    assert_silent(traced, sandbox, printed)
    assert any("execve(" in line and "built by" in line for line in traced.calls)


def test_sign_in_tokens_are_not_shown(traced, sandbox, tmp_path):
    settings = dict(sandbox.add_sign_in())
    secret = settings.pop("client_secret").get_secret_value()
    fields = [part for key, value in settings.items() for part in (f"--{key}", value)]
    fields = [each.replace("_", "-") if each.startswith("--") else each for each in fields]
    printed = traced(
        "provider", "add", "person", "--kind", "bitbucket", *fields, "--client-secret-stdin",
        given=secret,
    )  # fmt: skip
    printed += traced("provider", "authorize", "person", "--port", "0", answer=follow)
    printed += traced("provider", "authorize", "person", "--no-browser", answer=browse)
    sandbox.oauth.expire_all()
    printed += traced("provider", "test", "person")
    printed += traced("provider", "edit", "person", "--prefetch-pages", "2")
    printed += traced("provider", "rotate", "person", "--client-secret-stdin", given=secret)
    printed += traced("clone", "person", "acme/shop", str(tmp_path / "clone"))
    assert sandbox.oauth.issued == 4  # two sign-ins, a renewal, and one that proves the secret
    assert_silent(traced, sandbox, printed)


def assert_silent(traced, sandbox, printed):
    """No secret is in what was printed, and none leaves the process but for the host."""
    wanted = [each for secret in sandbox.secrets for each in needles(secret)]
    assert not [each for each in wanted if each in printed]
    to_the_host = re.compile(r"\b(?:sendto|write|sendmsg|writev)\(\d+<TCP:")
    shown = [line for line in traced.calls if any(each in line for each in wanted)]
    assert any(to_the_host.search(line) for line in shown)  # the canary is seen where it may be
    assert [line[:200] for line in shown if not to_the_host.search(line)] == []
