"""Runs the kit on a copy of the template, in a separate process, as an author would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from deploycore.testing import ProviderContract
from deploycore.testing.contract import OPTIONAL_CHECKS
from tests import forked
from tests.testing.mutants import Replacement
from tests.testing.prepared_pytest import PreparedPytest

__all__ = [
    "TEMPLATE",
    "Outcome",
    "environment",
    "install_template",
    "run_broken",
    "run_kit",
    "standard_checks",
]

TEMPLATE = Path(__file__).parents[2] / "plugins" / "_template"
MODULE = "test_contract.py"
IMPATIENT = """
import pytest
import deploycore.testing

deploycore.testing.ProviderContract  # the first import is by the front door
from deploycore.testing.contract import base

base.SECONDS_MOST = 3
base.CHECK_SECONDS_MOST = 10
failed = set()


def pytest_runtest_logreport(report):
    if report.failed:
        failed.add(report.nodeid.partition("[")[0])


def pytest_runtest_setup(item):
    if item.nodeid.partition("[")[0] in failed:
        pytest.skip("it failed already, with another parameter")
"""
ONLY = """
import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(name):
    return [] if name.startswith("test_") and name not in {checks} else None
"""


@dataclass(frozen=True)
class Outcome:
    """What one check came to.

    Attributes:
        result: ``passed``, ``failure`` (of the check), ``error`` (before or after it), or
            ``skipped``, which xfail is too.
        text: All that pytest says about it.
    """

    result: str
    text: str


def install_template(at: Path, replacements: Iterable[Replacement] = ()) -> Path:
    """A changed copy of the template as pip would leave it.

    Returns:
        What to put on ``PYTHONPATH``.
    """
    site = at / "site"
    package = site / "deploycore_acme"
    shutil.copytree(TEMPLATE / package.name, package, ignore=shutil.ignore_patterns("__pycache__"))
    for change in replacements:
        module = package / change.module
        text = module.read_text()
        assert text.count(change.old) == 1, f"{change.old!r} is not once in {module.name}"
        module.write_text(text.replace(change.old, change.new))
    project = tomllib.loads((TEMPLATE / "pyproject.toml").read_text())["project"]
    metadata = site / "deploycore_acme-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = [
        "\n".join([f"[{group}]", *(f"{name} = {value}" for name, value in points.items())])
        for group, points in project["entry-points"].items()
    ]
    (metadata / "entry_points.txt").write_text("\n".join(groups) + "\n")
    return site


def run_kit(
    at: Path,
    site: Path,
    *,
    checks: Iterable[str] = (),
    module: str = "",
    impatient: bool = False,
    paths: Iterable[Path] = (),
) -> Mapping[str, list[Outcome]]:
    """Run checks of the kit, all by default.

    Args:
        module: The test module, if it is not the template's own.
        impatient: Wait but seconds for calls that never end, and leave out the rest of a
            check's parameters once it failed.
        paths: Where to find more.

    Returns:
        From the name of each check to what its runs came to.
    """
    text = module or (TEMPLATE / "tests" / MODULE).read_text()
    (at / MODULE).write_text(text)
    _configure(at, checks, IMPATIENT if impatient else "")
    (at / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    report = at / "report.xml"
    # Python's own tracebacks: pytest searches all modules for the source of each call.
    arguments = ["-q", "--tb=native", "-p", "no:cacheprovider", f"--junitxml={report}", MODULE]
    variables = environment(*paths, site)
    if paths:  # there may be other modules than those that were imported before
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *arguments],
            cwd=at,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
    else:
        done = _run_prepared(at, MODULE, variables)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return _outcomes(report)


def run_broken(at: Path, module: str, checks: Iterable[str]) -> subprocess.CompletedProcess[str]:
    """Run checks of a module of tests, which may change the plugin that it tests."""
    (at / "test_broken.py").write_text(module)
    _configure(at, checks)
    variables = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    return _run_prepared(at, "test_broken.py", variables)


def _run_prepared(
    at: Path, module: str, variables: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return forked.run("pytest", [module], directory=at, environment=variables, kind=PreparedPytest)


def _configure(at: Path, checks: Iterable[str], more: str = "") -> None:
    """Have pytest make no item of the other checks: most of a short run's time would go there."""
    names = sorted(checks)
    (at / "conftest.py").write_text(more + (ONLY.format(checks=names) if names else ""))


def environment(*paths: Path) -> dict[str, str]:
    """That of a process which finds modules in these places first."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": "",
    }


def standard_checks() -> set[str]:
    """The names of all checks that no provider can go without."""
    names = {name for name in dir(ProviderContract) if name.startswith("test_")}
    return names - OPTIONAL_CHECKS


def _outcomes(report: Path) -> Mapping[str, list[Outcome]]:
    found: dict[str, list[Outcome]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = case.attrib["name"].partition("[")[0]
        said = [child for child in case if child.tag in ("failure", "error", "skipped")]
        result = said[0].tag if said else "passed"
        text = "\n".join(f"{child.get('message')}\n{child.text}" for child in said)
        found.setdefault(name, []).append(Outcome(result, text))
    return found
