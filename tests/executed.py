"""Report the modules of deploycore that a run of tests does not execute: ``pytest -p tests.executed
…``.

A module counts if it was imported and, where it has functions, one of them was called, in a process
of the tests or in one that is forked for them (see ``tests.forked``). Migrations are left out,
because Alembic loads them in its own way. The run fails if it leaves a module out.
"""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
import os
import sys
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).parents[1] / "deploycore"
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_CALL = ast.parse("__executed__()").body[0]
_VARIABLE = "DEPLOYCORE_TEST_EXECUTED"
if _VARIABLE not in os.environ:
    os.environ[_VARIABLE] = tempfile.mkdtemp(prefix="deploycore-executed-")
_PLACE = Path(os.environ[_VARIABLE])


class _Loader(importlib.machinery.SourceFileLoader):
    """Load a module whose functions record that they were called."""

    def get_code(self, fullname: str) -> Any:
        tree = ast.parse(self.get_data(self.path))
        functions = [each for each in ast.walk(tree) if isinstance(each, _FUNCTIONS)]
        functions = [each for each in functions if not _is_declaration(each)]
        for function in functions:
            function.body.insert(int(ast.get_docstring(function) is not None), _CALL)
        if not functions:
            _note(fullname)
        return compile(ast.fix_missing_locations(tree), self.path, "exec", dont_inherit=True)

    def exec_module(self, module: Any) -> None:
        module.__executed__ = partial(_note, module.__name__)
        super().exec_module(module)


def _is_declaration(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a function has only a docstring, like that of a protocol or a hook.

    A hook's body may raise, for type checkers.
    """
    return all(
        isinstance(each, ast.Raise)
        or (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
        for each in function.body
    )


class _Finder:
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.partition(".")[0] != "deploycore":
            return None
        found = importlib.machinery.PathFinder.find_spec(name, path)
        if found is not None and isinstance(found.loader, importlib.machinery.SourceFileLoader):
            found.loader = _Loader(name, found.loader.path)
        return found


_noted: set[str] = set()


def _note(name: str) -> None:
    if name not in _noted:
        _noted.add(name)
        with suppress(OSError):  # a test may let its process write nothing
            (_PLACE / name).touch()


sys.meta_path.insert(0, _Finder())


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: Any) -> None:
    is_worker = hasattr(session.config, "workerinput")
    if not is_worker and session.exitstatus == pytest.ExitCode.OK and _missing():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any) -> None:
    missing = _missing()
    terminalreporter.section("modules of deploycore that these tests leave out")
    terminalreporter.write_line("\n".join(missing) or "none")


def _missing() -> list[str]:
    return sorted(_modules() - {path.name for path in _PLACE.iterdir()})


def _modules() -> set[str]:
    names = (path.relative_to(_ROOT.parent).with_suffix("") for path in _ROOT.rglob("*.py"))
    found = {".".join(each.parts).removesuffix(".__init__") for each in names}
    return {each for each in found if not each.startswith("deploycore.store.migrations.")}
