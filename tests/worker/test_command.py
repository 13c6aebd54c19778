"""The output of ``deploycore worker`` at a terminal."""

from __future__ import annotations

import json
import re
import subprocess

from tests import forked
from tests.worker.conftest import ROOT


def worker(environment, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {"PATH": "/usr/bin:/bin"} | environment
    return forked.run("deploycore", ["worker", *arguments], environment=variables, directory=ROOT)


def test_each_event_is_logged_as_one_line(add, environment):
    """There is no git host, nor a token for one: that needs a person."""
    add("one")
    done = worker(environment, "--once", "--threads", "1")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"Worker \S+ runs with 1 thread\. Stop it with Ctrl-C\.\n", done.stdout)
    started, ended = done.stderr.splitlines()
    when = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    assert re.fullmatch(
        rf"{when} INFO deploycore\.deployments: deployment 1 of one started: .*", started
    )
    assert re.fullmatch(
        rf"{when} ERROR deploycore\.deployments: deployment 1 of one ended: state failed,"
        r" commit unknown, duration \d+\.\d s: .* is not valid: .* Next: .*",
        ended,
    )


def test_with_json_each_event_is_one_line_on_standard_output(add, environment):
    add("one")
    done = worker(environment, "--once", "--threads", "1", "--json")
    claimed, settled = map(json.loads, done.stdout.splitlines())
    assert (claimed["event"], settled["event"]) == ("claimed", "settled")
    assert settled["application"] == "one"
    assert settled["hint"]
    assert settled["at"].endswith("Z")


def test_an_unusable_database_is_reported_with_its_exit_code(tmp_path):
    (tmp_path / "deploycore.db").write_text("this is no database at all, but a line of text")
    done = worker({"DEPLOYCORE_HOME": str(tmp_path)}, "--once")
    assert done.returncode == 9
    assert "is damaged, or is no SQLite database" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_invalid_command_line_is_rejected(environment):
    for wrong in (["--threads", "0"], ["--drain", "-1"], ["--lease", "1"]):
        assert worker(environment, *wrong).returncode == 2
