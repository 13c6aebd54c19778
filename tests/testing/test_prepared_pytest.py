"""A run of pytest that is forked has the results of a run in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from xml.etree import ElementTree

from tests import forked
from tests.testing.prepared_pytest import PreparedPytest

MODULE = """
import logging
import os

import pytest


@pytest.fixture
def broken():
    raise OSError("no such fixture")


def test_passes(tmp_path, capfd, caplog, of_conftest):
    os.system("echo printed")
    assert capfd.readouterr().out == "printed\\n"
    logging.getLogger().warning("logged")
    assert caplog.messages == ["logged"]
    assert (of_conftest, os.environ["OWN"]) == ("conftest", "variable")


def test_fails(tmp_path):
    print("shown")
    logging.getLogger().error("told")
    assert [1, 2] == [1, 3]


def test_is_skipped():
    pytest.skip("reason")


def test_has_an_error(broken):
    pass
"""
CONFTEST = """
import pytest


@pytest.fixture
def of_conftest():
    return "conftest"
"""


def results(directory):
    cases = ElementTree.parse(directory / "report.xml").iter("testcase")
    return [
        (case.attrib["name"], [(said.tag, said.attrib.get("message")) for said in case])
        for case in cases
    ]


def shown(text):
    return re.sub(r"\d+\.\d+s", "1 s", text)


def test_a_forked_run_has_the_results_of_a_real_run(tmp_path):
    (tmp_path / "test_some.py").write_text(MODULE)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "none.ini").write_text("[pytest]\n")
    own = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "", "OWN": "variable"}
    environment = {**os.environ, **own}
    options = ["-q", "--tb=native", "-c", "none.ini", "--junitxml=report.xml"]
    command = [sys.executable, "-m", "pytest", *options, "-p", "no:cacheprovider", "test_some.py"]
    real = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    expected = results(tmp_path)
    (tmp_path / "report.xml").unlink()
    run = forked.run(
        "pytest", ["test_some.py"], directory=tmp_path, environment=environment, kind=PreparedPytest
    )
    assert (run.returncode, run.stderr) == (real.returncode, real.stderr) == (1, "")
    assert results(tmp_path) == expected
    assert len(expected) == 4
    assert shown(run.stdout).splitlines()[1:] == shown(real.stdout).splitlines()[1:]
