"""Whether a host can be reached."""

from __future__ import annotations

import socket

import pytest

from deploycore.errors import ProviderUnavailable
from deploycore.http.reach import reach


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")


def test_a_host_that_accepts_connections_is_reached():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        found = reach(f"http://127.0.0.1:{listening.getsockname()[1]}/api", seconds=60)
    assert (found.host, found.is_proxy, found.is_encrypted) == ("127.0.0.1", False, False)
    assert found.milliseconds >= 0


def test_a_host_that_refuses_connections_is_unavailable():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(ProviderUnavailable, match="refused"):
        reach(f"http://127.0.0.1:{port}", seconds=60)
