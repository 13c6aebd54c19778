"""People enter a code at the host, which ``deploycore provider authorize`` waits for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from deploycore_github.sandbox import GitHubSandbox


@pytest.fixture
def sandbox():
    with GitHubSandbox() as sandbox:
        sandbox.oauth.rules = replace(sandbox.oauth.rules, interval=0)
        sandbox.publish(sandbox.OWNER, "shop", "main", {"README.md": b"# Shop\n"}, "Start")
        yield sandbox


@pytest.fixture
def elsewhere(serving, remote):
    """The beginning of a command line for a server, and its environment."""
    return ("--server", serving), remote.away


@pytest.fixture(params=["here", "server"])
def place(request):
    """Where the commands run."""
    return request.getfixturevalue("elsewhere") if request.param == "server" else ((), {})


@pytest.mark.parametrize("allows", [True, False])
def test_a_user_enters_the_device_code(shell, sandbox, allows, place):
    where, environment = place
    given = sandbox.add_sign_in()
    said = shell.succeed(
        "provider", "add", "work", "--kind", "github", "--mode", "oauth-device",
        "--client-id", given["client_id"], "--url", given["url"],
    )  # fmt: skip
    assert "Sign in: deploycore provider authorize work" in said
    line = (*where, "provider", "authorize", "work", "--timeout", "60s")
    started = shell.start(*line, **environment)
    try:
        lines = [started.stderr.readline() for _ in range(3)]
        assert lines[1].strip() == f"{sandbox.url}/login/device"
        code = lines[2].split()[-1]
        sandbox.oauth.enter(code, sandbox.OWNER if allows else None)
        out, err = started.communicate(timeout=60)
    finally:
        started.kill()
    shell.printed += [out, err]
    if allows:
        assert started.returncode == 0, err
        assert f"signed in as {sandbox.OWNER}" in out
        assert f"valid: {sandbox.OWNER}" in shell.succeed("provider", "test", "work")
    else:
        assert started.returncode == 4
        assert "was denied" in err
