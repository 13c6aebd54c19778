"""The imports between modules, and names that the core must not contain."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import deploycore

ROOT = Path(__file__).parents[1]
PACKAGE = Path(deploycore.__file__).parent
CORE = sorted(PACKAGE.rglob("*.py"))


def test_imports_follow_the_contracts_of_pyproject():
    program = (
        "import sys; from importlinter.cli import lint_imports\n"
        "sys.exit(lint_imports(no_cache=True))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_core_names_no_vendor_in_its_code():
    named = {str(path): found for path in CORE if (found := _vendors_named_in(path))}
    assert named == {}


def test_every_public_name_of_the_package_can_be_imported():
    for name in deploycore.__all__:
        assert getattr(deploycore, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = deploycore.nope


def test_every_module_has_a_docstring():
    silent = [str(path) for path in CORE if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []


@pytest.mark.parametrize(
    "pattern",
    [
        "deploycore/models/*.py",
        "deploycore/applications/[as]*.py",
        "deploycore/**/configuration.py",
        "deploycore/http/decoding.py",
        "deploycore/provider/core_fields.py",
        "plugins/*/deploycore_*/configuration.py",
        "plugins/*/deploycore_*/answers.py",
    ],
)
def test_annotations_of_models_are_no_strings(pattern):
    """pydantic compiles each string, in every command: this took 2 % of a deployment's start."""
    texts = {path: path.read_text() for path in ROOT.glob(pattern)}
    models = [path for path, text in texts.items() if "from pydantic import" in text]
    assert models
    assert [str(each) for each in models if "import annotations" in texts[each]] == []


def _vendors_named_in(path):
    """The strings of a module, without its docstrings, that name a git host's vendor."""
    kinds = (ast.Constant, ast.Expr)
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)]
    docstrings = {
        id(node.value)
        for node in nodes
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    vendors = re.compile("bitbucket|github|gitlab|gitea", re.IGNORECASE)
    return [
        node.value
        for node in nodes
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and id(node) not in docstrings
        and vendors.search(node.value)
    ]


KINDS_OF_TESTS = {"browser", "compatibility", "docs", "end_to_end", "faults", "hostile"}
OF_THE_REPOSITORY = {
    *("architecture", "copied_databases", "error_places", "forked", "processes", "reuse"),
    *("scheduling", "slow_tests", "warming"),
}


def test_tests_are_located_like_the_code_they_test():
    """In a directory named for the package, or in a file named for the module."""
    packages = {each.parent.name for each in PACKAGE.glob("*/__init__.py")}
    modules = {each.stem for each in PACKAGE.glob("*.py")}
    directories = {each.parent.name for each in (ROOT / "tests").glob("*/test_*.py")}
    files = {each.stem.removeprefix("test_") for each in (ROOT / "tests").glob("test_*.py")}
    assert directories - packages == KINDS_OF_TESTS
    assert files - modules == OF_THE_REPOSITORY
