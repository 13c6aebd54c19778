"""A company's network on the loopback address: a proxy, TLS termination in front of a server, and
certificates."""

from __future__ import annotations

import base64
import contextlib
import datetime
import socket
import ssl
import threading
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Listening:
    """Accepts connections on its own port, each in a thread, until it is stopped.

    Attributes:
        port: The port.
    """

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._accepting = threading.Thread(target=self._serve, daemon=True)
        self._accepting.start()

    def stop(self) -> None:
        """Stop accepting connections.

        Closing the socket would not end a thread that is accepting: its descriptor may then belong
        to the next server, whose connections the thread would take.
        """
        with contextlib.suppress(OSError):  # it is stopped already
            self._listening.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listening.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._handle, args=(client,), daemon=True).start()

    def _handle(self, client: socket.socket) -> None:
        raise NotImplementedError


class Proxy(Listening):
    """An HTTP proxy for CONNECT and for absolute addresses.

    Attributes:
        seen: The first line and the headers of each request.
        demanded: The required ``user:password``, if any.
        refusal: A complete response to send instead, if any.
    """

    def __init__(self):
        self.seen = []
        self.demanded = None
        self.refusal = None
        super().__init__()

    def _handle(self, client):
        with client, contextlib.suppress(OSError), client.makefile("rb") as lines:
            while line := lines.readline():
                first, head = line.decode().split(), []
                while (header := lines.readline()) not in (b"\r\n", b""):
                    head.append(header.decode().strip())
                self.seen.append((line.decode().strip(), head))
                wanted = base64.b64encode((self.demanded or "").encode()).decode()
                if self.refusal:
                    client.sendall(self.refusal)
                elif self.demanded and f"Proxy-Authorization: Basic {wanted}".lower() not in (
                    each.lower() for each in head
                ):
                    client.sendall(b"HTTP/1.1 407 Authentication Required\r\n\r\n")
                elif first[0] == "CONNECT":
                    self._connect(client, first[1])
                else:
                    self._forward(client, first, head, lines)
                return

    def _connect(self, client, place):
        host, _, port = place.rpartition(":")
        with socket.create_connection((host, int(port))) as server:
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            other = threading.Thread(target=_pump, args=(server, client), daemon=True)
            other.start()
            _pump(client, server)
            other.join()

    def _forward(self, client, first, head, lines):
        host, _, path = first[1].removeprefix("http://").partition("/")
        port = host.partition(":")[2]  # names are this machine, whatever they are
        size = next((int(e.split(":")[1]) for e in head if e.lower().startswith("content-l")), 0)
        with socket.create_connection(("127.0.0.1", int(port))) as server:
            kept = [each for each in head if not each.lower().startswith("proxy-")]
            start = "\r\n".join([f"{first[0]} /{path} HTTP/1.0", *kept, "", ""])
            server.sendall(start.encode() + lines.read(size))
            _pump(server, client)


def _pump(source, sink):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


class TlsEnd(Listening):
    """Accepts TLS connections to ``localhost`` and forwards their data to a server without TLS.

    Args:
        port: The port of the server.
        certificate: A PEM file with the certificate and its key.
        client_ca: A PEM file; clients must show a certificate of this CA.

    Attributes:
        shown: The common name of each client's certificate; ``None`` if there was none.
    """

    def __init__(self, port: int, certificate: Path, *, client_ca: Path | None = None) -> None:
        self.shown: list[str | None] = []
        self._to = port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        if client_ca is not None:
            self._context.load_verify_locations(client_ca)
            self._context.verify_mode = ssl.CERT_REQUIRED
        super().__init__()
        self.origin = f"https://localhost:{self.port}"

    def _handle(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), self._context.wrap_socket(client, server_side=True) as s:
            subject = dict(each[0] for each in (s.getpeercert() or {}).get("subject", ()))
            self.shown.append(subject.get("commonName"))
            s.settimeout(60)  # else one thread's wait for data would lock out the other's writing
            with socket.create_connection(("127.0.0.1", self._to)) as server:
                other = threading.Thread(target=_pump, args=(server, s), daemon=True)
                other.start()
                _pump(s, server)
                other.join()


def write_certificate(path: Path, name: str) -> Path:
    """Write a PEM file with a self-signed certificate for ``localhost``, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path
