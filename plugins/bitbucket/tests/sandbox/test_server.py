from __future__ import annotations

import socket
import threading
import time

import pytest
from deploycore_bitbucket.sandbox import Sandbox

from deploycore.errors import ConfigurationError


def speak(sandbox, text):
    """Send raw bytes, and read what comes back until the other side ends."""
    host, port = sandbox.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(text)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


def sandbox_threads():
    return [thread for thread in threading.enumerate() if thread.name == "loopback-host"]


def test_the_sandbox_only_listens_on_loopback(sandbox):
    assert sandbox.url.startswith("http://127.0.0.1:")
    assert sandbox.api_url == f"{sandbox.url}/2.0"
    assert sandbox.git_url == sandbox.url


def test_connections_are_kept_alive(sandbox, session):
    for _ in range(3):
        answer = session.get(f"{sandbox.api_url}/repositories/acme", timeout=10, stream=True)
        ports = {answer.raw.connection.sock.getsockname()[1]}
        assert answer.content
    assert len(ports) == 1
    assert len(sandbox_threads()) == 2


def test_pipelined_requests_are_answered_in_order(sandbox):
    request = b"GET /2.0/repositories/%b HTTP/1.1\r\nHost: x\r\n%b\r\n"
    text = request % (b"acme", b"") + request % (b"nobody", b"Connection: close\r\n")
    received = speak(sandbox, text)
    assert received.index(b"HTTP/1.1 200 OK") < received.index(b"HTTP/1.1 404 Not Found")


@pytest.mark.parametrize(
    "headers",
    [b"Content-Length: many", b"Transfer-Encoding: chunked", b"Content-Length: 1\r\nX: y"],
)
def test_an_unreadable_body_is_a_bad_request(sandbox, headers):
    request = b"POST /acme/shop.git/git-upload-pack HTTP/1.1\r\nContent-Encoding: gzip\r\n"
    received = speak(sandbox, request + headers + b"\r\n\r\nzz\r\n")
    assert received.startswith(b"HTTP/1.1 400 ")


def test_many_clients_are_served_at_once(make_populated, session):
    sandbox = make_populated(latency=0.1)
    started = time.perf_counter()
    request = b"GET /2.0/repositories/acme HTTP/1.1\r\nConnection: close\r\n\r\n"
    threads = [threading.Thread(target=speak, args=(sandbox, request)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sandbox.requests) == 20
    assert time.perf_counter() - started < 20 * 0.1


def test_a_client_that_disconnects_does_not_affect_others(sandbox, session):
    host, port = sandbox.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"POST /2.0/user HTTP/1.1\r\nContent-Length: 100\r\n\r\nonly this")
    assert sandbox.requests == []
    assert session.get(f"{sandbox.api_url}/repositories/acme", timeout=10).status_code == 200


def test_stopping_closes_open_connections_and_ends_all_threads(make_populated, session):
    sandbox = make_populated()
    session.get(f"{sandbox.api_url}/repositories/acme", timeout=10)
    sandbox.stop()
    assert sandbox_threads() == []
    sandbox.stop()
    with pytest.raises(ConfigurationError, match="does not run"):
        assert sandbox.url


def test_a_sandbox_that_never_started_has_no_address_and_can_be_stopped():
    sandbox = Sandbox()
    with pytest.raises(ConfigurationError):
        assert sandbox.api_url
    sandbox.stop()


def test_a_port_in_use_is_an_error(sandbox):
    port = int(sandbox.url.rpartition(":")[2])
    with pytest.raises(OSError, match="in use"):
        Sandbox(port=port).start()


def test_a_port_can_be_reused_immediately(make_sandbox):
    first = make_sandbox()
    port = int(first.url.rpartition(":")[2])
    first.stop()
    with Sandbox(port=port) as second:
        assert second.url.endswith(f":{port}")
