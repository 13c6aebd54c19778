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


_MODELS_WITH_STRINGS = """
import importlib, sys
import pydantic

for name in sys.argv[1:]:
    importlib.import_module(name)

def models(base):
    for each in base.__subclasses__():
        yield each
        yield from models(each)

found = {each for each in models(pydantic.BaseModel) if each.__module__.startswith("deploycore")}
assert len(found) > 60, found
for each in found:
    if any(isinstance(a, str) for a in each.__dict__.get("__annotations__", {}).values()):
        print(each)
"""


def test_annotations_of_models_that_a_deployment_uses_are_no_strings():
    """pydantic compiles each string: this took 2 % of an unchanged deployment's instructions."""
    plugins = [
        f"{path.parent.name}.{path.stem}"
        for name in ("configuration", "answers")
        for path in ROOT.glob(f"plugins/[a-z]*/deploycore_*/{name}.py")
        if path.parent.name != "deploycore_audit"  # it need not be installed
    ]
    core = (
        "deploy.engine",
        "events",
        "http.device",
        "installation.installation",
        "provider.handle",
    )
    done = subprocess.run(
        [sys.executable, "-c", _MODELS_WITH_STRINGS, *(f"deploycore.{e}" for e in core), *plugins],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
    templates = [*ROOT.glob("plugins/_*template/deploycore_acme/[ac]*[ns].py")]
    assert len(templates) == 3
    assert not any("__future__" in each.read_text() for each in templates)


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
