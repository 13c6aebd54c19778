"""Stores on real databases: SQLite files, and PostgreSQL where its server is installed.

``DEPLOYCORE_TEST_DATABASE_URL`` names an empty database on another server to use instead, whose
tables the tests make and drop, such as ``postgresql+psycopg://user:password@localhost/test``.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import MetaData, create_engine

from deploycore.applications.application import Application
from deploycore.settings import Settings
from deploycore.store import ProviderRecord, Store

SERVER = os.environ.get("DEPLOYCORE_TEST_DATABASE_URL")
AT = datetime(2026, 11, 24, 10, 15, 30, 123456, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path) -> Settings:
    """A fresh SQLite installation."""
    return Settings.from_environment({"DEPLOYCORE_HOME": str(tmp_path / "home")})


@pytest.fixture
def database(settings) -> Path:
    """Where the SQLite database is, or will be."""
    return settings.home / "deploycore.db"


@pytest.fixture(params=["sqlite", "server"])
def any_settings(request, settings):
    """A fresh installation on each kind of database that is at hand."""
    if request.param == "sqlite":
        yield settings
        return
    url = SERVER or request.getfixturevalue("postgresql")
    environ = {"DEPLOYCORE_HOME": str(settings.home), "DEPLOYCORE_DATABASE_URL": url}
    _drop_everything(url)
    yield Settings.from_environment(environ)
    _drop_everything(url)


@pytest.fixture
def store(any_settings):
    """An empty store on each kind of database."""
    with Store(any_settings) as store:
        yield store


@pytest.fixture
def provider():
    """Makes a provider's record."""

    def make(name: str = "acme", **fields) -> ProviderRecord:
        given = {
            "kind": "acme",
            "settings": {"user": "me"},
            "secrets": {"token": "env:TOKEN"},
            "created_at": AT,
        }
        return ProviderRecord(name=name, **(given | fields))

    return make


@pytest.fixture
def application():
    """Makes an application's definition; each name has a target of its own."""

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


def _drop_everything(url: str) -> None:
    engine = create_engine(url)
    tables = MetaData()
    tables.reflect(engine)
    tables.drop_all(engine)
    engine.dispose()
