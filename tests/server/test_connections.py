"""Connections that send nothing, and too many connections."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPResponse

import httptools
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
def test_a_client_that_sends_no_request_is_disconnected(listening, sent):
    with connected(listening, sent) as connection:
        assert all_of(connection) == b""


def test_a_client_that_sends_its_headers_byte_by_byte_is_disconnected(listening):
    with connected(listening, BEGUN) as connection:
        send_until_it_ends(connection)


def test_a_client_that_keeps_sending_after_the_response_is_disconnected(listening):
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


def test_a_connection_stays_open_while_new_requests_arrive(listening, monkeypatch):
    monkeypatch.setattr(limits, "_IDLE_SECONDS", 3600)
    with connected(listening) as connection:
        for _ in range(3):
            connection.sendall(HEALTH)
            assert status_of(connection) == 200
            listening.look()
        listening.look()
        assert all_of(connection) == b""


def test_connections_are_limited_and_file_descriptors_are_never_exhausted(listening, monkeypatch):
    monkeypatch.setattr(limits, "_CONNECTIONS_MOST", 2)
    monkeypatch.setattr(limits, "_IDLE_SECONDS", 3600)
    with connected(listening, HEALTH) as first, connected(listening, HEALTH) as second:
        assert status_of(first) == 200
        assert status_of(second) == 200
        with connected(listening, HEALTH) as third:
            assert status_of(third) == 200
            assert all_of(first) == b""
            assert len(listening.server.server_state.connections) == 2
    monkeypatch.setattr(limits.resource, "getrlimit", lambda which: (100, 100))
    monkeypatch.setattr(limits, "_CONNECTIONS_MOST", 2000)
    assert limits.connections_most() == 50


def chunked(path: str = "/webhooks/shop") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()


def test_requests_are_parsed_by_compiled_code(listening):
    with connected(listening, HEALTH) as connection:
        assert status_of(connection) == 200
        (kept,) = listening.server.server_state.connections
        assert isinstance(kept.parser, httptools.HttpRequestParser)


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (chunked(), b"1\r\nx\r\n"),
        (chunked("/webhooks/none"), b"1\r\nx\r\n"),
        (chunked(), b"1;" + b"x" * 10_000 + b"=y\r\nx\r\n"),
        (chunked() + b"1;x=", b"y" * 10_000),
        (chunked() + b"1\r\nx\r\n0\r\n", b"X: y\r\n"),
        (chunked() + b"1\r\nx\r\n0\r\nX: ", b"y" * 10_000),
        (BEGUN, b"X: y\r\n"),
        (BEGUN + b"X: ", b"y" * 10_000),
        (b"GET /", b"y" * 10_000),
        (b"", b"\r\n"),
        (b"", HEALTH),
        (BEGUN + b"Content-Length: 1000000000000\r\n\r\n", b"y" * 10_000),
        (BEGUN.replace(b"shop", b"none") + b"Content-Length: 1000000\r\n\r\n", b"y" * 10_000),
    ],
    ids=[
        "small chunks",
        "small chunks after the answer",
        "chunk extensions",
        "a chunk extension",
        "trailers",
        "a trailer",
        "headers",
        "a header",
        "a path",
        "empty lines",
        "pipelined requests",
        "a large body",
        "a body after the answer",
    ],
)
def test_a_flood_is_stopped_by_its_size_before_any_timeout(listening, monkeypatch, first, again):
    monkeypatch.setattr(limits, "_IDLE_SECONDS", 3600)
    # The answers to pipelined requests are not read, so that this side would wait, too.
    with connected(listening, first) as connection, suppress(ConnectionError):
        while True:
            connection.sendall(again * 100)
    assert ended(listening)
    with connected(listening, HEALTH) as connection:
        assert status_of(connection) == 200


def ended(listening) -> bool:
    """Whether the server has no connection any more, in a while."""
    until = time.monotonic() + 60
    while listening.server.server_state.connections and time.monotonic() < until:
        time.sleep(0.01)
    return not listening.server.server_state.connections


def test_a_chunked_body_from_a_proxy_is_accepted(listening, secret):
    body = body_of(push(), padding="x" * 500_000)
    headers = "".join(f"{name}: {value}\r\n" for name, value in signed(body, secret).items())
    head = chunked().removesuffix(b"\r\n") + headers.encode() + b"\r\n"
    parts = [body[place : place + 200] for place in range(0, len(body), 200)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in parts)
    with connected(listening, head, chunks, b"0\r\nX-Trailer: y\r\n\r\n") as connection:
        assert status_of(connection) == 202


def from_address(listening, address: str) -> socket.socket:
    return socket.create_connection(listening.address, timeout=60, source_address=(address, 0))


def test_one_sender_can_use_only_a_share_of_the_connections(listening, monkeypatch):
    monkeypatch.setattr(limits, "_SHARE_LEAST", 2)
    monkeypatch.setattr(limits, "_CONNECTIONS_MOST", 16)
    monkeypatch.setattr(limits, "_IDLE_SECONDS", 3600)
    with ExitStack() as stack:
        own = []
        for _ in range(3):
            own.append(stack.enter_context(from_address(listening, "127.0.0.2")))
            own[-1].sendall(HEALTH)
            assert status_of(own[-1]) == 200
        assert all_of(own[0]) == b""
        other = stack.enter_context(from_address(listening, "127.0.0.3"))
        other.sendall(HEALTH)
        assert status_of(other) == 200


def test_a_sender_with_many_connections_yields_one_to_a_sender_with_few(listening, monkeypatch):
    monkeypatch.setattr(limits, "_CONNECTIONS_MOST", 4)
    monkeypatch.setattr(limits, "_IDLE_SECONDS", 3600)
    with ExitStack() as stack:
        many = [stack.enter_context(from_address(listening, "127.0.0.2")) for _ in range(4)]
        many[-1].sendall(HEALTH)
        assert status_of(many[-1]) == 200
        few = stack.enter_context(from_address(listening, "127.0.0.3"))
        few.sendall(HEALTH)
        assert status_of(few) == 200
        assert all_of(many[0]) == b""
