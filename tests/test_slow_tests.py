"""Each entry of tests/slow.txt exists, and is listed once."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]
LISTED = [
    line
    for line in (ROOT / "tests" / "slow.txt").read_text().splitlines()
    if line and not line.startswith("#")
]


def is_there(line: str) -> bool:
    """Whether the file, or the function that it may inherit from the contract kit, exists."""
    path, *names = line.split("::")
    if not (ROOT / path).is_file():
        return False
    places = [ROOT / path, *(ROOT / "deploycore/testing/contract").glob("*.py")]
    pattern = rf"def {re.escape(names[-1])}\b" if names else ""
    return any(re.search(pattern, place.read_text()) for place in places)


def test_each_listed_test_exists():
    assert [line for line in LISTED if not is_there(line)] == []


def test_no_test_is_listed_twice():
    files = {line for line in LISTED if "::" not in line}
    assert len(set(LISTED)) == len(LISTED)
    assert [line for line in LISTED if "::" in line and line.partition("::")[0] in files] == []


@pytest.mark.parametrize("place", ["tests/faults", next(e for e in LISTED if "::" not in e)])
def test_the_fast_suite_does_not_import_entirely_slow_modules(request, place):
    assert (ROOT / place).exists()
    assert is_left_out(request, ROOT / place, "not slow")
    assert not is_left_out(request, ROOT / place, "")
    assert not is_left_out(request, ROOT / place, "not slow or faults")


def test_the_fast_suite_excludes_no_file_with_a_fast_test(request):
    partly = {ROOT / line.partition("::")[0] for line in LISTED if "::" in line}
    assert partly
    for path in (*partly, ROOT / "tests", ROOT / "plugins", Path(__file__), Path("/tests/faults")):
        assert not is_left_out(request, path, "not slow")


@pytest.mark.parametrize("values", [{}, {"database": "sqlite"}, {"limit": 5}])
def test_the_fast_suite_runs_a_test_of_both_databases_on_sqlite(request, values):
    item = SimpleNamespace(callspec=SimpleNamespace(params=values))
    root = root_conftest(request)
    assert not root.is_on_a_server(item)
    item.callspec.params = {**values, "database": "postgresql"}
    assert root.is_on_a_server(item)
    assert not root.is_on_a_server(SimpleNamespace())


def is_left_out(request, path: Path, marks: str) -> bool:
    """Whether a run of tests of these marks passes over a path."""
    config = SimpleNamespace(option=SimpleNamespace(markexpr=marks))
    return bool(root_conftest(request).pytest_ignore_collect(path, config))


def root_conftest(request):
    (root,) = (
        each
        for each in request.config.pluginmanager.get_plugins()
        if getattr(each, "__file__", "") == str(ROOT / "conftest.py")
    )
    return root
