"""Loopback servers that fail, and clients whose waits are recorded instead of done."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import SecretStr

from deploycore.http import BearerAuth, HttpClient, HttpSettings
from deploycore.redaction import Redactor

SECRET = "hunter2-very-secret"

Reply = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Responds with the server's ``reply``, and records the requests."""

    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        self.server.asked.append((self.command, self.path, dict(self.headers)))
        self.server.reply(self)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - http.server's names

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def send(self, body: bytes, status: int = 200, **headers: str) -> None:
        """Return a complete response."""
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Log nothing."""


class Server(ThreadingHTTPServer):
    """A server on the loopback address."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, reply: Reply) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.reply = reply
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.connections = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that close the connection, which the tests do."""


@pytest.fixture
def serve() -> Iterator[Callable[[Reply], Server]]:
    """Starts servers, each with a function that handles a request."""
    servers: list[socketserver.BaseServer] = []

    def start(reply: Reply) -> Server:
        server = Server(reply)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def waited() -> list[float]:
    """The seconds for which clients would have waited."""
    return []


@pytest.fixture
def client(waited: list[float]) -> Iterator[Callable[..., HttpClient]]:
    """Creates clients that do not really wait: ``client(base_url, auth=…, retries=…)``."""
    made: list[HttpClient] = []

    def make(base_url: str, *, auth: object = None, **settings: object) -> HttpClient:
        secret = SecretStr(SECRET)
        opened = HttpClient(
            base_url,
            auth=BearerAuth(secret) if auth is None else auth,
            redactor=Redactor([secret]),
            settings=HttpSettings(**settings),
        )
        opened._sleep = waited.append
        opened._random = lambda: 1.0
        made.append(opened)
        return opened

    yield make
    for opened in made:
        opened.close()


@pytest.fixture
def secret() -> str:
    """A secret that must not appear anywhere."""
    return SECRET
