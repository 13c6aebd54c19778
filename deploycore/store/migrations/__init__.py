"""How a database of any earlier version becomes one of this version, by Alembic.

It runs from inside the package, without an ``alembic.ini``, so that it works wherever
deploycore is installed.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

__all__ = ["configuration", "is_known", "upgrade"]


def configuration(connection: Connection | None = None) -> Config:
    """What Alembic must know: where the migrations are, and the connection they run on."""
    config = Config(attributes={"connection": connection})
    here = str(Path(__file__).parent).replace("%", "%%")
    config.set_main_option("script_location", here)
    config.set_main_option("path_separator", "os")
    return config


def is_known(revision: str) -> bool:
    """Whether this version of deploycore has a migration of this number."""
    script = ScriptDirectory.from_config(configuration())
    return any(known.revision == revision for known in script.walk_revisions())


def upgrade(connection: Connection) -> None:
    """Run what is missing, in the transaction that the connection is in."""
    command.upgrade(configuration(connection), "head")
