"""``deploycore serve`` passes its options on to the server."""

from __future__ import annotations

import importlib
import os
import re
import sys
from importlib.metadata import requires

import pytest

import deploycore.server
from deploycore.cli import serve
from deploycore.errors import ConfigurationError
from tests import forked

pytest.importorskip("uvicorn")


@pytest.fixture
def serving(monkeypatch, home):
    """What the worker is made with, when the server is started with such options."""
    made = {}

    def start(**options):
        serve.serve(**options)
        return made

    monkeypatch.setenv("DEPLOYCORE_HOME", str(home))
    monkeypatch.setattr(serve, "_log_to_standard_error", lambda: None)
    monkeypatch.setattr(
        "deploycore.worker.Worker", lambda installation, **options: made.update(options)
    )
    monkeypatch.setattr("deploycore.server.serving.serve", lambda *positional, **named: None)
    return start


def test_the_built_in_worker_uses_the_common_lease(serving):
    assert serving(workers=3, lease=600.0, per_provider=1) == {
        "threads": 3,
        "lease": 600.0,
        "per_provider": 1,
    }


@pytest.mark.parametrize("lease", ["2", "3601", "long"])
def test_an_invalid_lease_is_rejected(home, tmp_path, lease):
    environment = os.environ | {"DEPLOYCORE_HOME": str(home)}
    arguments = ["serve", "--lease", lease]
    done = forked.run("deploycore", arguments, environment=environment, directory=tmp_path)
    assert done.returncode == 2
    assert "--lease" in done.stderr


def test_zero_workers_starts_no_worker(serving):
    assert serving(workers=0, lease=600.0) == {}


def test_serve_without_its_extra_shows_the_install_command(monkeypatch):
    # The import below makes the package anew: what other tests reach through the parent comes back.
    monkeypatch.setattr(deploycore, "server", deploycore.server)
    for name in [each for each in sys.modules if each.startswith("deploycore.server")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ConfigurationError, match="Python package 'uvicorn'") as caught:
        serve.serve()
    assert "pip install" in caught.value.hint
    assert "server" in caught.value.hint
    brought = [each for each in requires("deploycore") if re.search("extra == .server.", each)]
    assert any(each.startswith("uvicorn") for each in brought)
    monkeypatch.delitem(sys.modules, "uvicorn")  # as if it were installed
    assert importlib.import_module("deploycore.server.serving").serve
