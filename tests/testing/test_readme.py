"""The numbers in the kit's README are correct."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import deploycore.testing
from deploycore.testing import ProviderContract
from deploycore.testing.contract import OPTIONAL_CHECKS
from tests.testing.kit import standard_checks
from tests.testing.mutants import MUTANTS

README = (Path(deploycore.testing.__file__).parent / "README.md").read_text()
ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial" / "first-provider.md"
SUBJECTS = [
    mixin
    for mixin in ProviderContract.__mro__
    if mixin is not ProviderContract and any(name.startswith("test_") for name in vars(mixin))
]


def test_the_readme_has_the_correct_number_of_checks():
    assert int(re.search(r"It has (\d+) checks", README)[1]) == len(standard_checks())


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.__name__)
def test_the_readme_has_the_correct_number_of_checks_per_subject(subject):
    title = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", subject.__name__).lower()
    counted = re.search(rf"^\| {title} \| (\d+) \|", README, re.MULTILINE)
    assert counted, f"the README has no row for {title}"
    assert int(counted[1]) == sum(name.startswith("test_") for name in vars(subject))


def test_the_readme_has_the_correct_number_of_optional_checks():
    assert int(re.search(r"It has (\d+) more checks", README)[1]) == len(OPTIONAL_CHECKS)


def test_the_readme_has_the_correct_number_of_mutants():
    assert int(re.search(r"with (\d+) faulty copies", README)[1]) == len(MUTANTS)


def test_the_readme_names_every_module():
    parts = {path.stem for path in Path(deploycore.testing.__file__).parent.glob("[a-z]*.py")}
    named = set(re.findall(r"`(\w+)`", README))
    assert parts - {"check", "check_run"} <= named


def test_the_tutorial_has_the_correct_number_of_runs():
    counted = re.search(r"^(\d+) checks passed", TUTORIAL.read_text(), re.MULTILINE)
    runs = re.search(r"in (\d+) runs for a provider with one way to sign in", README)
    assert counted[1] == runs[1]


def test_the_tutorial_has_the_correct_number_of_example_lines():
    counted = re.search(r"`examples/deploycore-harbour`: (\d+) lines", TUTORIAL.read_text())
    modules = (ROOT / "examples" / "deploycore-harbour" / "deploycore_harbour").glob("*.py")
    lines = [line for module in modules for line in module.read_text().splitlines()]
    assert int(counted[1]) == sum(bool(line.strip()) for line in lines)
