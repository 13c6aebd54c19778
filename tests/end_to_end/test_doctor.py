"""``deploycore doctor`` as a command."""

from __future__ import annotations

import json
import signal
import time

import pytest

from deploycore.cli import EXIT_CODES
from tests.distributions import write_distribution


def test_a_healthy_installation_is_reported_in_one_final_line(shell, connect):
    name, _ = connect()
    shown = shell.succeed("doctor")
    lines = shown.splitlines()
    assert lines[0].split() == ["STATE", "WHAT", "FOUND"]
    assert lines[-1].startswith("No problems found: ")
    assert {line.split()[0] for line in lines[1:-1]} == {"ok"}
    assert f"provider {name}" in shown


def test_json_output_has_all_findings_and_the_exit_code_of_the_first_problem(
    shell, connect, sandbox
):
    name, _ = connect()
    sandbox.stop()
    told = shell.json("doctor", "--offline")
    assert told["problems"] == 0
    assert told["ok"] == len(told["findings"])
    done = shell.run("doctor", "--json")
    assert (done.returncode, done.stderr) == (6, "")
    told = json.loads(done.stdout)
    (found,) = (each for each in told["findings"] if each["level"] == "problem")
    assert found["subject"] == f"provider {name}"
    assert "Connection refused" in found["message"]
    assert found["hint"]
    assert found["exit_code"] == 6
    (shell.home / "secret.key").chmod(0o644)
    done = shell.run("doctor")
    assert done.returncode == 9
    assert f"Next: Restrict access: chmod 600 {shell.home / 'secret.key'}" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("Found: 2 problems and 0 warnings.")


@pytest.mark.usefixtures("no_home_yet")
def test_the_doctor_creates_nothing_on_an_empty_machine(shell):
    shell.succeed("doctor")
    assert not shell.home.exists()


@pytest.mark.parametrize(
    ("environment", "code", "said"),
    [
        ({"DEPLOYCORE_HOME": "/dev/null/x"}, 9, "cannot be created"),
        ({"DEPLOYCORE_HOME": " "}, 3, "is set, but empty"),
        ({"DEPLOYCORE_HOME": "~no-such-user/x"}, 3, "user without one"),
        ({"DEPLOYCORE_DATABASE_URL": "nonsense"}, 3, "is not a database URL"),
        ({"DEPLOYCORE_SECRET_KEY": "made-up-secret-5f2c81d0"}, 3, "is not a Fernet key"),
    ],
)
def test_an_invalid_environment_is_reported(shell, environment, code, said):
    done = shell.run("doctor", **environment)
    assert done.returncode == code
    assert code in EXIT_CODES
    assert said in done.stdout
    assert "provider plugin bitbucket" in done.stdout
    assert done.stderr == ""


def test_an_interrupt_ends_the_doctor_while_a_provider_hangs(shell, connect, monkeypatch):
    connect()
    site, met = shell.directory / "site", shell.directory / "met"
    source = (
        f"open({str(met)!r}, 'w').close()\n"
        "while True:\n    try: __import__('time').sleep(1000)\n    except BaseException: pass\n"
    )
    write_distribution(site, "deploycore-acme", "acme", source)
    monkeypatch.setenv("PYTHONPATH", str(site))
    running = shell.start("doctor")
    with running:
        deadline = time.monotonic() + 60
        while not met.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in out + err
