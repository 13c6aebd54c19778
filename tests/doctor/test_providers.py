"""Findings about git hosts, with hosts and plugins that really fail."""

from __future__ import annotations

import email.utils
import http.server
import socket
import ssl
import threading
import time
from contextlib import contextmanager

import pytest
from pydantic import SecretStr

from deploycore.doctor import providers
from deploycore.http import HttpSettings
from tests.distributions import GOOD_PROVIDER

SECRET = SecretStr("made-up-secret-77aa0c1e")
ASKING = (
    GOOD_PROVIDER.replace("self.config = config", "self.config, self.http = config, http")
    .replace('return Account(username="ada")', 'return Account(**self.http.get_json("user"))')
    .replace("    token: SecretStr\n", "    token: SecretStr\n    url: str\n")
    .replace('return "https://acme.example/v1"', "return self.url")
    .replace('"https://api.acme.example/v1"', "self.url")
)


@pytest.fixture
def connect(installation, install_distribution):
    """Adds a provider of a host: ``connect("one", url)``."""
    install_distribution("acme-provider", "acme", ASKING)

    def add(name: str, url: str) -> str:
        installation.add_provider(name, "acme", {"url": url}, {"token": SECRET})
        return name

    return add


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    impatient = HttpSettings(read_timeout=0.2, total_timeout=0.5, retries=0)
    monkeypatch.setattr(providers, "_HTTP", impatient)


@contextmanager
def host(status: int = 200, *, behind: float = 0.0, certificate=None, headers=()):
    """A host whose clock differs from this machine's, and which sends further headers."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = b'{"username": "ada"}'
            self.send_response_only(status)
            self.send_header("Date", email.utils.formatdate(time.time() + behind, usegmt=True))
            self.send_header("Content-Length", str(len(body)))
            for each in headers:
                self.send_header(*each)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Nobody reads it."""

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_):
            """Clients that refuse the certificate are what is tested."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http{'s' if certificate else ''}://localhost:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("status", [200, 403])
def test_upcoming_api_removals_of_the_host_are_reported(look, connect, status):
    headers = [("Deprecation", "@1688169599"), ("Sunset", "Sun, 30 Jun 2024 23:59:59 GMT")]
    with host(status, headers=headers) as url:
        connect("one", url)
        findings = look(offline=False).of("provider one")
    (found,) = [each for each in findings if "deprecated" in each.message]
    assert found.level == "warning"
    assert "GET /user on localhost is deprecated since 2023-06-30" in found.message
    assert "stops working on 2024-06-30" in found.message
    assert "Upgrade the plugin" in found.hint


def test_a_responding_host_is_healthy(look, connect):
    with host() as url:
        connect("one", url)
        reached, works, clock = look(offline=False).findings[-3:]
    assert reached.message.startswith("The host localhost responded in ")
    assert works.message.startswith("The credentials are valid: ada. The API responded in ")
    assert clock.message == "This machine's clock agrees with the host's clock of provider one."


def test_in_offline_mode_no_host_is_contacted(look, connect):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connect("one", f"http://127.0.0.1:{silent.getsockname()[1]}")
        (found,) = look(offline=True).of("provider one")
        silent.settimeout(0.1)
        with pytest.raises(TimeoutError):
            silent.accept()
    assert found.message == "acme-provider 1.0 can open it."


@pytest.mark.parametrize(
    ("behind", "said"), [(7200.0, "7,200 s behind"), (-3600.0, "3,600 s ahead of"), (45.0, None)]
)
def test_a_clock_that_differs_by_more_than_a_minute_is_reported(look, connect, behind, said):
    with host(behind=behind) as url:
        connect("one", url)
        (clock,) = look(offline=False).of("clock")
    if said is None:
        assert clock.level == "ok"
        return
    assert clock.level == "warning"
    first, second = said.split(" s ")
    seconds = int(first.replace(",", ""))
    shown = int(clock.message.partition(" clock is ")[2].partition(" s ")[0].replace(",", ""))
    assert abs(shown - seconds) <= 30
    assert f" s {second} the host's clock of provider one" in clock.message


@pytest.mark.parametrize(("status", "code"), [(401, 4), (403, 4), (404, 5), (500, 6)])
def test_invalid_credentials_are_reported_and_the_clock_is_still_checked(
    look, connect, status, code
):
    with host(status, behind=7200) as url:
        connect("one", url)
        diagnosis = look(offline=False)
    found = diagnosis.only("problem")
    assert (found.subject, found.exit_code) == ("provider one", code)
    assert diagnosis.of("clock", "warning")
    assert diagnosis.of("provider one", "ok")


def test_each_connection_step_is_reported_separately(look, connect, certificate):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        refusing = f"http://127.0.0.1:{gone.getsockname()[1]}"
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        host(certificate=certificate) as untrusted,
    ):
        connect("refused", refusing)
        connect("silent", f"http://127.0.0.1:{silent.getsockname()[1]}")
        connect("unknown", "https://no-such-host.invalid")
        connect("untrusted", untrusted)
        diagnosis = look(offline=False)
    said = {
        name: diagnosis.of(f"provider {name}", "problem")[0]
        for name in ("refused", "silent", "unknown", "untrusted")
    }
    assert said["refused"].message == "The host 127.0.0.1 cannot be reached: Connection refused."
    assert "timed out" in said["silent"].message
    assert "its name cannot be resolved" in said["unknown"].message
    assert "TLS: self-signed certificate" in said["untrusted"].message
    assert "the clock" in said["untrusted"].hint
    assert {each.exit_code for each in said.values()} == {6}
    assert diagnosis.of("provider silent", "ok")


def test_a_certificate_that_the_environment_trusts_is_trusted(
    look, connect, certificate, monkeypatch
):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with host(certificate=certificate) as url:
        connect("one", url)
        diagnosis = look(offline=False)
    assert diagnosis.of("provider one")[0].message.endswith("and its certificate is trusted.")
    assert diagnosis.of("provider one", "problem") == []


def test_a_missing_proxy_is_named(look, connect, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    monkeypatch.setenv("HTTPS_PROXY", f"http://ada:made-up-secret-77aa0c1e@127.0.0.1:{port}")
    connect("one", "https://acme.example")
    found = look(offline=False).only("problem")
    assert found.message == "The proxy 127.0.0.1 cannot be reached: Connection refused."


@pytest.mark.parametrize("place", ["authenticate", "__init__", "import"])
def test_a_hanging_plugin_is_named_and_blocks_no_other_check(
    look, connect, installation, install_distribution, until_the_end, monkeypatch, place
):
    monkeypatch.setattr(providers, "PROVIDER_SECONDS", 8.0)  # enough for the other one
    source = ASKING.replace("AcmeProvider", "Slow")
    install_distribution("slow-provider", "slow", source, target="Slow")
    before = {
        "authenticate": '        return Account(**self.http.get_json("user"))',
        "__init__": "        self.config, self.http = config, http",
        "import": "class Slow:",
    }[place]
    with host() as url:
        connect("well", url)
        installation.add_provider("hanging", "slow", {"url": url}, {"token": SECRET})
        reinstalled(
            source.replace(
                before, before[: len(before) - len(before.lstrip())] + until_the_end + "\n" + before
            )
        )
        diagnosis = look(offline=False)
    (found,) = diagnosis.of("provider hanging", "problem")
    assert f"did not respond within 8 s: {place} of slow-provider 1.0" in found.message
    assert found.exit_code == 10
    assert any(
        "The credentials are valid" in each.message for each in diagnosis.of("provider well")
    )


def reinstalled(source: str) -> None:
    import importlib.util
    import sys
    from pathlib import Path

    path = sys.modules.pop("slow_provider").__file__
    Path(path).write_text(source)
    Path(importlib.util.cache_from_source(path)).unlink(missing_ok=True)


def test_an_exception_of_a_plugin_is_reported_without_its_text(
    look, installation, install_distribution
):
    raising = ASKING.replace(
        'return Account(**self.http.get_json("user"))',
        "raise KeyError(self.config.token.get_secret_value())",
    )
    install_distribution("acme-provider", "acme", raising)
    with host() as url:
        installation.add_provider("one", "acme", {"url": url}, {"token": SECRET})
        found = look(offline=False).only("problem")
    assert "authenticate raised KeyError" in found.message
    assert found.exit_code == 10


def test_a_provider_without_its_plugin_is_reported(
    look, installation, demo_sandbox, provider, home
):
    import sqlite3

    installation.close()
    with sqlite3.connect(home / "deploycore.db") as connection:
        connection.execute("UPDATE providers SET kind = 'gone', settings_checksum = NULL")
    connection.close()
    found = look(offline=False).only("problem")
    assert "No plugin for providers of kind 'gone' is installed" in found.message
    assert found.exit_code == 3
