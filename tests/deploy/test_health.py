"""Health checks: accepted responses, time limits, and attempts that never hang."""

from __future__ import annotations

import base64
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from pydantic import SecretStr

from deploycore.applications.application import HealthCheck
from deploycore.deploy.health import check_health
from deploycore.deploy.steps import step_environment
from deploycore.errors import Cancelled, HealthCheckFailed
from deploycore.git import Cancellation
from deploycore.redaction import MASK, Redactor

SANE = 30  # seconds; these take less than one each, but machines are busy
SECRET = "a-secret-of-the-application"

Talk = Callable[[socket.socket], None]


class Server:
    """Says to each client what it is told to, once the client has asked; on loopback.

    Attributes:
        asked: The head of each request.
    """

    def __init__(self, talk: Talk, tls: ssl.SSLContext | None = None) -> None:
        self.talk = talk
        self.asked: list[str] = []
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/health"

    def stop(self) -> None:
        self._over.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listening.close()

    def pause(self, seconds: float) -> None:
        """Wait, but not when the test is over."""
        if self._over.wait(seconds):
            raise ConnectionAbortedError

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                thread = threading.Thread(target=self._answer, args=(client,))
                self._threads.append(thread)
                thread.start()

    def _answer(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            if self._tls:
                client = self._tls.wrap_socket(client, server_side=True)
            with client:
                client.settimeout(SANE)
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    if not (byte := client.recv(1)):
                        return
                    head += byte
                self.asked.append(head.decode())
                self.talk(client)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start a server; given is what it says."""
    servers: list[Server] = []

    def start(talk: Talk, tls: ssl.SSLContext | None = None) -> Server:
        servers.append(Server(talk, tls))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def saying(*statuses: int, body: bytes = b"ok") -> Talk:
    """One status after the other, the last again and again."""
    left = list(statuses)

    def talk(client: socket.socket) -> None:
        status = left.pop(0) if len(left) > 1 else left[0]
        client.sendall(b"HTTP/1.1 %d Said\r\nContent-Length: %d\r\n\r\n" % (status, len(body)))
        client.sendall(body)

    return talk


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def cancellation() -> Cancellation:
    return Cancellation()


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    end = time.monotonic() + SANE
    while set(threading.enumerate()) - before and time.monotonic() < end:
        time.sleep(0.01)
    assert not set(threading.enumerate()) - before


Check = Callable[..., None]


@pytest.fixture
def check(tmp_path: Path, lines: list[str], cancellation: Cancellation) -> Check:
    """Check by a URL, or by a line for the shell, with next to no time between tries."""

    def start(what: str, *, deadline_of_all: float | None = None, **options: object) -> None:
        kind = "url" if what.startswith("http") else "shell"
        values = {"interval": 0.01, "retries": 2, "timeout": SANE, "deadline": SANE, **options}
        check_health(
            HealthCheck.model_validate({kind: what, **values}),
            directory=tmp_path,
            environment=step_environment({"TOKEN": SECRET}),
            redactor=Redactor([SecretStr(SECRET)]),
            output=lines.append,
            cancellation=cancellation,
            deadline=deadline_of_all,
        )

    return start


def failure(check: Check, what: str, **options: object) -> HealthCheckFailed:
    with pytest.raises(HealthCheckFailed) as caught:
        check(what, **options)
    return caught.value


# --- answers ---


def test_one_successful_response_is_enough(check, serve, lines):
    server = serve(saying(204))
    check(server.url)
    assert lines == []
    assert len(server.asked) == 1
    assert server.asked[0].startswith("GET /health HTTP/1.1\r\n")


def test_failed_attempts_are_logged_until_one_succeeds(check, serve, lines):
    check(serve(saying(503, 404, 200)).url)
    assert lines == [
        "try 1 of 3: 503, 200-299 was expected",
        "try 2 of 3: 404, 200-299 was expected",
    ]


def test_the_last_reason_is_in_the_error(check, serve, lines):
    error = failure(check, serve(saying(500, 500, 503)).url)
    assert str(error) == (
        "The release failed its health check 3 times. Last result: 503, 200-299 was expected."
    )
    assert error.details == {"tries": 3, "reason": "503, 200-299 was expected"}
    assert error.hint
    assert error.__context__ is None
    assert len(lines) == 3


def test_the_expected_status_is_configurable(check, serve):
    check(serve(saying(401)).url, status=401)
    assert "200, 401 was expected" in failure(check, serve(saying(200)).url, status=401).message


def test_redirects_count_as_responses_and_are_not_followed(check, serve):
    def talk(client: socket.socket) -> None:
        client.sendall(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\n\r\n")
        while True:  # a body without end, which nobody should wait for
            client.sendall(b"x" * 1024)

    server = serve(talk)
    error = failure(check, server.url, retries=0)
    assert error.message.endswith(
        "failed its health check once. Last result: 302, 200-299 was expected."
    )
    assert len(server.asked) == 1
    check(server.url, status=302)


def test_an_endless_body_is_not_read(check, serve):
    def talk(client: socket.socket) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            client.sendall(b"x" * 65536)

    check(serve(talk).url)


def test_a_refused_connection_is_reported(check):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert "Connection refused" in failure(check, f"http://127.0.0.1:{port}/").message


@pytest.mark.parametrize(
    "said", [b"", b"\x00\xff nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000]
)
def test_an_invalid_response_is_reported(check, serve, said):
    error = failure(check, serve(lambda client: client.sendall(said)).url)
    assert error.details["tries"] == 3
    assert error.details["reason"]
    assert "see the application's own log" in error.hint
    check(serve(saying(200)).url)


def test_an_invalid_address_is_reported(check, serve):
    error = failure(check, "http://127.0.0.1:99999/")
    assert "its address is malformed" in error.message
    assert "Check the health_check of the application" in error.hint
    check(serve(saying(200)).url)


def test_addresses_with_secrets_are_not_shown(check, serve, lines):
    server = serve(saying(500))
    error = failure(check, f"{server.url}?token={SECRET}")
    assert SECRET in server.asked[0]
    assert SECRET not in str(error.as_dict()) + "".join(lines)


# --- what is sent, and where to ---


def test_netrc_credentials_are_not_sent(check, serve, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password word\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server = serve(saying(200))
    check(server.url)
    assert "authorization" not in server.asked[0].lower()


def test_a_local_address_is_requested_without_a_proxy(check, serve, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9/")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    check(serve(saying(200)).url)


def test_other_addresses_are_requested_through_the_proxy(check, serve, monkeypatch):
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    proxy = serve(saying(200))
    monkeypatch.setenv("http_proxy", f"http://me:word@127.0.0.1:{proxy.port}")
    check("http://shop.invalid/health")
    assert proxy.asked[0].startswith("GET http://shop.invalid/health ")
    assert base64.b64encode(b"me:word").decode() in proxy.asked[0]


def test_certificates_are_verified_with_the_ca_bundle_of_the_environment(
    check, serve, certificate, monkeypatch
):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    url = f"https://localhost:{serve(saying(200), context).port}/"
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    assert "TLS: self-signed certificate" in failure(check, url).message
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    check(url)


# --- time ---


def dripping(server: list[Server]) -> Talk:
    def talk(client: socket.socket) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\nX-Drip: ")
        while True:
            client.sendall(b"x")
            server[0].pause(0.05)

    return talk


@pytest.fixture
def drip(serve: Callable[..., Server]) -> Server:
    """A server whose headers never end, one byte at a time."""
    server: list[Server] = []
    server.append(serve(dripping(server)))
    return server[0]


def test_a_dripping_response_is_limited_in_total_time(check, drip, lines):
    begun = time.monotonic()
    error = failure(check, drip.url, timeout=0.3)
    assert 0.9 <= time.monotonic() - begun < SANE / 2
    assert error.details == {"tries": 3, "reason": "it timed out"}
    assert lines[1] == "try 2 of 3: it timed out"


def test_a_silent_server_times_out(check, serve):
    error = failure(check, serve(lambda client: client.recv(1)).url, timeout=0.2, retries=1)
    assert error.details == {"tries": 2, "reason": "it timed out"}


def test_a_missing_tls_handshake_times_out(check):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"https://127.0.0.1:{listening.getsockname()[1]}/"
        assert "timed out" in failure(check, url, timeout=0.2, retries=0).message


def test_an_attempt_is_cut_off_at_the_deadline(check, drip):
    begun = time.monotonic()
    error = failure(check, drip.url, deadline=0.3)
    assert time.monotonic() - begun < SANE / 2
    assert error.details["tries"] == 1


def test_the_overall_deadline_is_respected(check, drip):
    begun = time.monotonic()
    failure(check, drip.url, deadline_of_all=begun + 0.3)
    assert time.monotonic() - begun < SANE / 2


def test_no_delay_before_an_attempt_that_cannot_be_made(check, serve):
    begun = time.monotonic()
    error = failure(check, serve(saying(500)).url, interval=SANE, deadline=SANE - 1)
    assert error.details["tries"] == 1
    assert time.monotonic() - begun < SANE / 2


# --- commands ---


def test_a_command_is_repeated_until_it_succeeds(check, lines):
    check('echo "with $TOKEN"; echo . >> tries; test $(wc -l < tries) = 3')
    assert lines == [
        f"with {MASK}",
        "try 1 of 3: it ended with status 1",
        f"with {MASK}",
        "try 2 of 3: it ended with status 1",
        f"with {MASK}",
    ]


def test_a_command_has_a_timeout_per_attempt(check, lines):
    error = failure(check, "sleep 60", timeout=0.2, retries=1)
    assert error.details["tries"] == 2
    assert "it took more than 0.2 seconds and was stopped" in error.message
    failure(check, "sleep 60", deadline=0.3)
    assert "the deployment reached its time limit" in lines[-1]


# --- cancellation ---


@pytest.mark.parametrize("during", ["try", "command", "interval"])
@pytest.mark.parametrize("by", ["thread", "signal"])
def test_cancellation_is_immediate(check, serve, drip, cancellation, during, by):
    what = {"try": drip.url, "command": "sleep 60", "interval": serve(saying(500)).url}[during]
    former = signal.signal(signal.SIGALRM, lambda *_: cancellation.cancel())
    timer = threading.Timer(0.2, cancellation.cancel)
    begun = time.monotonic()
    try:
        if by == "signal":
            signal.setitimer(signal.ITIMER_REAL, 0.2)
        else:
            timer.start()
        with pytest.raises(Cancelled):
            check(what, interval=20, timeout=60, deadline=600)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
    assert time.monotonic() - begun < 15
    assert cancellation._listeners == {}


def test_no_attempt_is_made_after_a_cancellation(check, cancellation, tmp_path):
    cancellation.cancel()
    with pytest.raises(Cancelled):
        check("touch tried")
    assert not (tmp_path / "tried").exists()


def test_many_attempts_leave_no_open_descriptor(check, serve):
    url = serve(saying(500, 200)).url
    check(url)
    before = len(os.listdir("/dev/fd"))
    bad = serve(saying(500)).url
    failure(check, bad, retries=50)
    end = time.monotonic() + SANE
    while len(os.listdir("/dev/fd")) > before + 1 and time.monotonic() < end:
        time.sleep(0.01)
    assert len(os.listdir("/dev/fd")) <= before + 1  # the second server itself
