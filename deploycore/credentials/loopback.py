"""Listen on 127.0.0.1 for the response to an authorization request (RFC 8252, 7.3).

The listener accepts one request, the one that belongs to the sign-in, and rejects all others. It
logs nothing, because the query has the code.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from deploycore.credentials.authorize import CALLBACK, redirect_uri
from deploycore.errors import ConfigurationError

__all__ = ["RedirectListener"]

_LOOPBACK = "127.0.0.1"
_READ_SECONDS = 5.0
_PAGE = "<!DOCTYPE html>\n<meta charset=utf-8>\n<title>deploycore</title>\n<p>{}</p>\n"
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Connection": "close",
}


class RedirectListener:
    """A listener that starts when it is created. Use it as a context manager.

    Args:
        port: The port to listen on; 0 for any free port.

    Raises:
        ConfigurationError: The port is in use.
    """

    def __init__(self, port: int = 0) -> None:
        self._answers: queue.Queue[str] = queue.Queue(maxsize=1)
        self._belongs: Callable[[str], bool] = lambda query: False
        self._lock = threading.Lock()
        self._is_done = False
        try:
            self._server = _Server((_LOOPBACK, port), self)
        except OSError as error:
            raise ConfigurationError(
                f"deploycore cannot listen on port {port} of this machine: {error.strerror}.",
                hint="Choose another port with --port, or use --no-browser to paste the address.",
            ) from None
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="deploycore-redirect", daemon=True
        )

    @property
    def redirect_uri(self) -> str:
        """Return the redirect address that leads to this listener."""
        return redirect_uri(self._server.server_address[1])

    def wait(self, belongs: Callable[[str], bool], seconds: float) -> str | None:
        """Wait for the request that belongs to the sign-in.

        Args:
            belongs: Returns whether a query belongs to the sign-in.

        Returns:
            The query of the request; ``None`` if it did not arrive in time.
        """
        self._belongs = belongs
        try:
            return self._answers.get(timeout=seconds)
        except queue.Empty:
            return None

    def accept(self, target: str, host: str) -> tuple[int, str]:
        """Return the status and the text of the page for a request."""
        path, _, query = target.partition("?")
        if path != CALLBACK or host != f"{_LOOPBACK}:{self._server.server_address[1]}":
            return 404, "This page does not exist."
        with self._lock:
            if self._is_done or not self._belongs(query):
                return 400, "This answer does not belong to a sign-in that deploycore waits for."
            self._is_done = True
        return 200, "deploycore has the answer. You can close this page."

    def deliver(self, target: str) -> None:
        """Pass on the query of the request that was accepted, after its page was sent."""
        self._answers.put(target.partition("?")[2])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def __init__(self, address: tuple[str, int], listener: RedirectListener) -> None:
        self.listener = listener
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: an error would show what the client sent."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _READ_SECONDS
    server: _Server

    def do_GET(self) -> None:
        listener = self.server.listener
        status, text = listener.accept(self.path, self.headers.get("Host", ""))
        try:
            self._send(status, _PAGE.format(text).encode())
        finally:
            if status == 200:
                listener.deliver(self.path)

    def _send(self, status: int, body: bytes) -> None:
        self.send_response_only(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: the query has the code."""
