"""A git server that sends the given responses byte by byte, in protocol version 2 or 0.

It holds no repository: refs and a pack are given, and any of the three answers (what the
server can do, its refs, the pack) can be replaced. The protocol is the one that is asked for.

Sources: https://git-scm.com/docs/protocol-v2, https://git-scm.com/docs/gitprotocol-pack and
https://git-scm.com/docs/http-protocol
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.hostile.packs import Object, pack_of

ADVERTISEMENT = "application/x-git-upload-pack-advertisement"
RESULT = "application/x-git-upload-pack-result"
FLUSH, DELIMITER = b"0000", b"0001"
_BAND_MOST = 65_515
_CAPABILITIES_0 = b"shallow side-band-64k ofs-delta thin-pack allow-tip-sha1-in-want no-progress"


def line(content: bytes) -> bytes:
    """A pkt-line."""
    return b"%04x" % (len(content) + 4) + content


def lines(*contents: bytes) -> bytes:
    """Pkt-lines, and a flush."""
    return b"".join(map(line, contents)) + FLUSH


def band(number: int, content: bytes) -> bytes:
    """Content in a side band: 1 is the pack, 2 progress, 3 an error."""
    return b"".join(
        line(bytes([number]) + content[at : at + _BAND_MOST])
        for at in range(0, len(content), _BAND_MOST)
    )


@dataclass(frozen=True)
class Request:
    """What a client sent.

    Attributes:
        version: Of the protocol that it asks for: 2, or 0.
    """

    method: str
    path: str
    authorization: str | None
    version: int
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What is answered.

    Attributes:
        body: Bytes are sent with their length, an iterable is sent chunk by chunk.
        length: What Content-Length says instead of the truth.
        raw: Sent as it is, instead of an HTTP answer; then the connection is closed.
    """

    body: bytes | Iterable[bytes] = b""
    kind: str = RESULT
    status: str = "200 OK"
    headers: tuple[tuple[str, str], ...] = ()
    length: int | None = None
    raw: Iterable[bytes] | None = None


Step = Callable[[Request], "Answer | None"]


@dataclass
class Script:
    """What a server answers, where that is not what a server should.

    Attributes:
        refs: ``(hash, name)``; the first one is what HEAD is, too.
        pack: What is sent as the pack.
        object_format: What the server says to have; nothing if empty, which means SHA-1.
        before: Sent before the pack, after the line that announces it.
        discover: Answers the first request.
        list_refs: Answers the question for refs, which only version 2 has.
        fetch: Answers the request for the pack.
    """

    refs: list[tuple[bytes, bytes]] = field(default_factory=list)
    pack: bytes = b""
    object_format: bytes = b""
    before: bytes = b""
    discover: Step | None = None
    list_refs: Step | None = None
    fetch: Step | None = None

    def serve(self, tip: Object, *others: Object) -> None:
        """Serve a commit as the branch ``main``, in a pack of these objects."""
        self.serve_pack(tip, pack_of(tip, *others))

    def serve_pack(self, tip: Object, pack: bytes) -> None:
        """Serve a commit as the branch ``main``, and this as the pack that has it."""
        self.refs = [(tip.name, b"refs/heads/main")]
        self.pack = pack

    def answer(self, request: Request) -> Answer:
        """What a request gets."""
        if request.method == "GET":
            step, usual = self.discover, self._discovered
        elif b"command=ls-refs" in request.body:
            step, usual = self.list_refs, self._listed
        else:
            step, usual = self.fetch, self._fetched
        return (step and step(request)) or usual(request)

    def _discovered(self, request: Request) -> Answer:
        if request.version == 2:
            said = [self._format + b"\n"] if self.object_format else []
            able = (b"version 2\n", b"ls-refs\n", b"fetch=shallow\n")
            return Answer(lines(*able, *said), ADVERTISEMENT)
        refs = advertised(self.refs, self._format)
        return Answer(lines(b"# service=git-upload-pack\n") + refs, ADVERTISEMENT)

    @property
    def _format(self) -> bytes:
        return b"object-format=" + self.object_format if self.object_format else b""

    def _listed(self, request: Request) -> Answer:
        first, name = self.refs[0]
        head = first + b" HEAD symref-target:" + name + b"\n"
        return Answer(lines(head, *(hash_ + b" " + name + b"\n" for hash_, name in self.refs)))

    def _fetched(self, request: Request) -> Answer:
        return Answer(preamble(request) + self.before + band(1, self.pack) + FLUSH)


def preamble(request: Request) -> bytes:
    """What comes before the bands."""
    if request.version == 2:
        return line(b"packfile\n")
    return (FLUSH if b"deepen" in request.body else b"") + line(b"NAK\n")


def advertised(refs: list[tuple[bytes, bytes]], *able: bytes) -> bytes:
    """Refs as version 0 tells them.

    Args:
        able: What the server can do besides.
    """
    symref = b" ".join((b" symref=HEAD:" + refs[0][1], *able))
    first = refs[0][0] + b" HEAD\0" + _CAPABILITIES_0 + symref + b"\n"
    return lines(first, *(hash_ + b" " + name + b"\n" for hash_, name in refs))


class HostileServer:
    """A script, served on loopback.

    Attributes:
        script: What is answered; may be replaced between requests.
        requests: All that came.
        released: Set in the end; what hangs on purpose waits for it.
    """

    def __init__(self) -> None:
        self.script = Script()
        self.requests: list[Request] = []
        self.released = threading.Event()
        self._http = _Listening(("127.0.0.1", 0), _Connection)
        self._http.hostile = self
        self.origin = f"http://127.0.0.1:{self._http.server_address[1]}"
        self.url = f"{self.origin}/shop.git"
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Let go of what hangs, and close."""
        self.released.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Listening(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    hostile: HostileServer

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are what the tests are about."""


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listening

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, *arguments: object) -> None:
        """No log."""

    def _answer(self) -> None:
        hostile = self.server.hostile
        request = self._request()
        hostile.requests.append(request)
        answer = hostile.script.answer(request)
        with suppress(OSError):
            self._send(answer)

    def _request(self) -> Request:
        asked = self.headers.get("Git-Protocol", "")
        return Request(
            method=self.command,
            path=self.path,
            authorization=self.headers.get("Authorization"),
            version=2 if "version=2" in asked else 0,
            body=self._body(),
        )

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def _send(self, answer: Answer) -> None:
        if answer.raw is not None:
            self.close_connection = True
            for part in answer.raw:
                self.wfile.write(part)
            return
        head = f"HTTP/1.1 {answer.status}\r\nContent-Type: {answer.kind}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
        if isinstance(answer.body, bytes):
            length = len(answer.body) if answer.length is None else answer.length
            self.close_connection = answer.length is not None
            self.wfile.write(f"{head}Content-Length: {length}\r\n\r\n".encode() + answer.body)
            return
        self.wfile.write(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        for part in answer.body:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")
