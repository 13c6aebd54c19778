"""Connections: their end, the addresses to which credentials are sent, and the limits on received
data."""

from __future__ import annotations

import base64
import socket
import sys
import threading
import time
from dataclasses import replace

import pytest

from deploycore.errors import Cancelled, ConfigurationError, LimitExceeded
from deploycore.git import Cancellation, GitSettings, export
from deploycore.git.operation import Operation
from deploycore.git.progress import no_progress
from deploycore.git.wire.connections import open_pool
from tests.git.servers import SECRET, nothing_left, snapshot, source
from tests.git.test_proxies_and_tls import Proxy
from tests.hostile.packs import blob, commit, tree
from tests.hostile.server import ADVERTISEMENT, FLUSH, Answer, HostileServer, line

NO_HANG = 60  # seconds: more than any machine needs, less than what would hang

CONTENT = blob(b"content")
ROOT = tree((0o100644, b"a", CONTENT))
TIP = commit(ROOT)


@pytest.fixture
def hostile():
    running = HostileServer()
    running.script.serve(TIP, ROOT, CONTENT)
    yield running
    running.stop()


@pytest.fixture
def proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    made = Proxy()
    yield made
    made.stop()


@pytest.mark.parametrize("phase", ["connecting", "receiving", "writing"])
@pytest.mark.parametrize("kind", [BrokenPipeError, ConnectionResetError, ValueError, KeyError])
def test_an_exception_of_a_listener_is_raised_unchanged(hostile, target, settings, phase, kind):
    """It was taken for a failure of the network, and the fetch tried again."""
    error = kind("the listener's own")

    def listen(progress):
        if progress.phase == phase:
            raise error

    with pytest.raises(kind) as raised:
        export(source(hostile.url), "main", target, progress=listen, settings=settings)
    assert raised.value is error
    assert error.__cause__ is None
    assert error.__context__ is None
    assert len(hostile.requests) <= 3
    assert nothing_left(target)


@pytest.fixture
def unanswering(monkeypatch):
    """A name with four addresses, none of which answers; gives the port."""
    if sys.platform != "linux":
        pytest.skip("other systems have one loopback address")
    opened, port = [], 0
    for number in range(2, 6):
        listening = socket.socket()
        listening.bind((f"127.0.0.{number}", port))
        listening.listen(0)
        port = listening.getsockname()[1]
        opened.append(listening)
        for _ in range(2):  # a full queue
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex((f"127.0.0.{number}", port))
            opened.append(waiting)
    look_up = socket.getaddrinfo

    def found(host, port, *rest, **options):
        return [e for n in range(2, 6) for e in look_up(f"127.0.0.{n}", port, *rest, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    yield port
    for each in opened:
        each.close()


def test_the_deadline_ends_a_connection_attempt(unanswering, target, settings):
    began = time.monotonic()
    slow = replace(settings, connect_timeout=5, total_timeout=0.5, use_proxies=False)
    with pytest.raises(LimitExceeded):
        export(source(f"http://host.localhost:{unanswering}/x.git"), "main", target, settings=slow)
    assert time.monotonic() - began < NO_HANG


def test_a_cancellation_ends_a_connection_attempt(unanswering, target, settings):
    cancellation = Cancellation()
    threading.Timer(0.3, cancellation.cancel).start()
    began = time.monotonic()
    slow = replace(settings, connect_timeout=5, use_proxies=False)
    place = source(f"http://host.localhost:{unanswering}/x.git")
    with pytest.raises(Cancelled):
        export(place, "main", target, settings=slow, cancellation=cancellation)
    assert time.monotonic() - began < NO_HANG


def test_a_credential_for_this_machine_is_not_sent_through_a_proxy(
    proxy, hostile, target, settings, monkeypatch
):
    """It may travel unencrypted because it does not leave the machine."""
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    export(source(hostile.url, secret=SECRET), "main", target, settings=settings)
    assert proxy.seen == []
    assert snapshot(target) == {b"a": ("file", b"content", False)}


def test_a_proxy_password_may_contain_any_characters(proxy, hostile, target, settings, monkeypatch):
    """In Latin-1 alone, the exception told it."""
    proxy.refusal = b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"
    monkeypatch.setenv("http_proxy", f"http://me:%E2%82%AC5@127.0.0.1:{proxy.port}")
    with pytest.raises(Exception, match="403") as raised:
        export(source("http://git.example/x.git"), "main", target, settings=settings)
    assert "€" not in str(raised.value)
    told = [each for each in proxy.seen[0][1] if each.lower().startswith("proxy-auth")]
    assert base64.b64decode(told[0].split()[-1]) == "me:€5".encode()


def test_a_ref_with_a_lone_surrogate_is_rejected(hostile, target, settings):
    with pytest.raises(ConfigurationError):
        export(source(hostile.url), "\ud800", target, settings=settings)
    assert hostile.requests == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://git.example/other.git", True),
        ("https://elsewhere.example/shop.git", False),
        ("https://git.example:8443/shop.git", False),
    ],
)
def test_a_client_certificate_is_sent_only_to_its_own_origin(certificate, url, shown):
    """Submodules are of whatever origin the repository names."""
    settings = GitSettings(client_certificate=str(certificate), use_proxies=False)
    home = "https://git.example/shop.git"
    operation = Operation(settings, no_progress, Cancellation(), home=home)
    with open_pool(url, operation) as pool:
        assert bool(pool.cert_file) is shown


def floods():
    """What each step may be flooded with; ``(step, type, first, line)``."""
    version = line(b"version 2\n") + line(b"ls-refs\n") + line(b"fetch=shallow\n")
    yield "discover", ADVERTISEMENT, version, b"capability-%d\n"
    spaces = line(b"  version 2  \n") + line(b"ls-refs\n")
    yield "discover", ADVERTISEMENT, spaces, b"capability-%d\n"
    result = "application/x-git-upload-pack-result"
    head = line(TIP.name + b" HEAD symref-target:refs/heads/main\n")
    yield "list_refs", result, head, TIP.name + b" refs/heads/r%d\n"
    yield "fetch", result, line(b"shallow-info\n"), b"shallow %040d\n"


@pytest.mark.parametrize(("step", "kind", "first", "each"), [*floods()], ids=range(4))
def test_data_before_a_pack_has_its_own_limit(hostile, target, settings, step, kind, first, each):
    """All of it is held in memory; that of packs is four gigabytes."""
    sent = []

    def flood():
        yield first
        for start in range(0, 3_000_000, 1000):
            sent.append(start)
            yield b"".join(line(each % number) for number in range(start, start + 1000))
        yield FLUSH

    setattr(hostile.script, step, lambda request: Answer(flood(), kind))
    with pytest.raises(LimitExceeded) as raised:
        export(source(hostile.url), "main", target, settings=settings)
    assert raised.value.details["limit"] == "talk"
    assert len(sent) < (400 if step == "discover" else 1000)
    setattr(hostile.script, step, None)
    export(source(hostile.url), "main", target, settings=settings)
