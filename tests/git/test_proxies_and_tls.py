"""Proxies and certificates, and data that is never sent unencrypted."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
import traceback

import pytest

from deploycore.errors import Cancelled, ConfigurationError, GitError
from deploycore.git import Cancellation, GitSettings, export
from tests.git.servers import SECRET, Server, nothing_left, snapshot, source
from tests.network import Proxy

PROXY_SECRET = "word-of-the-proxy"


@pytest.fixture
def proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    made = Proxy()
    yield made
    made.stop()


@pytest.fixture
def secure(certificate, make, server):
    """A TLS server with the repository of ``make``; its address, and its CA."""
    make("shop", {"a": b"content"})
    made = Server(certificate=certificate)
    made.backend.repos.update(server.backend.repos)
    yield made
    made.stop()


@pytest.fixture
def trusting(certificate, settings):
    from dataclasses import replace

    def change(**options):
        return replace(settings, ca_bundle=str(certificate), retries=0, **options)

    return change


def test_https_uses_the_proxy_from_the_environment(proxy, secure, trusting, target, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    secure.credential = f"ada:{SECRET}"
    place = source(f"{secure.origin}/shop.git", secret=SECRET)
    export(place, "main", target, settings=trusting())
    assert snapshot(target) == {b"a": ("file", b"content", False)}
    connect = f"CONNECT localhost:{secure.port} HTTP/1."
    assert proxy.seen
    assert all(line.startswith(connect) for line, _ in proxy.seen)
    assert not [each for _, head in proxy.seen for each in head if "authorization" in each.lower()]


def test_the_proxy_password_is_sent_only_to_the_proxy(proxy, secure, trusting, target, monkeypatch):
    proxy.demanded = f"me:{PROXY_SECRET}"
    monkeypatch.setenv("https_proxy", f"http://me:{PROXY_SECRET}@127.0.0.1:{proxy.port}")
    export(source(f"{secure.origin}/shop.git"), "main", target, settings=trusting())
    assert [authorisation for _, _, authorisation in secure.requests] == [None] * len(
        secure.requests
    )


@pytest.mark.parametrize("excepted", ["localhost", "*", "example.org,localhost"])
def test_the_no_proxy_variable_is_respected(proxy, secure, trusting, target, monkeypatch, excepted):
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("NO_PROXY", excepted)
    export(source(f"{secure.origin}/shop.git"), "main", target, settings=trusting())
    assert proxy.seen == []


def test_proxies_can_be_disabled(proxy, secure, trusting, target, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    place = source(f"{secure.origin}/shop.git")
    export(place, "main", target, settings=trusting(use_proxies=False))
    assert proxy.seen == []


def test_a_plain_http_proxy_request_has_the_full_url(proxy, make, target, settings, monkeypatch):
    shop = make("shop", {"a": b"content"})
    proxy.demanded = f"me:{PROXY_SECRET}"
    monkeypatch.setenv("http_proxy", f"http://me:{PROXY_SECRET}@127.0.0.1:{proxy.port}")
    url = shop.url.replace("127.0.0.1", "git.example")
    export(source(url), "main", target, settings=settings)
    assert snapshot(target) == {b"a": ("file", b"content", False)}
    assert proxy.seen[0][0].startswith(f"GET {url}/info/refs?")


@pytest.mark.parametrize(
    "trouble", ["wrong password", "refuses", "is not there", "is no proxy", "has no host"]
)
def test_proxy_errors_are_reported_without_the_password(
    proxy, secure, trusting, target, monkeypatch, trouble
):
    port = proxy.port
    if trouble == "wrong password":
        proxy.demanded = "me:other"
    elif trouble == "refuses":
        proxy.refusal = b"HTTP/1.1 502 Bad Gateway\r\n\r\n"
    elif trouble == "is no proxy":
        proxy.refusal = b"SSH-2.0-OpenSSH\r\n\r\n"
    elif trouble == "is not there":
        proxy.stop()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    host = "" if trouble == "has no host" else f"127.0.0.1:{port}"
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{PROXY_SECRET}@{host}")
    with pytest.raises((GitError, ConfigurationError), match=r"proxy|was closed") as caught:
        export(source(f"{secure.origin}/shop.git"), "main", target, settings=trusting())
    said = "".join(traceback.format_exception(caught.value)) + repr(caught.value.as_dict())
    assert PROXY_SECRET not in said
    assert base64.b64encode(f"me:{PROXY_SECRET}".encode()).decode() not in said
    assert nothing_left(target)
    monkeypatch.setenv("NO_PROXY", "localhost")
    export(source(f"{secure.origin}/shop.git"), "main", target, settings=trusting())


def test_a_socks_proxy_is_refused_with_a_reason(proxy, secure, trusting, target, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", f"socks5://127.0.0.1:{proxy.port}")
    with pytest.raises(ConfigurationError, match="http:// or https://"):
        export(source(f"{secure.origin}/shop.git"), "main", target, settings=trusting())
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.port}")
    export(source(f"{secure.origin}/shop.git"), "main", target, settings=trusting())
    assert proxy.seen


def test_cancellation_closes_the_tunnel(proxy, secure, trusting, target, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
    cancellation = Cancellation()
    threading.Timer(0.2, cancellation.cancel).start()

    def hang(environ, start_response):
        secure.released.wait(20)

    secure.interfere = hang
    with pytest.raises(Cancelled):
        export(
            source(f"{secure.origin}/shop.git"),
            "main",
            target,
            cancellation=cancellation,
            settings=trusting(),
        )


def test_an_untrusted_certificate_is_refused(secure, settings, target):
    with pytest.raises(GitError, match="not secure"):
        export(source(f"{secure.origin}/shop.git"), "main", target, settings=settings)
    assert secure.requests == []


def test_a_certificate_for_another_host_is_rejected(secure, trusting, target):
    address = secure.origin.replace("localhost", "127.0.0.1")
    with pytest.raises(GitError, match="not secure"):
        export(source(f"{address}/shop.git"), "main", target, settings=trusting())
    assert secure.requests == []


@pytest.fixture
def demanding(secure, certificate):
    """A proxy-like TLS end that demands a client certificate of the same CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    plain = secure._http.socket
    secure._http.socket = context.wrap_socket(
        socket.socket(fileno=plain.detach()), server_side=True
    )
    return secure


def test_a_client_certificate_is_sent(demanding, trusting, certificate, target):
    place = source(f"{demanding.origin}/shop.git")
    with pytest.raises(GitError):
        export(place, "main", target, settings=trusting())
    shown = trusting(client_certificate=str(certificate))
    export(place, "main", target, settings=shown)
    assert snapshot(target) == {b"a": ("file", b"content", False)}


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_an_invalid_client_certificate_is_reported(
    secure, trusting, target, tmp_path, content, certificate
):
    path = tmp_path / "client.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"client\.pem"):
        export(
            source(f"{secure.origin}/shop.git"),
            "main",
            target,
            settings=trusting(client_certificate=str(path)),
        )
    settings = trusting(client_certificate=str(certificate))
    export(source(f"{secure.origin}/shop.git"), "main", target, settings=settings)


def test_sending_a_credential_over_plain_http_requires_permission(target):
    place = source("http://git.example.invalid/x.git", secret=SECRET)
    with pytest.raises(ConfigurationError, match="not encrypted"):
        export(place, "main", target)
    allowed = GitSettings(allow_plain_http=True, retries=0, use_proxies=False)
    with pytest.raises(GitError, match=r"cannot be reached|did not answer"):
        export(place, "main", target, settings=allowed)
