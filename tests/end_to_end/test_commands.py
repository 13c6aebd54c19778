"""Commands that need no provider: help, plugins, the sandbox, the demo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from types import SimpleNamespace

import pytest
import requests

from deploycore.cli import COMMANDS, EXIT_CODES, demo
from deploycore.cli.sandbox import load_sandbox, provider_name
from deploycore.provider.entry_points import SANDBOX_GROUP, entry_points_by_name
from deploycore.sandbox import SandboxConnection
from tests import forked


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_names_every_command_and_exit_code(shell, arguments):
    shown = shell.succeed(*arguments)
    assert all(f"\n  {name} " in shown for name in COMMANDS)
    assert all(f" {code}  {meaning}" in shown for code, meaning in EXIT_CODES.items())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_own_help(shell, name):
    assert "Usage: deploycore " + name in shell.succeed(name, "--help")


def test_the_help_of_a_kind_names_its_fields(shell):
    shown = shell.succeed("provider", "add", "--kind", "bitbucket", "--help")
    for option in ("--mode", "--workspace", "--token-stdin", "--app-password-env", "--email"):
        assert option in shown


def test_the_manual_has_the_same_exit_codes(request):
    manual = (request.config.rootpath / "docs/scripting.md").read_text()
    for code, meaning in EXIT_CODES.items():
        assert f"| {code} | {meaning} |" in manual


def test_completion_suggests_the_commands(shell):
    shown = shell.succeed(
        _DEPLOYCORE_COMPLETE="complete_bash", COMP_WORDS="deploycore pro", COMP_CWORD="1"
    )
    assert shown.split() == ["provider"]


def test_the_installed_plugin_is_listed_as_ready(shell):
    reports = {(item["type"], item["kind"]): item for item in shell.json("plugins")}
    assert reports["sandbox", "bitbucket"]["ready"]
    report = reports["provider", "bitbucket"]
    assert report["ready"]
    assert report["contract_version"] == 1
    assert set(report["hooks"]) >= {"authenticate", "list_repos", "list_branches", "clone_url"}
    assert "ready" in shell.succeed("plugins")


def test_the_sandbox_runs_until_it_is_stopped(shell):
    running = shell.start("sandbox", "--kind", "bitbucket", "--json")
    with running:
        text = ""
        while not text.endswith("\n}\n"):
            text += running.line()
        told = json.loads(text)
        assert requests.get(f"{told['url']}/2.0/user", timeout=10).status_code == 401
        assert {item["settings"]["mode"] for item in told["connections"]} == {
            "app-password",
            "api-token",
            "access-token",
            "oauth-client",
        }
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=20) == 0


def handed_on(line, directory):
    """What a line hands to deploycore where a shell runs it: its input, and its arguments."""
    function = "deploycore() { cat >given; printf '%s\\0' \"$@\" >arguments; }"
    subprocess.run(f"{function}\n{line}", shell=True, check=True, cwd=directory)
    given, arguments = directory / "given", directory / "arguments"
    found = given.read_text(), arguments.read_text().split("\0")[:-1]
    given.unlink()
    arguments.unlink()
    return found


@pytest.mark.parametrize("kind", entry_points_by_name(SANDBOX_GROUP))
def test_the_commands_that_the_sandbox_prints_connect_to_it(shell, kind):
    same = load_sandbox(kind)[1].demo()
    ways = len(same.connections)
    same.stop()
    running = shell.start("sandbox", "--kind", kind, PYTHONUNBUFFERED="1")
    with running:
        lines = []
        while sum("provider add" in line for line in lines) < ways:
            lines.append(running.line())
        for line in lines:
            if "provider add" in line:
                given, arguments = handed_on(line, shell.directory)
                shell.succeed(*arguments, given=given)
        for provider in shell.json("provider", "list"):
            assert shell.json("provider", "test", provider["name"])["repositories"] > 0
        running.terminate()


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("API token", "api-token"),
        ("Token for the API, and another one for git", "token-for-the-api-and-another-one-for-git"),
        ("OAuth 2.0 (2 h)", "oauth-2-0-2-h"),
    ],
)
def test_the_title_of_a_connection_yields_a_valid_provider_name(title, name):
    assert provider_name(SandboxConnection(title, {}, "ada")) == name


def test_a_port_in_use_is_reported_clearly(shell, sandbox):
    port = sandbox.url.rpartition(":")[2]
    code, said = shell.fail("sandbox", "--kind", "bitbucket", "--port", port)
    assert code == 3
    assert "port" in said


def test_the_demo_can_end_with_the_dashboard(tmp_path, monkeypatch, capsys):
    """What it runs before is tested below: here it has deployed nothing yet."""
    told = []

    def run(command, *, input, env, cwd, **options):
        return forked.run("deploycore", command[3:], given=input, environment=env, directory=cwd)

    def start(command, *, env, cwd):
        process = forked.ForkedProcess(
            command, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        line = ""
        while "/sign-in/link/" not in line:
            line = process.line()
        told.append(requests.get(line.strip(), timeout=60).text)
        process.send_signal(signal.SIGTERM)  # as a person's Ctrl-C
        process.communicate()
        return process

    monkeypatch.setattr(demo, "subprocess", SimpleNamespace(run=run, Popen=start))
    found, sandbox_class = load_sandbox("bitbucket")
    sandbox = sandbox_class.demo()
    try:
        demo._serve(demo._Demo(found, sandbox, tmp_path), 0, demo._Leaving())
    finally:
        sandbox.stop()
    assert "Create the first administrator" in told[0]
    others = entry_points_by_name(SANDBOX_GROUP).keys() - {"bitbucket"}
    shown = capsys.readouterr().out
    assert all(f"The {kind} sandbox listens on" in shown for kind in others)


@pytest.mark.usefixtures("no_home_yet")
def test_the_demo_succeeds_and_leaves_nothing_behind(shell, monkeypatch, capsys):
    """Its commands begin in prepared processes. Continuous integration runs the demo as it is, as
    the README has it."""

    def run(command, *, input, env, cwd, **options):
        done = forked.run("deploycore", command[3:], given=input, environment=env, directory=cwd)
        print(done.stdout, done.stderr, sep="")
        return done

    shell.succeed("--help")  # starts what prepares processes, which has a directory of its own
    (shell.directory / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(shell.directory / "tmp"))
    monkeypatch.setattr(demo, "subprocess", SimpleNamespace(run=run))
    monkeypatch.setattr(demo, "signals_to_end", tuple)
    demo.demo("bitbucket")
    shown = capsys.readouterr().out
    shell.printed.append(shown)
    assert shown.splitlines()[-1].startswith("The demo succeeded in ")
    assert shown.count("Credentials   valid") == 4
    assert shown.count("Deployed ") == 6
    assert "is live again" in shown
    assert shown.count("Rolled back ") == 1
    assert "Traceback" not in shown
    assert os.listdir(shell.directory / "tmp") == []
    assert not shell.home.exists()
