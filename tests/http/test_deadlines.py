"""The total time of a request is limited, whatever a server, a proxy or a resolver does."""

from __future__ import annotations

import _thread
import gc
import gzip
import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress

import pytest

from deploycore.applications.application import HealthCheck
from deploycore.deploy.health import check_health
from deploycore.errors import HealthCheckFailed, ProviderUnavailable, UnexpectedAnswer
from deploycore.git import Cancellation
from deploycore.http import HttpClient, HttpSettings
from deploycore.http.reach import reach
from deploycore.redaction import Redactor

# Python's ssl leaves a socket to the garbage collector that was reset before its handshake.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
COMPRESSED = HEAD + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n"
EMPTY_BLOCK = b"\x00\x00\x00\xff\xff"  # of deflate: stored, with no bytes
GZIP_HEADER = gzip.compress(b"")[:10]

# What is sent once, and what is sent again and again after that.
ATTACKS = {
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "103 Early Hints": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
    "a header without an end": (HEAD + b"X: ", b"y"),
    "trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"X: y\r\n"),
    "a trailer without an end": (CHUNKED + b"2\r\n{}\r\n0\r\nX: ", b"y"),
    "a chunk extension": (CHUNKED + b"2;x=", b"y"),
    "empty gzip blocks": (COMPRESSED + GZIP_HEADER, EMPTY_BLOCK),
    "empty gzip members": (COMPRESSED, gzip.compress(b"")),
}
REPEATED = 4096


class Hostile:
    """Accepts connections, and does one thing with each until the other side ends it."""

    def __init__(self, attack) -> None:
        self._attack = attack
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.ended = threading.Event()
        self._threads = [threading.Thread(target=self._accept, name="hostile", daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                thread = threading.Thread(
                    target=self._serve, args=(connection,), name="hostile", daemon=True
                )
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection) -> None:
        with connection, suppress(OSError):
            self._attack(connection, self.ended)

    def stop(self) -> None:
        self.ended.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        for each in self._threads:
            each.join(60)
        self._listening.close()  # after the join: its descriptor could be another server's by then


@pytest.fixture(autouse=True, scope="module")
def former_objects_are_not_collected():
    """Each of these tests collects garbage, which takes a second with what other tests have left in
    the process."""
    gc.collect()
    gc.freeze()


@contextmanager
def hostile(attack):
    """A hostile server; no thread may be left that was not there before."""
    before, running = set(threading.enumerate()), _thread._count()
    server = Hostile(attack)
    try:
        yield server
    finally:
        left = [each for each in set(threading.enumerate()) - before if each.name != "hostile"]
        for each in left:
            each.join(60)  # while the server still attacks
        server.stop()
        gc.collect()
    assert not any(each.is_alive() for each in left)
    ends = time.monotonic() + 60
    while _thread._count() > running:  # also those that are no ``threading.Thread``
        assert time.monotonic() < ends
        time.sleep(0.001)


def flooding(first: bytes, again: bytes):
    def attack(connection, ended) -> None:
        connection.recv(65_536)
        connection.sendall(first)
        while not ended.is_set():
            connection.sendall(again * REPEATED)

    return attack


def dripping(first: bytes, again: bytes, *, reads: bool = True):
    def attack(connection, ended) -> None:
        if reads:
            connection.recv(65_536)
        connection.sendall(first)
        while not ended.wait(0.02):
            connection.sendall(again)

    return attack


def client(url: str, **settings) -> HttpClient:
    return HttpClient(url, settings=HttpSettings(**{"retries": 0, "total_timeout": 0.3} | settings))


@contextmanager
def taking_less_than(seconds: float):
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


@pytest.mark.parametrize("name", ATTACKS)
def test_a_flood_without_content_ends_before_the_timeout(name):
    with hostile(flooding(*ATTACKS[name])) as server, taking_less_than(300):
        opened = client(f"http://127.0.0.1:{server.port}", total_timeout=3600, read_timeout=3600)
        with opened, pytest.raises((UnexpectedAnswer, ProviderUnavailable)):
            opened.get_json("x")


@pytest.mark.parametrize("name", ATTACKS)
def test_a_dripping_response_ends_at_the_total_timeout(name):
    with hostile(dripping(*ATTACKS[name])) as server, taking_less_than(10):
        opened = client(f"http://127.0.0.1:{server.port}", retries=3)
        with opened, pytest.raises(ProviderUnavailable, match="timed out"):
            opened.get_json("x")


def test_a_buffered_flood_is_not_processed_after_the_deadline(monkeypatch):
    """What is in the system's buffers is still read after a socket was shut down."""
    monkeypatch.setattr("deploycore.http.watched._HEAD_BYTES_MOST", 10**12)
    with hostile(flooding(*ATTACKS["100 Continue"])) as server, taking_less_than(10):
        opened = client(f"http://127.0.0.1:{server.port}")
        with opened, pytest.raises(ProviderUnavailable, match="timed out"):
            opened.get_json("x")


def test_a_kept_alive_connection_is_closed_at_the_deadline():
    answer = HEAD + b"Content-Length: 2\r\n\r\n{}"

    def attack(connection, ended) -> None:
        connection.recv(65_536)
        connection.sendall(answer)
        dripping(*ATTACKS["100 Continue"])(connection, ended)

    with hostile(attack) as server, taking_less_than(10):
        opened = client(f"http://127.0.0.1:{server.port}")
        with opened:
            assert opened.get_json("x") == {}
            with pytest.raises(ProviderUnavailable, match="timed out"):
                opened.get_json("x")


def test_redirects_share_one_timeout():
    def attack(connection, ended) -> None:
        connection.recv(65_536)
        ended.wait(0.2)
        connection.sendall(
            b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )

    with hostile(attack) as server, taking_less_than(10):
        opened = client(f"http://127.0.0.1:{server.port}", total_timeout=0.5)
        with opened, pytest.raises(ProviderUnavailable, match=r"timed out|used up"):
            opened.get_json("x")


def test_a_server_that_does_not_read_the_body_ends_at_the_total_timeout():
    def attack(connection, ended) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        ended.wait()

    with hostile(attack) as server, taking_less_than(10):
        opened = client(f"http://127.0.0.1:{server.port}")
        with opened, pytest.raises(ProviderUnavailable, match="timed out"):
            opened.send_json("PUT", "x", body={"text": "x" * 20_000_000})


HANDSHAKE = b"\x16\x03\x03" + struct.pack(">H", 16_000)


def test_a_dripping_tls_handshake_ends_at_the_total_timeout():
    attack = dripping(HANDSHAKE, b"\x02")
    with hostile(attack) as server, taking_less_than(10):
        opened = client(f"https://127.0.0.1:{server.port}")
        with opened, pytest.raises(ProviderUnavailable, match="timed out"):
            opened.get_json("x")


def test_all_steps_of_a_reachability_check_share_one_timeout():
    with (
        hostile(dripping(HANDSHAKE, b"\x02")) as server,
        taking_less_than(10),
        pytest.raises(ProviderUnavailable, match="timed out"),
    ):
        reach(f"https://127.0.0.1:{server.port}", seconds=0.3)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert reach(f"http://127.0.0.1:{port}", seconds=10).host == "127.0.0.1"


@pytest.mark.parametrize(
    ("first", "again"),
    [(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"), (b"", b"HTTP/1.1 100 Continue\r\n\r\n")],
    ids=["headers", "100 Continue"],
)
@pytest.mark.parametrize("kind", [dripping, flooding])
def test_a_proxy_that_does_not_finish_connect_ends_at_the_total_timeout(
    monkeypatch, kind, first, again
):
    for name in ("no_proxy", "NO_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    with hostile(kind(first, again)) as server, taking_less_than(10):
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{server.port}")
        opened = client("https://host.example")
        with opened, pytest.raises((ProviderUnavailable, UnexpectedAnswer)):
            opened.get_json("x")


def test_a_hanging_resolver_ends_at_the_total_timeout(monkeypatch):
    answered = threading.Event()

    def hang(*arguments):
        answered.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "nobody answers")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with taking_less_than(10), client("http://host.example") as opened:
        try:
            with pytest.raises(ProviderUnavailable, match="timed out"):
                opened.get_json("x")
        finally:
            answered.set()


def test_closing_the_client_ends_requests_of_other_threads():
    began = threading.Event()

    def attack(connection, ended) -> None:
        connection.recv(65_536)
        began.set()
        ended.wait()

    errors = []
    with hostile(attack) as server:
        opened = client(f"http://127.0.0.1:{server.port}", total_timeout=3600, read_timeout=3600)

        def ask() -> None:
            try:
                opened.get_json("x")
            except ProviderUnavailable as error:
                errors.append(str(error))

        asking = threading.Thread(target=ask)
        asking.start()
        assert began.wait(60)
        opened.close()
        asking.join(60)
    assert "the connection was closed" in errors[0]


def test_a_nested_authorization_request_shares_the_timeout():
    class Asking:
        def __init__(self, url: str) -> None:
            self._url = url

        def header(self):
            with client(self._url, total_timeout=3600, read_timeout=3600) as opened:
                return opened.get_json("token")

    with hostile(dripping(*ATTACKS["100 Continue"])) as server, taking_less_than(10):
        url = f"http://127.0.0.1:{server.port}"
        opened = HttpClient(
            url, auth=Asking(url), settings=HttpSettings(retries=0, total_timeout=0.3)
        )
        with opened, pytest.raises(ProviderUnavailable, match="timed out"):
            opened.get_json("x")


@pytest.mark.parametrize("kind", [dripping, flooding])
@pytest.mark.parametrize("name", ["100 Continue", "103 Early Hints", "a header without an end"])
def test_a_health_check_ends_at_its_timeout_and_leaves_no_thread(tmp_path, name, kind):
    with hostile(kind(*ATTACKS[name])) as server, taking_less_than(10):
        check = HealthCheck(url=f"http://127.0.0.1:{server.port}", timeout=0.3, retries=0)
        with pytest.raises(HealthCheckFailed):
            check_health(
                check,
                directory=tmp_path,
                environment={},
                redactor=Redactor(),
                output=lambda line: None,
                cancellation=Cancellation(),
            )


def test_a_response_of_many_small_chunks_is_read(serve):
    """What is bounded is what holds no content."""
    text = b'"' + b"x" * 50_000 + b'"'
    body = b"".join(b"1;a=b\r\n%c\r\n" % each for each in text) + b"0\r\nX: y\r\n\r\n"

    def reply(handler) -> None:
        handler.wfile.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" + CHUNKED + body)

    with client(serve(reply).url, total_timeout=60) as opened:
        assert len(opened.get_json("x")) == 50_000
