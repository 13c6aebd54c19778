"""If a plugin blocks the interpreter or ends its process, the command and the remaining checks
continue. The report names the check and the plugin's code."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from deploycore.provider import isolation, registry
from deploycore.provider.installed import plugin_reports
from deploycore.provider.probing import probe_imports
from tests import forked
from tests.processes import Process
from tests.testing.kit import install_template
from tests.testing.mutants import Replacement

# Keeps the interpreter's lock, and no core busy.
HELD = "import ctypes; ctypes.PyDLL(None).sleep(600)"
ASKING = 'user = parse_answer(UserAnswer, self._http.get_json("user"), what="the user")'
LISTING = 'path = f"owners/'
CHEAP = "test_signing_in_is_cheap[token]"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a copy of the template that does something in a module, or in a hook."""

    def run(statement, *, module="provider.py", before="GIT_USERNAME ="):
        site = install_template(tmp_path, [Replacement(module, before, f"{statement}; {before}")])
        monkeypatch.syspath_prepend(str(site))
        return site

    return run


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(isolation, "SILENT_SECONDS", 8.0)


@pytest.fixture
def check(install, tmp_path):
    """Installs such a copy and checks it: ``check(statement, …, options=[…])``. Returns the results
    that the command prints as JSON."""

    def run(statement, *, options=(), silent_seconds="", **place):
        site = install(statement, **place)
        own = {
            "PYTHONPATH": str(site),
            "TEST_SILENT_SECONDS": silent_seconds,
            # Some of them are imported already, of which pytest would warn.
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        done = forked.run(
            "tests.testing.forked_checks",
            ["plugin", "check", "acme", "--json", *options],
            directory=tmp_path,
            environment=os.environ | own,
        )
        if not done.stdout:
            return json.loads(done.stderr)
        found = json.loads(done.stdout)
        assert done.returncode == 10
        assert found["conforms"] is False
        return found

    return run


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (HELD, "the code held the interpreter in authenticate ("),
        ("import os; os._exit(0)", "the process ended with exit code 0 in authenticate ("),
        ("import ctypes; ctypes.string_at(0)", "ended by SIGSEGV in authenticate ("),
        ("import os; os.kill(os.getpid(), 9)", "ended by SIGKILL"),
    ],
    ids=["held", "exit", "segfault", "killed"],
)
def test_a_check_that_stops_the_process_fails_and_is_named(check, statement, told):
    found = check(statement, before=ASKING, options=["--only", "cheap"], silent_seconds="8")
    assert found["plugin"] == "deploycore-acme 0.1.0"
    assert set(found["failed"]) == {CHEAP}
    assert told in found["failed"][CHEAP]
    assert "The contract requires of" in found["failed"][CHEAP]
    assert found["not_run"] == {}


def test_later_checks_run_but_not_indefinitely(check):
    found = check("import os; os._exit(3)", before=LISTING, options=["--only", "list"])
    assert len(found["failed"]) == 3
    assert all("exit code 3 in list_repos" in text for text in found["failed"].values())
    assert found["passed"] > 0
    assert found["not_run"]
    assert set(found["not_run"]).isdisjoint(found["failed"])


def test_an_import_that_does_not_finish_is_an_error(check):
    error = check("import os; os._exit(1)")["error"]
    assert error["code"] == "plugin"
    assert "exit code 1 in " in error["message"]
    assert "deploycore-acme 0.1.0 cannot be imported" in error["message"]
    assert "provider.py, line" in error["message"]
    assert error["details"]["hook"] == "import"


def test_a_contract_class_whose_import_exits_the_process_fails(check):
    found = check("import os; os._exit(1)", module="contract.py", before="__all__ =")
    assert set(found["failed"]) == {"the contract class"}


def test_all_checks_share_one_timeout(check):
    found = check("import time; time.sleep(600)", before=ASKING, options=["--timeout", "8"])
    assert found["failed"]
    assert found["not_run"] or found["passed"] == 0
    assert "the time for all checks, 8 s, was over" in " ".join(found["failed"].values())


def test_the_remaining_output_is_valid_json(install, tmp_path):
    """This one is with a process of its own."""
    site = install("import os; os._exit(0)", before=ASKING)
    command = ["plugin", "check", "acme", "--json", "--only", "cheap"]
    environment = os.environ | {"PYTHONPATH": str(site)}
    done = forked.run("deploycore", command, environment=environment, directory=tmp_path)
    found = json.loads(done.stdout)
    assert done.returncode == 10
    assert found["conforms"] is False
    assert set(found["failed"]) == {CHEAP}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_child_process_ends_with_the_command(install, tmp_path, number):
    note = tmp_path / "pid"
    statement = (
        f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    )
    site = install(statement)
    command = [sys.executable, "-m", "deploycore", "plugin", "check", "acme"]
    with Process(
        command,
        env={**os.environ, "PYTHONPATH": str(site)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        wait_for(lambda: note.is_file() and note.read_text())
        child = int(note.read_text())
        assert child != process.pid
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    wait_for(lambda: not is_running(child))
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert b"Traceback" not in said


def wait_for(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("command", [["plugins"], ["doctor", "--offline"]])
def test_a_plugin_list_works_despite_imports_that_do_not_finish(tmp_path, command):
    """A provider that ends the process, and one after it whose observer does so, too."""
    site = tmp_path / "site"
    for name, group in (("a_ending", "providers"), ("z_ending", "observers")):
        metadata = site / f"{name}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        points = f"[deploycore.{group}]\n{name} = {name}:Plugin\n"
        (metadata / "entry_points.txt").write_text(points)
        (site / f"{name}.py").write_text("import os\nos._exit(7)\n")

    def rows():
        own = {"PYTHONPATH": str(site), "DEPLOYCORE_HOME": str(tmp_path / "home")}
        arguments, environment = [*command, "--json"], os.environ | own
        done = forked.run(
            "tests.testing.forked_checks", arguments, environment=environment, directory=tmp_path
        )
        found = json.loads(done.stdout)
        return json.dumps(found["findings"] if isinstance(found, dict) else found)

    said = rows()
    for name in ("a_ending", "z_ending"):
        assert f"plugin {name} 1.0 cannot be imported from {name}:Plugin: the process ended" in said
    assert "exit code 7" in said
    assert said.count("Upgrade or uninstall the plugin. Its import must not end the process") == 2
    for name in ("a_ending", "z_ending"):
        shutil.rmtree(site / f"{name}-1.0.dist-info")
    assert "ending" not in rows()


def test_an_import_that_blocks_the_interpreter_only_rejects_that_plugin(install, impatient):
    install(HELD)
    try:
        probe_imports()
        reports = {(report.type, report.kind): report for report in plugin_reports()}
    finally:
        registry._refused.clear()
    assert "its import did not end in " in reports["provider", "acme"].problem.message
    assert reports["provider", "bitbucket"].problem is None
