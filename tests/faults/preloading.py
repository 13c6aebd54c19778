"""All modules that a deployment uses, for processes that fork children with everything loaded.

deploycore imports most modules when they are first used. A child that imports one after it was
forked opens files that are no part of what is tested, and may not be allowed to read them.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import walk_packages

import deploycore

__all__ = ["load_all"]

NOT_OF_A_DEPLOYMENT = ("cli", "doctor", "server", "testing", "worker", "__main__")


def load_all() -> None:
    """Import the engine, git, the store and all that they use."""
    for top in walk_packages(deploycore.__path__, "deploycore."):
        names = top.name.split(".")
        if names[1] not in NOT_OF_A_DEPLOYMENT and "migrations" not in names:
            import_module(top.name)
    for name in (
        "sqlalchemy.dialects.sqlite",
        "requests",
        "urllib3.util.ssl_",
        "cryptography.fernet",
    ):
        import_module(name)
