"""Installed plugins whose calls never return: they are named, and abandoned after a time limit."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from deploycore.cli import waiting
from deploycore.cli.waiting import telling_of_waits
from deploycore.provider.background import under_way
from tests.distributions import GOOD_PROVIDER, write_distribution
from tests.forked import ForkedProcess

FOREVER = "__import__('time').sleep(10**6)"
HANGS = {
    "sleeping": [FOREVER],
    "busy": ["while True: pass"],
    "deaf to interrupts": [
        "while True:",
        "    try: __import__('time').sleep(10**6)",
        "    except BaseException: pass",
    ],
    "waiting for threads of its own": [
        "from concurrent.futures import ThreadPoolExecutor",
        f"with ThreadPoolExecutor(1) as pool: pool.submit(lambda: {FOREVER}).result()",
    ],
}


@pytest.fixture
def acme(shell, monkeypatch):
    """Adds a provider whose plugin then hangs in one place; gives the file that says that it
    does: ``acme(before, lines)``."""
    site, met = shell.directory / "site", shell.directory / "met"
    monkeypatch.setenv("PYTHONPATH", str(site))

    def make(before: str, lines: list[str]):
        write_distribution(site, "deploycore-acme", "acme", GOOD_PROVIDER, version="0.1")
        given = shell.made_up + "\n"
        shell.succeed("provider", "add", "work", "--kind", "acme", "--token-stdin", given=given)
        assert before in GOOD_PROVIDER
        indent = before[: len(before) - len(before.lstrip())]
        notes = [f"__import__('pathlib').Path({str(met)!r}).touch()", *lines]
        hang = "".join(f"{indent}{line}\n" for line in notes)
        (site / "deploycore_acme.py").write_text(GOOD_PROVIDER.replace(before, hang + before))
        return met

    return make


def begun(shell, met, *arguments: str):
    """A command that has come to where the plugin hangs."""
    running = shell.start(*arguments)
    deadline = time.monotonic() + 60
    while not met.exists():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return running


def interrupted(shell, running) -> tuple[int, str]:
    # As a person does, once more where nothing happens: Python loses an interrupt that comes
    # while it finalises an object.
    try:
        for _ in range(3):
            running.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                out, err = running.communicate(timeout=20)
                break
    finally:
        running.kill()
    shell.printed += [out, err]
    return running.returncode, err


@pytest.mark.parametrize("lines", HANGS.values(), ids=HANGS.keys())
def test_an_interrupt_ends_a_listing_despite_a_hanging_plugin(shell, acme, lines):
    met = acme("            yield Repository(", lines)
    code, said = interrupted(shell, begun(shell, met, "repos", "work"))
    assert code == 130
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("before", "arguments"),
    [
        ('        return Account(username="ada")', ["provider", "test", "work"]),
        ('        yield Branch(name="main"', ["branches", "work", "ada/engine", "--json"]),
        ("        credential = GitCredential", ["clone", "work", "ada/engine"]),
        ("        self.config = config", ["repos", "work"]),
        ("class AcmeProvider:", ["repos", "work"]),
        ("class AcmeProvider:", ["plugins"]),
        ("class AcmeProvider:", ["provider", "add", "another", "--kind", "acme"]),
    ],
    ids=["authenticate", "list_branches", "clone_url", "constructor", "import", "list", "add"],
)
def test_an_interrupt_ends_every_command_that_waits_for_a_plugin(shell, acme, before, arguments):
    met = acme(before, HANGS["deaf to interrupts"])
    code, said = interrupted(shell, begun(shell, met, *arguments))
    assert code == 130
    assert "Traceback" not in said
    assert not (shell.directory / "engine").exists()


@pytest.mark.parametrize("lines", HANGS.values(), ids=HANGS.keys())
def test_an_interrupt_ends_a_deployment_despite_a_hanging_plugin(shell, acme, lines):
    met = acme('        yield Branch(name="main"', lines)
    target = shell.directory / "live"
    named = ["--provider", "work", "--repository", "ada/engine", "--branch", "main"]
    shell.succeed("app", "create", "engine", *named, "--target", str(target), "--offline")
    code, said = interrupted(shell, begun(shell, met, "deploy", "engine"))
    assert code == 130
    assert "Traceback" not in said
    (record,) = shell.json("deployments", "engine")
    assert record["state"] == "cancelled"
    assert list((target / "releases").iterdir()) == []


IMPATIENT = """
import sys
from deploycore.provider import registry
registry.NEEDED_SECONDS = registry.LISTED_SECONDS = 0.5
registry._HELD_SECONDS = 1.5
from deploycore.cli import main
main()
"""
# Keeps the interpreter's lock, and no core busy.
HOLDING = "__import__('ctypes').PyDLL(None).sleep(600)"


@pytest.mark.parametrize(
    "arguments",
    [("provider", "test", "work"), ("deploy", "engine"), ("serve", "--port", "0"), ("worker",)],
    ids=lambda arguments: arguments[0],
)
def test_a_plugin_import_that_blocks_the_interpreter_ends_the_command(shell, acme, arguments):
    acme("class AcmeProvider:", ["pass"])
    named = ["--provider", "work", "--repository", "ada/engine", "--branch", "main"]
    target = str(shell.directory / "live")
    shell.succeed("app", "create", "engine", *named, "--target", target, "--offline")
    if arguments[0] in ("serve", "worker"):
        declared = shell.directory / "applications.yaml"
        declared.write_text(f"{shell.succeed('export')}    auto_deploy: {{}}\n")
        shell.succeed("apply", str(declared), "--offline")
    plugin = shell.directory / "site" / "deploycore_acme.py"
    plugin.write_text(plugin.read_text().replace("pass\nclass", f"{HOLDING}\nclass"))
    with ForkedProcess(
        [sys.executable, "-c", IMPATIENT, *arguments],
        env=shell.environment(),
        cwd=shell.directory,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        _, told = running.communicate(timeout=300)
    assert running.returncode == -signal.SIGKILL, told
    said = told[told.index("Error: ") :].splitlines()
    assert "The plugin deploycore-acme 0.1 cannot be imported from deploycore_acme" in said[0]
    assert said[1].startswith("  Next: Upgrade or uninstall the plugin.")
    assert len(said) == 2


def test_a_slow_plugin_is_named(shell, acme):
    met = acme('        yield Branch(name="main"', [FOREVER])
    running = begun(shell, met, "branches", "work", "ada/engine", "--json")
    wanted = "still waiting for provider work: list_branches of deploycore-acme 0.1 ("
    assert running.stderr.readline().startswith(wanted)
    assert interrupted(shell, running)[0] == 130


def test_a_fast_listing_reports_no_delay(shell, acme):
    acme('        yield Branch(name="main"', ["pass"])
    done = shell.run("branches", "work", "ada/engine", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert [branch["name"] for branch in json.loads(done.stdout)] == ["main"]


def test_a_delay_is_reported_once_and_repeated_only_later(monkeypatch, capfd):
    monkeypatch.setattr(waiting, "FIRST_SECONDS", 0.1)
    monkeypatch.setattr(waiting, "_LOOK_SECONDS", 0.01)
    with telling_of_waits(interruptible=False), under_way("provider work", "clone_url", "acme 1"):
        told = ""
        while not told:
            told = capfd.readouterr().err
            time.sleep(0.01)
        time.sleep(0.2)
    assert told == "still waiting for provider work: clone_url of acme 1 (0 s)\n"
    assert capfd.readouterr().err == ""


def test_a_plugin_whose_import_hangs_is_listed_with_the_others(shell, acme, sandbox):
    acme("class AcmeProvider:", [FOREVER])
    done = shell.run("plugins", "--json")
    assert done.returncode == 0
    assert done.stderr.startswith("still waiting for plugin acme: import of deploycore-acme 0.1 (")
    assert done.stderr.count("\n") == 1
    reports = {(each["type"], each["kind"]): each for each in json.loads(done.stdout)}
    said = reports["provider", "acme"]["problem"]["message"]
    assert "deploycore-acme 0.1 cannot be imported" in said
    assert "the import did not end within 10 s" in said
    assert reports["provider", "bitbucket"]["ready"]
    assert reports["provider", "bitbucket"]["installed"][0]["distribution"] == (
        "deploycore-bitbucket"
    )


def test_the_plugin_list_is_readable(shell, acme):
    acme("class AcmeProvider:", ["raise SystemExit(3)"])
    shown = shell.succeed("plugins")
    broken, ready = shown.split("provider bitbucket: ready\n")
    assert broken.startswith(
        "provider acme: broken\n  problem       The plugin deploycore-acme 0.1"
    )
    assert "SystemExit" in broken
    assert "  contract      1\n  hooks         authenticate, list_repos, " in ready
    assert "sandbox bitbucket: ready\n" in ready
