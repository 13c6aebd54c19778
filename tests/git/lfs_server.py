"""Git LFS servers on the loopback address, whose behavior tests can change."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from deploycore.git.lfs.pointers import Pointer

MEDIA_TYPE = "application/vnd.git-lfs+json"


def pointer_to(content):
    return Pointer(hashlib.sha256(content).hexdigest(), len(content))


def pointer_file(oid, size):
    """What git holds in the place of a file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n".encode()


class LfsServer:
    """Answers the batch API and gives what it holds.

    Attributes:
        objects: Contents by hash.
        requests: ``(method, path, headers)`` of all requests; names of headers in lower case.
        batches: The decoded bodies of all batch requests.
        credential: ``user:password`` that the batch API demands, if any.
        alter: Called with the batch answer, a dictionary; gives the one that is sent.
        interfere: Called with the handler first; says whether it has answered.
        connections: How many were made.
    """

    def __init__(self, *, certificate=None):
        self.objects = {}
        self.requests = []
        self.batches = []
        self.credential = None
        self.alter = lambda answer: answer
        self.interfere = lambda handler: False
        self.connections = 0
        self.released = threading.Event()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._http.block_on_close = False
        port = self._http.server_port
        self.origin = f"http://127.0.0.1:{port}"
        if certificate is not None:
            self.origin = f"https://localhost:{port}"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.url = f"{self.origin}/shop.git"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self):
        self.released.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def add(self, content):
        pointer = pointer_to(content)
        self.objects[pointer.oid] = content
        return pointer

    def downloads(self):
        return [request for request in self.requests if request[0] == "GET"]

    def offer(self, asked):
        """What a batch answer has of one object."""
        given = {"oid": asked["oid"], "size": asked["size"]}
        if asked["oid"] in self.objects:
            action = {"href": f"{self.origin}/objects/{asked['oid']}"}
            return given | {"actions": {"download": action}}
        return given | {"error": {"code": 404, "message": "Object does not exist"}}

    def _handler(self):
        lfs = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                lfs.connections += 1
                super().setup()

            def log_message(self, *arguments):
                """No log."""

            def give(self, status, body, **headers):
                self.send_response(status)
                headers.setdefault("Content_Length", str(len(body)))
                for name, value in headers.items():
                    if value is not None:
                        self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.noted()
                if not lfs.interfere(self):
                    lfs.answer(self, json.loads(body))

            def do_GET(self):
                self.noted()
                if not lfs.interfere(self):
                    content = lfs.objects.get(self.path.rpartition("/")[2])
                    self.give(404, b"") if content is None else self.give(200, content)

            def noted(self):
                headers = {name.lower(): value for name, value in self.headers.items()}
                lfs.requests.append((self.command, self.path, headers))

        return Handler

    def answer(self, handler, asked):
        self.batches.append(asked)
        wanted = self.credential and base64.b64encode(self.credential.encode()).decode()
        if wanted and handler.headers["Authorization"] != f"Basic {wanted}":
            handler.give(401, b'{"message": "Credentials needed"}', Content_Type=MEDIA_TYPE)
            return
        answer = {"transfer": "basic", "objects": [self.offer(each) for each in asked["objects"]]}
        body = json.dumps(self.alter(answer)).encode()
        handler.give(200, body, Content_Type=MEDIA_TYPE)


class StockLfsServer(LfsServer):
    """Takes what ``git lfs push`` uploads, too, and says that nobody has locked a file."""

    def _handler(self):
        lfs = self

        class Handler(super()._handler()):
            def do_PUT(self):  # noqa: N802
                content = self.rfile.read(int(self.headers["Content-Length"]))
                self.noted()
                assert lfs.add(content).oid == self.path.rpartition("/")[2]
                self.give(200, b"")

        return Handler

    def offer(self, asked):
        if self.batches[-1]["operation"] != "upload":
            return super().offer(asked)
        given = {"oid": asked["oid"], "size": asked["size"]}
        return given | {"actions": {"upload": {"href": f"{self.origin}/objects/{asked['oid']}"}}}

    def answer(self, handler, asked):
        if handler.path.endswith("/locks/verify"):
            handler.give(200, b'{"ours": [], "theirs": []}', Content_Type=MEDIA_TYPE)
            return
        super().answer(handler, asked)


class LfsOfGit:
    """Git and its LFS at one origin, as hosts have it: beside a ``Server``.

    Attributes:
        objects: What is given for a hash, whatever it is.
        asked: The paths of all downloads.
        batches: How many batch requests there were.
        alter: Called with what the batch answer has of one object; may change it.
    """

    def __init__(self, server):
        self.objects = {}
        self.asked = []
        self.batches = 0
        self.alter = lambda each: None
        self._origin = server.origin
        server.interfere = self._answer

    def add(self, content):
        """Keep a content; the pointer that git holds."""
        pointer = pointer_to(content)
        self.objects[pointer.oid] = content
        return pointer_file(pointer.oid, pointer.size)

    def _answer(self, environ, start_response):
        path = environ["PATH_INFO"]
        if path.startswith("/objects/"):
            self.asked.append(path)
            start_response("200 OK", [("Content-Type", "application/octet-stream")])
            return [self.objects[path.removeprefix("/objects/")]]
        if not path.endswith("/info/lfs/objects/batch"):
            return None
        self.batches += 1
        batch = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        given = [
            each | {"actions": {"download": {"href": f"{self._origin}/objects/{each['oid']}"}}}
            for each in batch["objects"]
        ]
        for each in given:
            self.alter(each)
        start_response("200 OK", [("Content-Type", MEDIA_TYPE)])
        return [json.dumps({"transfer": "basic", "objects": given}).encode()]
