"""Applications that are deployed from a Bitbucket sandbox, through the Python API."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploycore import Installation, RepositoryId, Settings


@pytest.fixture
def installation(home):
    with Installation(Settings.from_environment({"DEPLOYCORE_HOME": str(home)})) as opened:
        yield opened


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "live"


@pytest.fixture
def publish(demo_sandbox):
    """Returns a function that pushes a commit to ``acme/site`` and returns its hash:
    ``publish("two")``."""

    def push(content: str = "one", branch: str = "main", **files: bytes) -> str:
        found = {"page": content.encode(), **files}
        return demo_sandbox.publish("acme", "site", branch, found, content.capitalize())

    return push


@pytest.fixture
def provider(installation, demo_sandbox) -> str:
    connection = next(c for c in demo_sandbox.connections if c.settings["mode"] == "access-token")
    settings = dict(connection.settings)
    installation.add_provider("work", "bitbucket", settings, {"token": settings.pop("token")})
    return "work"


@pytest.fixture
def create(installation, provider, publish, target):
    """Returns a function that creates an application of ``acme/site`` and returns its name:
    ``create(keep=2)``."""
    publish("one")

    def make(name: str = "site", **fields) -> str:
        given = {"ref": "main", "target": target, **fields}
        repository = RepositoryId(owner="acme", slug="site")
        installation.add_application(name, provider=provider, repository=repository, **given)
        return name

    return make
