"""All modules that deploycore's processes use, for a process that forks children.

deploycore imports most modules when they are first used. A child that imports one after it was
forked spends time on it, opens files that are no part of what is tested, and may not be allowed to
read them.
"""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import deploycore

__all__ = ["keep_for_children", "load_all"]

_NEVER = ("__init__", "__main__", "testing")
_OTHERS = (
    "_pytest.junitxml",
    "alembic.command",
    "cryptography.fernet",
    "procrastinate",
    "psycopg",
    "pytest",
    "requests",
    "rich.console",
    "rich.progress",
    "rich.table",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite",
    "typer.main",
    "urllib3.util.ssl_",
    "uvicorn.lifespan.on",
    "uvicorn.protocols.http.httptools_impl",
)


def load_all() -> None:
    """Import deploycore, its plugins, and what they use."""
    # Not walk_packages, which imports the packages that are left out.
    top = Path(deploycore.__path__[0])
    for path in sorted(top.rglob("*.py")):
        names = path.relative_to(top).with_suffix("").parts
        if names[0] not in _NEVER and "migrations" not in names:
            import_module(".".join(("deploycore", *names)).removesuffix(".__init__"))
    for name in _OTHERS:
        if find_spec(name.partition(".")[0]) is not None:
            import_module(name)
    _load_plugins()
    if find_spec("pytest") is not None:
        _load_the_kit()
    _complete_models()


def keep_for_children() -> None:
    """Exclude all present objects from garbage collection, which would copy them in a child."""
    gc.collect()
    gc.freeze()


def _load_plugins() -> None:
    """Import the plugins that are installed, with the modules that they import when they are first
    used."""
    for point in entry_points(group="deploycore.providers"):
        package = point.module.partition(".")[0]
        top = Path(import_module(package).__path__[0])
        for path in sorted(top.rglob("*.py")):
            names = path.relative_to(top).with_suffix("").parts
            if names[-1] != "contract":  # for pytest
                import_module(".".join((package, *names)).removesuffix(".__init__"))


def _load_the_kit() -> None:
    """Import the conformance kit like pytest, with rewritten assertions."""
    from _pytest.assertion import install_importhook
    from _pytest.config import get_config

    hook = install_importhook(get_config())
    try:
        import_module("deploycore.testing.contract")
    finally:
        sys.meta_path.remove(hook)


def _complete_models() -> None:
    """Build the validators of all models. Otherwise, each child would build them when a model is
    first used."""
    from pydantic import BaseModel

    models = BaseModel.__subclasses__()
    while models:
        model = models.pop()
        models += model.__subclasses__()
        if not model.__pydantic_complete__:
            model.model_rebuild(raise_errors=False)
