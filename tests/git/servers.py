"""Repositories that are written object by object, a server whose behavior tests can change, and
helper functions."""

from __future__ import annotations

import base64
import os
import ssl
import threading
from socketserver import ThreadingMixIn
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, WSGIServer, make_server

from dulwich.objects import Blob, Commit, ShaFile, Tree
from dulwich.repo import Repo
from dulwich.server import DictBackend
from dulwich.web import make_wsgi_chain

from deploycore.models import CloneUrl, GitCredential

SECRET = "s3cret-of-the-test/@"
FILE, EXECUTABLE, LINK, DIRECTORY, GITLINK = 0o100644, 0o100755, 0o120000, 0o40000, 0o160000


def source(url, *, secret=None):
    credential = GitCredential(username="ada", password=secret) if secret else None
    return CloneUrl(url=url, credential=credential)


def snapshot(root, *, without=b""):
    """What is on disk below a directory, ``.git`` left out: contents, links, executability.

    ``without`` names an entry of the directory whose content is left out, too.
    """
    found, left = {}, [(os.fsencode(root), b"")]
    while left:
        directory, prefix = left.pop()
        for entry in _entries(directory):
            key = prefix + entry.name
            if entry.is_symlink():
                found[key] = ("link", os.readlink(entry.path))
            elif not entry.is_dir():
                with open(entry.path, "rb") as file:
                    found[key] = ("file", file.read(), os.access(entry.path, os.X_OK))
            elif entry.name != b".git":
                found[key] = ("directory",)
                if key != without:
                    left.append((entry.path, key + b"/"))
    return found


def _entries(directory):
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except OSError:  # it does not exist
        return []


def nothing_left(target):
    return not os.path.lexists(target) and os.listdir(target.parent) == []


class Content:
    """A bare repository that is written object by object, whatever git would say to it."""

    def __init__(self, path):
        self.path = path
        self.repo = Repo.init_bare(str(path), mkdir=True, default_branch=b"main")
        self.url = ""

    def add(self, number, content):
        made = ShaFile.from_raw_string(number, content)
        self.repo.object_store.add_object(made)
        return made.id

    def blob(self, content):
        return self.add(Blob.type_num, content)

    def tree(self, *entries):
        """A tree of exactly these ``(mode, name, hash)``, neither sorted nor checked."""
        raw = b"".join(
            b"%o %s\0%s" % (mode, name, bytes.fromhex(hash_.decode()))
            for mode, name, hash_ in entries
        )
        return self.add(Tree.type_num, raw)

    def files(self, files):
        """A tree from paths to contents, or to ``(mode, contents)``."""
        here, below = [], {}
        for path, content in files.items():
            path = os.fsencode(path)
            first, slash, rest = path.partition(b"/")
            if slash:
                below.setdefault(first, {})[rest] = content
                continue
            mode, content = content if isinstance(content, tuple) else (FILE, content)
            here.append((mode, first, content if mode == GITLINK else self.blob(content)))
        here += [(DIRECTORY, name, self.files(inner)) for name, inner in below.items()]
        ordered = sorted(here, key=lambda e: e[1] + (b"/" if e[0] == DIRECTORY else b""))
        return self.tree(*ordered)

    def commit(self, tree, branch="main", *, message=b"Subject\n\nBody", author=None):
        ref = b"refs/heads/" + branch.encode()
        commit = Commit()
        commit.tree = tree
        commit.parents = [self.repo.refs[ref]] if ref in self.repo.refs else []
        commit.author = commit.committer = author or b"Ada Lovelace <ada@example.com>"
        commit.author_time = commit.commit_time = 1_700_000_000
        commit.author_timezone = commit.commit_timezone = 3600
        commit.message = message
        self.repo.object_store.add_object(commit)
        self.repo.refs[ref] = commit.id
        return commit.id.decode()


class Server:
    """dulwich's server, and what a test wants it to do otherwise.

    Attributes:
        requests: ``(method, path, Authorization)`` of all requests.
        credential: ``user:password`` that is demanded, if any.
        interfere: Called with ``environ`` and ``start_response`` first; answers, or ``None``.
        alter: Changes the body of answers to POST.
        released: Set in the end; what hangs on purpose waits for it.
    """

    def __init__(self, *, certificate=None):
        self.backend = DictBackend({})
        self.requests = []
        self.credential = None
        self.interfere = None
        self.alter = None
        self.released = threading.Event()
        self._git = make_wsgi_chain(self.backend)
        self._http = make_server(
            "127.0.0.1", 0, self._answer, server_class=_Threading, handler_class=_Silent
        )
        self.port = self._http.server_port
        self.origin = f"http://127.0.0.1:{self.port}"
        if certificate is not None:
            self.origin = f"https://localhost:{self.port}"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self):
        self.released.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def always(self, status, body=b"", **headers):
        """Answer everything in this way."""
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]

        def answer(environ, start_response):
            start_response(status, named or [("Content-Type", "text/plain")])
            return [body]

        self.interfere = answer

    def _answer(self, environ, start_response):
        authorisation = environ.get("HTTP_AUTHORIZATION")
        self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], authorisation))
        if self.interfere:
            answered = self.interfere(environ, start_response)
            if answered is not None:
                return answered
        if self.credential:
            wanted = "Basic " + base64.b64encode(self.credential.encode()).decode()
            if authorisation != wanted:
                challenge = [
                    ("WWW-Authenticate", 'Basic realm="git"'),
                    ("Content-Type", "text/plain"),
                ]
                start_response("401 Unauthorized", challenge)
                return [b"who are you?\n"]
        if self.alter and environ["REQUEST_METHOD"] == "POST":
            return [self.alter(self._whole(environ, start_response))]
        return self._git(environ, start_response)

    def _whole(self, environ, start_response):
        """The body of an answer, whether it was returned or written (PEP 3333 has both)."""
        written = []

        def start(status, headers, exc_info=None):
            start_response(status, headers)
            return written.append

        returned = list(self._git(environ, start))
        return b"".join(written + returned)


class _Threading(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request, client_address):
        """Clients that go away are what some tests are about."""


class _SilentHandler(ServerHandler):
    def log_exception(self, exc_info):
        """dulwich raises what it refuses."""


class _Silent(WSGIRequestHandler):
    def log_message(self, *arguments):
        """No log."""

    def handle(self):
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            return
        handler = _SilentHandler(self.rfile, self.wfile, self.get_stderr(), self.get_environ())
        handler.request_handler = self
        handler.run(self.server.get_app())
