"""Stores on real databases: SQLite files, and PostgreSQL where its server is installed.

``DEPLOYCORE_TEST_DATABASE_URL`` names an empty database on another server to use instead, whose
tables the tests make and drop, such as ``postgresql+psycopg://user:password@localhost/test``.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import MetaData, create_engine

from deploycore.applications.application import Application
from deploycore.settings import Settings
from deploycore.store import ProviderRecord, Store
from deploycore.store.tables import metadata
from tests.sent import sent_statements

SERVER = os.environ.get("DEPLOYCORE_TEST_DATABASE_URL")
AT = datetime(2026, 11, 24, 10, 15, 30, 123456, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path) -> Settings:
    """A new SQLite installation."""
    return Settings.from_environment({"DEPLOYCORE_HOME": str(tmp_path / "home")})


@pytest.fixture
def database(settings) -> Path:
    """The path of the SQLite database, which may not exist yet."""
    return settings.home / "deploycore.db"


@pytest.fixture(params=["sqlite", "server"])
def unmade_settings(request, settings):
    """An installation without tables, on each available kind of database."""
    if request.param == "sqlite":
        yield settings
        return
    with _on_server(settings, SERVER or request.getfixturevalue("postgresql")) as on_server:
        yield on_server


@pytest.fixture(params=["sqlite", "server"])
def any_settings(request, settings):
    """An installation with empty tables, on each available kind of database.

    The tables are copied. ``test_migrations.py`` tests their creation.
    """
    if request.param == "sqlite":
        made = request.getfixturevalue("empty_home")
        settings.home.mkdir(mode=0o700)
        shutil.copy2(made / "deploycore.db", settings.home)
        yield settings
        return
    with _on_server(settings, SERVER or request.getfixturevalue("made_postgresql")) as on_server:
        yield on_server


@pytest.fixture
def store(any_settings):
    """An empty store on each kind of database."""
    with Store(any_settings) as store:
        yield store


@pytest.fixture(scope="session")
def provider():
    """Creates a provider's record."""

    def make(name: str = "acme", **fields) -> ProviderRecord:
        given = {
            "kind": "acme",
            "settings": {"user": "me"},
            "secrets": {"token": "env:TOKEN"},
            "created_at": AT,
        }
        return ProviderRecord(name=name, **(given | fields))

    return make


@pytest.fixture(scope="session")
def application():
    """Creates an application's definition; each name has its own target."""

    def make(name: str = "shop", **fields) -> Application:
        given = {
            "provider": "acme",
            "repository": "team/shop",
            "ref": "feature/größe #1",
            "target": Path("/srv") / name,
            "submodules": True,
        }
        return Application(name=name, **(given | fields))

    return make


@pytest.fixture(scope="session")
def tables_of():
    """Returns the tables in the statements of a call. The content of other tables cannot change its
    result."""

    def tables(call) -> set[str]:
        with sent_statements() as seen:
            call()
        words = set(re.findall(r"\w+", " ".join(statement for statement, _ in seen)))
        return words.intersection(metadata.tables)

    return tables


@contextmanager
def _on_server(settings: Settings, url: str) -> Iterator[Settings]:
    environ = {"DEPLOYCORE_HOME": str(settings.home), "DEPLOYCORE_DATABASE_URL": url}
    if SERVER:  # one database for all tests
        _drop_everything(url)
    yield Settings.from_environment(environ)
    if SERVER:
        _drop_everything(url)


def _drop_everything(url: str) -> None:
    engine = create_engine(url)
    tables = MetaData()
    tables.reflect(engine)
    tables.drop_all(engine)
    engine.dispose()
