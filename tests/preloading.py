"""All modules that deploycore's processes use, for processes that fork children with everything
loaded.

deploycore imports most modules when they are first used. A child that imports one after it was
forked spends time on it, opens files that are no part of what is tested, and may not be allowed to
read them.
"""

from __future__ import annotations

import gc
from collections.abc import Collection
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import deploycore

__all__ = ["load_all", "load_engine"]

# pytest rewrites the assertions of the kit when it imports it, so it is not loaded before.
_NEVER = ("__init__", "__main__", "testing")
_NOT_OF_A_DEPLOYMENT = ("cli", "doctor", "server", "worker")
_OTHERS = (
    "cryptography.fernet",
    "requests",
    "sqlalchemy.dialects.sqlite",
    "urllib3.util.ssl_",
)
_OTHERS_OF_COMMANDS = (
    "_pytest.junitxml",
    "alembic.command",
    "deploycore_bitbucket.sandbox",
    "deploycore_bitbucket_datacenter.sandbox",
    "deploycore_git.sandbox",
    "deploycore_gitea.sandbox",
    "deploycore_github.sandbox",
    "deploycore_gitlab.sandbox",
    "psycopg",
    "pytest",
    "rich.console",
    "rich.progress",
    "rich.table",
    "sqlalchemy.dialects.postgresql.psycopg",
    "typer.main",
    "uvicorn.lifespan.on",
    "uvicorn.protocols.http.httptools_impl",
)


def load_engine() -> None:
    """Import the engine, git, the store and all that they use."""
    _load(_OTHERS, without=_NOT_OF_A_DEPLOYMENT)


def load_all() -> None:
    """Import what the commands, the server and the workers use, too, and the plugins."""
    _load(_OTHERS + _OTHERS_OF_COMMANDS, without=())
    gc.collect()
    gc.freeze()  # a collection in a child would copy all of it


def _load(others: Collection[str], *, without: Collection[str]) -> None:
    # Not walk_packages, which imports the packages that are left out.
    top = Path(deploycore.__path__[0])
    for path in sorted(top.rglob("*.py")):
        names = path.relative_to(top).with_suffix("").parts
        if names[0] not in (*_NEVER, *without) and "migrations" not in names:
            import_module(".".join(("deploycore", *names)).removesuffix(".__init__"))
    for name in others:
        if find_spec(name.partition(".")[0]) is not None:
            import_module(name)
