"""Acme's observer, against a server on this machine."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from deploycore.errors import NotFound
from deploycore.testing.observers import make_deployment
from pydantic import SecretStr, ValidationError

from deploycore_acme import AcmeConfig, AcmeObserver

TOKEN = "made-up-token"


class Server(HTTPServer):
    """Keeps the requests that it receives."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.received = []
        self.status = 204


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.headers["Authorization"], json.loads(body)))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *arguments):
        """Print nothing."""


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def observer(server):
    url = f"http://127.0.0.1:{server.server_port}/messages"
    return AcmeObserver(AcmeConfig(url=url, token=SecretStr(TOKEN)))


# EDIT 5: tests of what is specific to the service
def test_a_failed_deployment_is_sent_with_the_token(observer, server):
    observer.deploy_finished(make_deployment(state="failed"), NotFound("No branch main."))
    ((authorization, sent),) = server.received
    assert authorization == f"Bearer {TOKEN}"
    assert (sent["application"], sent["state"]) == ("shop", "failed")
    assert sent["error"] == "No branch main."


def test_an_unselected_state_is_not_sent(observer, server):
    observer.deploy_finished(make_deployment(state="healthy"), None)
    assert server.received == []


def test_a_rejected_message_is_logged_without_the_token(observer, server, caplog):
    server.status = 403
    observer.deploy_finished(make_deployment(state="failed"), None)
    assert "status 403" in caplog.text
    assert TOKEN not in caplog.text


def test_a_service_that_cannot_be_reached_is_logged(observer, server, caplog):
    server.shutdown()
    server.server_close()
    observer.deploy_finished(make_deployment(state="failed"), None)
    assert "cannot be reached" in caplog.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://acme.example"},
        {"token": ""},
        {"states": 1},
    ],
)
def test_invalid_settings_are_errors(wrong):
    values = {"url": "https://acme.example", "token": SecretStr(TOKEN)}
    with pytest.raises(ValidationError):
        AcmeConfig(**(values | wrong))
