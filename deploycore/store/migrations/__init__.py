"""Migrate the database of an earlier version to this version, with Alembic.

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
    """The settings of Alembic: the directory of the migrations, and the connection to run them
    on."""
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
    """Run the missing migrations, in the current transaction of the connection."""
    command.upgrade(configuration(connection), "head")
