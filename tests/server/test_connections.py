"""Connections of strangers who want nothing, or too many of them."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPResponse

import pytest

from deploycore.server import connections as limits
from deploycore.server import serving as module
from deploycore.server.app import create_application
from deploycore.server.options import ServerOptions
from tests.server.acme import body_of, push, signed

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
BEGUN = b"POST /webhooks/shop HTTP/1.1\r\nHost: x\r\n"


@dataclass(frozen=True)
class Listening:
    """A server in a thread."""

    address: tuple[str, int]
    server: module._Server

    def look(self) -> None:
        """Have the time of a look at each connection be now."""
        looked = threading.Event()
        for each in tuple(self.server.server_state.connections):
            each.loop.call_soon_threadsafe(lambda each=each: (each._look(), looked.set()))
            assert looked.wait(60)


@pytest.fixture
def listening(installation, secret, monkeypatch):
    """A server in a thread, whose connections may idle for a tenth of a second."""
    monkeypatch.setattr(limits, "_IDLE_SECONDS", 0.1)
    application, options = create_application(installation), ServerOptions()
    server = module._Server(module._config(application, options), application)
    with module._listening("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield Listening(listener.getsockname(), server)
        server.should_exit = True
        thread.join()
    application.close()


@contextmanager
def connected(listening, *sent: bytes):
    with socket.create_connection(listening.address, timeout=60) as connection:
        for each in sent:
            connection.sendall(each)
        yield connection


def all_of(connection: socket.socket) -> bytes:
    """What comes until the other side ends it."""
    found = b""
    try:
        while data := connection.recv(10_000):
            found += data
    except ConnectionResetError:
        pass
    return found


def status_of(connection: socket.socket) -> int:
    """The status of an answer, which is read to its end."""
    answer = HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer.status


def send_until_it_ends(connection: socket.socket) -> None:
    """Send byte by byte; comes back when the other side has ended it."""
    with suppress(ConnectionResetError, BrokenPipeError):
        while True:
            connection.sendall(b"X")
            time.sleep(0.01)


@pytest.mark.parametrize("sent", [b"", BEGUN], ids=["nothing", "half a head"])
def test_who_asks_for_nothing_is_not_kept(listening, sent):
    with connected(listening, sent) as connection:
        assert all_of(connection) == b""


def test_who_sends_a_head_byte_by_byte_without_an_end_is_not_kept(listening):
    with connected(listening, BEGUN) as connection:
        send_until_it_ends(connection)


def test_who_goes_on_sending_after_the_answer_is_not_kept(listening):
    head = b"POST /webhooks/none HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"
    with connected(listening, head) as connection:
        assert status_of(connection) == 404
        send_until_it_ends(connection)


def test_a_body_that_arrives_slowly_is_waited_for(listening, secret):
    body = body_of(push())
    headers = {**signed(body, secret), "Content-Length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
    with connected(listening, BEGUN + lines + b"\r\n") as connection:
        for place in range(0, len(body), 20):
            connection.sendall(body[place : place + 20])
            time.sleep(0.05)
        assert status_of(connection) == 202


def test_a_connection_is_kept_as_long_as_something_new_is_asked_for(listening, monkeypatch):
    monkeypatch.setattr(limits, "_IDLE_SECONDS", 3600)
    with connected(listening) as connection:
        for _ in range(3):
            connection.sendall(HEALTH)
            assert status_of(connection) == 200
            listening.look()
        listening.look()
        assert all_of(connection) == b""


def test_there_are_only_so_many_connections_and_the_open_files_are_never_used_up(
    listening, monkeypatch
):
    monkeypatch.setattr(limits, "_CONNECTIONS_MOST", 2)
    monkeypatch.setattr(limits, "_IDLE_SECONDS", 3600)
    with connected(listening, HEALTH) as first, connected(listening, HEALTH) as second:
        assert status_of(first) == 200
        assert status_of(second) == 200
        with connected(listening, HEALTH) as third:
            assert all_of(third) == b""
    monkeypatch.setattr(limits.resource, "getrlimit", lambda which: (100, 100))
    monkeypatch.setattr(limits, "_CONNECTIONS_MOST", 2000)
    assert limits.connections_most() == 50
