"""The built site, and an installation for the examples."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from pydantic import SecretStr

from deploycore import Installation
from tests.docs.pages import ROOT


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. It is built once for all processes of a test run."""
    if importlib.util.find_spec("sphinx") is None:
        pytest.skip("Sphinx is not installed: pip install 'deploycore[docs]'")
    shared = tmp_path_factory.getbasetemp()
    if shared.name.startswith("popen-"):
        shared = shared.parent
    place = shared / "site"
    with FileLock(shared / "site.lock"):
        if not (place / "built").exists():
            done = subprocess.run(
                [
                    *(sys.executable, "-m", "sphinx", "-n", "-W", "--keep-going", "-q"),
                    *("-d", str(doctrees_of(place)), str(ROOT / "docs"), str(place)),
                ],
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            (place / "built").touch()
    return place


def doctrees_of(site: Path) -> Path:
    """The parsed pages of a site."""
    return site.parent / "doctrees"


@pytest.fixture
def prepared_installation(demo_sandbox, home, tmp_path, monkeypatch):
    """The installation that examples expect: a provider ``work`` and an application ``shop``."""
    monkeypatch.setenv("DEPLOYCORE_HOME", str(home))
    connection = demo_sandbox.connections[0]
    fields = connection.settings.items()
    with Installation() as installation:
        installation.add_provider(
            "work",
            "bitbucket",
            {name: value for name, value in fields if isinstance(value, str)},
            {name: value for name, value in fields if isinstance(value, SecretStr)},
        )
        demo_sandbox.publish(connection.owner, "shop", "main", {"page": b"Hello\n"}, "Say hello")
        installation.add_application(
            "shop",
            provider="work",
            repository=f"{connection.owner}/shop",
            ref="main",
            target=tmp_path / "shop",
        )


@pytest.fixture
def environment_of_commands(tmp_path) -> dict[str, str]:
    """The environment in which a shell finds this deploycore and the prepared installation."""
    programs = Path(sys.executable).parent
    return {
        "PATH": f"{programs}:/usr/sbin:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "DEPLOYCORE_HOME": str(tmp_path / "home"),
    }
