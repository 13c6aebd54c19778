"""A host on the loopback address that must not be trusted: HTTPS with a self-signed certificate."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deploycore.testing.messages import Answer, Request, json_answer
from deploycore.testing.server import LOOPBACK, HttpServer

__all__ = ["UntrustedHost"]


class UntrustedHost:
    """Accepts any request, if the client accepts the certificate.

    Attributes:
        requests: The requests of clients that trusted the certificate, as ``METHOD path``.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self._server = _TlsServer(self._respond, port=0)

    @property
    def url(self) -> str:
        """The address of the server, without a slash at its end."""
        return f"https://{LOOPBACK}:{self._server.port}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        place: TracebackType | None,
    ) -> None:
        self._server.stop()

    def _respond(self, request: Request) -> Answer:
        self.requests.append(f"{request.method} {request.path}")
        return json_answer({})


class _TlsServer(HttpServer):
    """The server of sandboxes, with TLS."""

    def __init__(self, respond: Callable[[Request], Answer], *, port: int) -> None:
        self._context = _context()
        super().__init__(respond, port=port)

    def finish_request(self, request: object, client_address: object) -> None:
        """Serve one connection, if the client continues after it has seen the certificate."""
        plain = cast(socket.socket, request)
        with suppress(OSError), self._context.wrap_socket(plain, server_side=True) as connection:
            super().finish_request(connection, client_address)


def _context() -> ssl.SSLContext:
    """Return the TLS context with a new key, which exists only in this process and, for a moment,
    in a file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, LOOPBACK)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(LOOPBACK))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory(prefix="deploycore-kit-") as directory:
        chain = Path(directory) / "chain.pem"
        chain.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context.load_cert_chain(chain)
    return context
