"""A small OpenID Connect issuer on this machine, which can send wrong responses."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey

CLIENT_ID = "deploycore"
CLIENT_SECRET = "hunter2-of-the-client"


class FakeIssuer:
    """What the issuer says. Tests change it.

    Attributes:
        claims: Claims that are added to each token, or replace others. ``None`` leaves one out.
        metadata: The same for the discovery document.
        key: The key that signs.
        algorithm: The algorithm in the token's header.
        broken: Paths that are answered with an error.
        bodies: Paths that are answered with a body of another kind.
        asked: The paths of all requests.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.keys = [ECKey.generate_key("P-256", {"kid": "one", "use": "sig"})]
        self.key: Any = self.keys[0]
        self.algorithm = "ES256"
        self.claims: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}
        self.broken: set[str] = set()
        self.bodies: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.asked: list[str] = []
        self.authorizations: list[str | None] = []
        self._codes: dict[str, dict[str, str]] = {}

    def allow(self, address: str) -> str:
        """Sign the user in who comes with an address, and return the address to go back to."""
        given = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert given["client_id"] == CLIENT_ID
        assert given["code_challenge_method"] == "S256"
        code = f"code-{len(self._codes)}"
        self._codes[code] = given
        return f"{given['redirect_uri']}?code={code}&state={given['state']}"

    def answer(self, path: str, form: dict[str, str]) -> tuple[int, Any]:
        """The status and the body for a request."""
        if path in self.broken:
            return 500, {"error": "server_error"}
        if path == "/.well-known/openid-configuration":
            return 200, _without_none(
                {
                    "issuer": self.url,
                    "authorization_endpoint": f"{self.url}/authorize",
                    "token_endpoint": f"{self.url}/token",
                    "jwks_uri": f"{self.url}/keys",
                }
                | self.metadata
            )
        if path == "/keys":
            return 200, KeySet(self.keys).as_dict(private=False)
        if path == "/token":
            return self._token(form)
        return 404, {}

    def _token(self, form: dict[str, str]) -> tuple[int, Any]:
        given = self._codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if given is None or given["code_challenge"] != challenge:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "sub": "17",
            "iat": now,
            "exp": now + 300,
            "nonce": given["nonce"],
            "preferred_username": "ada",
        }
        return 200, {
            "access_token": "x",
            "token_type": "Bearer",
            "id_token": self.sign(_without_none(claims | self.claims)),
        }

    def sign(self, claims: dict[str, Any]) -> str:
        """A token with claims."""
        header = {"alg": self.algorithm, "kid": "one"}
        if self.algorithm == "none":
            parts = (json.dumps(header).encode(), json.dumps(claims).encode())
            encoded = [base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in parts]
            return ".".join([*encoded, ""])
        return jwt.encode(header, claims, self.key, algorithms=[self.algorithm])


def other_key() -> ECKey:
    """A key that the issuer does not publish, with the same id."""
    return ECKey.generate_key("P-256", {"kid": "one", "use": "sig"})


def secret_key() -> OctKey:
    """The client's secret as a key: a symmetric signature that anybody with it can make."""
    return OctKey.import_key(CLIENT_SECRET.ljust(32, "-"))


@contextmanager
def running_issuer() -> Iterator[FakeIssuer]:
    """An issuer that answers over HTTP."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._respond({})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            issuer.authorizations.append(self.headers.get("Authorization"))
            self._respond({name: values[0] for name, values in parse_qs(body).items()})

        def _respond(self, form: dict[str, str]) -> None:
            path = urlsplit(self.path).path
            issuer.asked.append(path)
            if path in issuer.redirects:
                self.send_response(302)
                self.send_header("Location", issuer.redirects[path])
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            status, content = issuer.answer(path, form)
            body = issuer.bodies.get(path, json.dumps(content).encode())
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer = FakeIssuer(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
