"""Objects that many tests need and that are always the same. They are created once for each test
process.

SQLAlchemy keeps the statements that it has compiled per engine, and each test opens databases of
its own: compiling took a quarter of such a test. ``importlib.metadata`` reads the files of all
distributions anew for each plugin that is loaded; those of this environment stay as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import EntryPoints, PathDistribution
from types import FunctionType, ModuleType
from typing import Any, TypeVar

from sqlalchemy.engine import Dialect, Engine
from sqlalchemy.engine.default import DefaultDialect

from deploycore.provider import entry_points as installed

__all__ = ["keep_between_tests"]

T = TypeVar("T")

_ENVIRONMENT = f"{sys.prefix}/"

_dialects: dict[Any, tuple[Dialect, Any]] = {}
_entry_points: dict[str, EntryPoints] = {}
_names: dict[str, str] = {}
_read_entry_points = PathDistribution.entry_points.fget  # type: ignore[attr-defined]
_read_name = PathDistribution.name.fget  # type: ignore[attr-defined]
_named: dict[str, bool] = {}
_names_deploycore = installed._names_deploycore


def keep_between_tests() -> None:
    """Let engines share their dialect and compiled statements, and read each distribution once."""
    # SQLAlchemy calls this with each new engine.
    DefaultDialect.engine_created = classmethod(_share)  # type: ignore[assignment,method-assign]
    PathDistribution.entry_points = property(_kept_entry_points)  # type: ignore[assignment]
    PathDistribution.name = property(_kept_name)  # type: ignore[assignment]
    installed._names_deploycore = _kept_if_it_names_deploycore


def _share(cls: type[Dialect], engine: Engine) -> None:
    """Give an engine the statements that earlier ones with the same options have compiled.

    If the earlier engines have not connected yet, the engine keeps its own dialect, because a
    dialect learns the database's features from the first connection.
    """
    options = _options_of(engine.dialect)
    dialect, compiled = _dialects.get(options, (engine.dialect, None))
    if "server_version_info" in vars(dialect):
        engine.dialect, engine._compiled_cache = dialect, compiled
    else:
        _dialects[options] = engine.dialect, engine._compiled_cache


def _options_of(dialect: Dialect) -> Any:
    """Return everything in which new dialects may differ."""
    simple = (bool, int, str, type(None), type, FunctionType, ModuleType)
    values = ((name, each) for name, each in vars(dialect).items() if isinstance(each, simple))
    return type(dialect), frozenset(values)


def _kept_entry_points(distribution: PathDistribution) -> EntryPoints:
    return _kept(_entry_points, _read_entry_points, distribution)


def _kept_name(distribution: PathDistribution) -> str:
    return _kept(_names, _read_name, distribution)


def _kept_if_it_names_deploycore(path: str) -> bool:
    if not path.startswith(_ENVIRONMENT):
        return _names_deploycore(path)
    if path not in _named:
        _named[path] = _names_deploycore(path)
    return _named[path]


def _kept(
    known: dict[str, T], read: Callable[[PathDistribution], T], distribution: PathDistribution
) -> T:
    path = str(distribution._path)  # type: ignore[attr-defined]
    if not path.startswith(_ENVIRONMENT):
        return read(distribution)
    if path not in known:
        known[path] = read(distribution)
    return known[path]
