"""An HTTP/1.1 server on a loopback socket, with keep-alive, threads, and ways to fail on purpose.

It uses the server of the standard library. The development servers of web frameworks close the
connection after each response, and faults such as a cut body must be caused at the socket. It
listens only on 127.0.0.1.
"""

from __future__ import annotations

import gzip
import os
import socket
import socketserver
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import BinaryIO, cast

from deploycore.testing.messages import Answer, Request

__all__ = ["LOOPBACK", "HttpServer"]

LOOPBACK = "127.0.0.1"
CHUNK_BYTES = 64 * 1024
RESET_ON_CLOSE = struct.pack("ii", 1, 0)

Respond = Callable[[Request], Answer]


class HttpServer(socketserver.TCPServer):
    """Listens when it is created, and serves in threads after ``start``.

    Args:
        respond: Returns the response to a request. It is called by several threads at once.
        port: The port to listen on; 0 for any free port.

    Raises:
        OSError: The port cannot be used.
    """

    allow_reuse_address = True
    request_queue_size = 128
    timeout = 1.0  # seconds to wait for a connection before the stop flag is checked

    def __init__(self, respond: Respond, *, port: int) -> None:
        self.respond = respond
        self.stopping = threading.Event()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self.lock = threading.Lock()
        self._thread = threading.Thread(target=self._accept, name="loopback-host", daemon=True)
        super().__init__((LOOPBACK, port), _Connection)

    @property
    def port(self) -> int:
        return self.server_address[1]

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Close every connection, including those that clients keep alive, and end all threads."""
        self.stopping.set()
        # A connection to itself ends the wait for the next connection. Checking the stop flag often
        # would keep each server busy, and would delay ``stop``.
        with suppress(OSError), socket.create_connection((LOOPBACK, self.port), timeout=1):
            pass
        self._thread.join()
        with self.lock:  # none of them is closed meanwhile, and its descriptor given out again
            still_open = dict(self._connections)
            for connection in still_open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in still_open.values():
            thread.join()
        self.server_close()

    def _accept(self) -> None:
        while not self.stopping.is_set():
            self.handle_request()

    def verify_request(self, request: object, client_address: object) -> bool:
        """Return whether to serve a connection; false after ``stop``."""
        return not self.stopping.is_set()

    def process_request(self, request: object, client_address: object) -> None:
        """Serve one connection in its own thread, which ``stop`` can end."""
        connection = cast(socket.socket, request)
        thread = threading.Thread(
            target=self._serve, args=(connection, client_address), name="loopback-host", daemon=True
        )
        with self.lock:
            self._connections[connection] = thread
        thread.start()

    def _serve(self, connection: socket.socket, client_address: tuple[str, int]) -> None:
        try:
            # A client may close its connection at any time; that is not an error of the server.
            with suppress(ConnectionError):
                self.finish_request(connection, client_address)
        finally:
            with self.lock:
                self.shutdown_request(connection)
                del self._connections[connection]


class _Connection(BaseHTTPRequestHandler):
    """One connection: it reads requests and sends responses until one side closes it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: HttpServer

    def _handle(self) -> None:
        request = self._read_request()
        if request is None:
            self.send_error(HTTPStatus.BAD_REQUEST)
            self.close_connection = True
            return
        answer = self.server.respond(request)
        if answer.delay:
            self.server.stopping.wait(answer.delay)
        if answer.reset:
            self._reset()
        else:
            self._send(answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _handle  # noqa: N815

    def _read_request(self) -> Request | None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            body = _body(cast(BinaryIO, self.rfile), headers)
        except (ValueError, EOFError, gzip.BadGzipFile, zlib.error):
            return None
        return Request(self.command, self.path, headers, body)

    def _send(self, answer: Answer) -> None:
        if answer.cut_after is not None:
            self.close_connection = True
        if isinstance(answer.body, bytes):
            length = {"Content-Length": str(len(answer.body))}
            head = self._head(answer.status, {**answer.headers, **length})
            self.wfile.write(head + answer.body[: answer.cut_after])
            return
        chunked = {"Transfer-Encoding": "chunked"}
        self.wfile.write(self._head(answer.status, {**answer.headers, **chunked}))
        chunks = _Chunks(self.wfile.write, most=answer.cut_after)
        answer.body(chunks.write)
        chunks.close()

    def _head(self, status: int, headers: dict[str, str]) -> bytes:
        phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
        lines = [f"HTTP/1.1 {status} {phrase}", f"Date: {self.date_time_string()}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        # Closed without a shutdown, which would end the connection in the normal way.
        with self.server.lock:
            os.close(self.connection.detach())

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the host has its own log, without secrets."""


class _Chunks:
    """Writes a body in the chunked transfer coding (RFC 9112, section 7.1).

    Args:
        most: The number of bytes to send before the connection is closed.
    """

    def __init__(self, write: Callable[[bytes], object], *, most: int | None) -> None:
        self._write = write
        self._left = most
        self._buffer = bytearray()

    def write(self, data: bytes) -> None:
        """Send a part of the body, at once or together with the next part.

        Raises:
            ConnectionAbortedError: The maximum number of bytes is sent.
        """
        self._buffer += data[: self._left]
        if self._left is not None:
            self._left = max(0, self._left - len(data))
        if len(self._buffer) >= CHUNK_BYTES or self._left == 0:
            self._flush()
        if self._left == 0:
            raise ConnectionAbortedError

    def close(self) -> None:
        self._flush()
        self._write(b"0\r\n\r\n")

    def _flush(self) -> None:
        if self._buffer:
            self._write(b"%x\r\n%b\r\n" % (len(self._buffer), bytes(self._buffer)))
            self._buffer.clear()


def _body(stream: BinaryIO, headers: Mapping[str, str]) -> bytes:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = b"".join(_dechunked(stream))
    else:
        length = int(headers.get("content-length", 0))
        body = stream.read(length)
        if len(body) < length:
            raise EOFError
    return gzip.decompress(body) if "gzip" in headers.get("content-encoding", "") else body


def _dechunked(stream: BinaryIO) -> Iterator[bytes]:
    while size := int(stream.readline().partition(b";")[0], 16):
        yield stream.read(size)
        stream.readline()
    while stream.readline().strip():
        pass  # trailers
