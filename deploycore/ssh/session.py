"""One command on an SSH server, with the bytes that it sends and receives.

AsyncSSH implements the protocol. Its event loop runs in the calling thread, and only while that
thread waits for the server. So no other thread is needed, and no more is read than requested.
AsyncSSH gets a connected socket. A deadline or a cancellation shuts it down; see ``http.wire``.

The server is not trusted: the data that it sends besides the command's output is limited.
deploycore requests no terminal, and forwards no agent, port or display. It signs in only with keys.

Source: RFC 4252 to 4254
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

import asyncssh

from deploycore.errors import HostKeyRefused
from deploycore.http.wire import Wire
from deploycore.ssh.failures import flooded, host_key_refusal, translated
from deploycore.ssh.keys import agent_keys, read_private_key
from deploycore.ssh.known_hosts import HostKey, KnownHosts
from deploycore.ssh.meter import Metered
from deploycore.ssh.reaching import reach
from deploycore.ssh.server import SshServer

if TYPE_CHECKING:
    from deploycore.models import SshCredential

__all__ = ["Command", "running", "sign_in"]

_T = TypeVar("_T")

_MAX_BANNER_CHARACTERS = 64 * 1024
_MAX_STDERR_BYTES = 1024 * 1024
_KEPT_STDERR_BYTES = 8 * 1024
_CLOSING_SECONDS = 2.0
_INPUT_BYTES = 64 * 1024
# The server chooses the first that it has too. AES is faster than ChaCha20 on most processors.
_CIPHERS = (
    "aes256-gcm@openssh.com",
    "aes128-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
    "aes192-ctr",
    "aes128-ctr",
)
# The signatures of each kind of key, the preferred kind first.
_SIGNATURES: Mapping[str, tuple[str, ...]] = {
    "ssh-ed25519": ("ssh-ed25519",),
    "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
    "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}
# Everything that AsyncSSH would otherwise take from the user's files and environment, and
# everything that a server could ask for besides a signature.
_OPTIONS: Mapping[str, Any] = {
    "config": None,
    "x509_trusted_certs": [],
    "x509_trusted_cert_paths": [],
    "known_hosts": ([], [], []),  # ``_Client`` decides
    "compression_algs": ["none"],  # a few bytes could become any number
    "encryption_algs": list(_CIPHERS),
    "preferred_auth": "publickey",
    "public_key_auth": True,
    "password_auth": False,
    "kbdint_auth": False,
    "host_based_auth": False,
    "gss_auth": False,
    "gss_kex": False,
    "agent_path": None,
    "agent_identities": None,
    "agent_forwarding": False,
    "client_certs": [],
    "client_host_keysign": False,
    "pkcs11_provider": None,
    "x11_forwarding": False,
    "request_pty": False,
    "send_env": None,
    "client_version": "deploycore",
    "login_timeout": 0,  # the caller has its own
}


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that starts no threads.

    Args:
        client: Notified of a flood.
    """

    def __init__(self, client: _Client) -> None:
        super().__init__()
        self._client = client

    async def create_connection(self, protocol_factory: Any, **options: Any) -> Any:  # type: ignore[override]
        """Connect a protocol, and count the bytes that it receives."""
        protocol, client = protocol_factory(), self._client
        metered = Metered(
            protocol, lambda: client.useful_bytes, lambda: client.note_flood("messages besides")
        )
        transport, _ = await super().create_connection(lambda: metered, **options)
        return transport, protocol

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        """Run a function at once."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def wait(self, what: Awaitable[_T], seconds: float) -> _T:
        """Run until a future is done, even in a thread that runs another loop.

        Raises:
            TimeoutError: It takes too long.
        """
        outer = asyncio._get_running_loop()
        asyncio._set_running_loop(None)
        try:
            return self.run_until_complete(asyncio.wait_for(what, seconds))
        finally:
            asyncio._set_running_loop(outer)

    def finish(self) -> None:
        """Cancel all remaining tasks, and close the loop."""
        left = asyncio.all_tasks(self)
        for each in left:
            each.cancel()
        with suppress(Exception):
            if left:
                self.wait(asyncio.wait(left), _CLOSING_SECONDS)
        self.close()


class _Client(asyncssh.SSHClient):
    """Checks the server's key, and limits what the server sends.

    Attributes:
        host_key: The server's key, as soon as it is known.
        is_lost: Whether the connection has ended.
        flood: What the server sent too much of, so that the connection was ended; or nothing.
        useful_bytes: How much a command wrote.
    """

    def __init__(self, trusted: tuple[HostKey, ...], revoked: tuple[HostKey, ...]) -> None:
        self.host_key: HostKey | None = None
        self._trusted = trusted
        self._revoked = revoked
        self.is_lost = False
        self.flood = ""
        self.useful_bytes = 0
        self._banner = 0
        self._connection: asyncssh.SSHClientConnection | None = None

    @property
    def signatures(self) -> list[str]:
        """Return the signature algorithms to offer: those of the known keys first."""
        known = [each.kind for each in self._trusted if each.kind in _SIGNATURES]
        return [
            sign for kind in dict.fromkeys((*known, *_SIGNATURES)) for sign in _SIGNATURES[kind]
        ]

    def refusal(self, server: SshServer) -> HostKeyRefused | None:
        """Return the error for the server's key, if the server has sent one."""
        if self.host_key is None:
            return None
        return host_key_refusal(server, self.host_key, self._trusted, self._revoked)

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        """Remember the connection."""
        self._connection = conn

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        """Return whether the server's key is a known key."""
        self.host_key = HostKey(key.public_data)
        return self.host_key in self._trusted and self.host_key not in self._revoked

    def auth_banner_received(self, msg: str, lang: str) -> None:
        """Ignore a banner; close the connection if banners do not end."""
        self._banner += len(msg) + 1
        if self._banner > _MAX_BANNER_CHARACTERS and self._connection is not None:
            self.note_flood("banners")
            self._connection.abort()

    def note_flood(self, what: str) -> None:
        """Remember why the connection is ended."""
        self.flood = self.flood or what

    def connection_lost(self, exc: Exception | None) -> None:
        """Record that the connection has ended."""
        self.is_lost = True


class _Session(asyncssh.SSHClientSession[bytes]):
    """Receives the output of a command.

    Attributes:
        chunks: Output that has not been read yet.
        stderr: The beginning of what it wrote to its standard error.
        exit_status: Its exit status; ``None`` while it runs, or if a signal ended it.
        is_over: Whether the output has ended.
        error: Why the connection ended, if the command did not.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, client: _Client) -> None:
        self.chunks: list[bytes] = []
        self.stderr = b""
        self.stderr_bytes = 0
        self.exit_status: int | None = None
        self.has_eof = False
        self.is_over = False
        self.error: Exception | None = None
        self._loop = loop
        self._client = client
        self._waiting: asyncio.Future[None] | None = None

    def something(self) -> asyncio.Future[None]:
        """Return a future that is done when the next data or event arrives."""
        self._waiting = self._loop.create_future()
        return self._waiting

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Store output, or data from the standard error."""
        self._client.useful_bytes += len(data)
        if datatype is None:
            self.chunks.append(data)
            self._wake()
            return
        self.stderr_bytes += len(data)
        self.stderr += data[: _KEPT_STDERR_BYTES - len(self.stderr)]
        if self.stderr_bytes > _MAX_STDERR_BYTES:
            self._wake()

    def eof_received(self) -> bool:
        """Record the end of the output; the exit status may follow."""
        self.has_eof = True
        self._wake()
        return False

    def exit_status_received(self, status: int) -> None:
        """Record the exit status."""
        self.exit_status = status

    def connection_lost(self, exc: Exception | None) -> None:
        """Record that the connection has ended."""
        self.is_over, self.error = True, exc
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class Command:
    """A command that runs on a server.

    Attributes:
        silence: Seconds to wait for more data.
    """

    def __init__(
        self,
        server: SshServer,
        loop: _Loop,
        client: _Client,
        session: _Session,
        channel: asyncssh.SSHClientChannel[bytes],
        silence: float,
    ) -> None:
        self._server = server
        self._loop = loop
        self._client = client
        self._session = session
        self._channel = channel
        self.silence = silence

    @property
    def stderr(self) -> bytes:
        """The beginning of the command's standard error so far."""
        return self._session.stderr

    @property
    def exit_status(self) -> int | None:
        """The exit status when the output has ended; ``None`` if there is none."""
        return self._session.exit_status

    def write(self, data: bytes) -> None:
        """Queue input; it is sent while the caller waits for output."""
        if not self._session.is_over:
            self._channel.write(data)

    def take_input(self, source: socket.socket) -> None:
        """Send everything that arrives at a socket, while the caller waits for output."""
        self._loop.add_reader(source, lambda: self.write(source.recv(_INPUT_BYTES)))

    def read(self) -> bytes:
        """Wait for output, and return at least one byte; empty at the end of the output.

        Raises:
            TimeoutError: Nothing arrives for too long.
            ConnectionError: The connection is lost.
            LimitExceeded: The command writes too much to its standard error.
            GitError: The server breaks the protocol.
        """
        session = self._session
        while not session.chunks and not session.is_over:
            seconds = min(self.silence, _CLOSING_SECONDS) if session.has_eof else self.silence
            try:
                self._loop.wait(session.something(), seconds)
            except TimeoutError:
                if session.has_eof:
                    return b""
                raise
            self._refuse_flood()
        self._refuse_flood()
        if session.chunks:
            data = b"".join(session.chunks)
            session.chunks.clear()
            return data
        if session.error is not None:
            raise translated(session.error, self._server)
        return b""

    def _refuse_flood(self) -> None:
        if self._client.flood:
            raise flooded(self._server, self._client.flood)
        if self._session.stderr_bytes > _MAX_STDERR_BYTES:
            raise flooded(self._server, "messages of the command")


@contextmanager
def running(
    server: SshServer,
    credential: SshCredential,
    command: str,
    connected: socket.socket,
    *,
    environment: Mapping[str, str],
    silence: float,
) -> Iterator[Command]:
    """Run a command on a server; the command ends with the context.

    Args:
        connected: A new connection to the server. It is closed with the context.
        environment: Variables for the command; servers may ignore them.
        silence: Seconds to wait for more data, and to sign in.

    Raises:
        ConfigurationError: The key cannot be used.
        HostKeyRefused: The server's key is not among the known ones.
        KeyRefused: The server does not accept the key.
        ConnectionError: The connection is lost.
        TimeoutError: The server does not answer.
        GitError: The server breaks the protocol.
    """
    client = _client_for(server, credential)
    with _connected(server, credential, client, connected, silence) as (loop, connection):
        session = _Session(loop, client)
        opening = connection.create_session(
            lambda: session, command, env=list(environment.items()), encoding=None
        )
        channel, _ = _translating(lambda: loop.wait(opening, silence), server, client)
        yield Command(server, loop, client, session, channel, silence)


def sign_in(server: SshServer, credential: SshCredential, wire: Wire, *, silence: float) -> None:
    """Sign in to a server without running a command.

    Errors are those of ``reach`` and ``running``.
    """
    client = _client_for(server, credential)
    with _connected(server, credential, client, reach(server, wire), silence):
        pass


def _client_for(server: SshServer, credential: SshCredential) -> _Client:
    hosts = KnownHosts(credential.host_keys)
    place = (server.host, server.port)
    return _Client(hosts.trusted(*place), hosts.revoked(*place))


@contextmanager
def _connected(
    server: SshServer,
    credential: SshCredential,
    client: _Client,
    connected: socket.socket,
    seconds: float,
) -> Iterator[tuple[_Loop, asyncssh.SSHClientConnection]]:
    """Sign in over a connection, which is closed with the context."""
    loop = _Loop(client)
    loop.set_exception_handler(lambda *_: None)  # asyncio's own would log what a server sent
    connection: asyncssh.SSHClientConnection | None = None
    try:
        connected.setblocking(False)
        connecting = _sign_in(connected, server, credential, client)
        connection = _translating(lambda: loop.wait(connecting, seconds), server, client)
        yield loop, connection
    finally:
        if connection is not None:
            connection.abort()
            with suppress(Exception):
                loop.wait(connection.wait_closed(), _CLOSING_SECONDS)
        loop.finish()
        connected.close()


async def _sign_in(
    connected: socket.socket,
    server: SshServer,
    credential: SshCredential,
    client: _Client,
) -> asyncssh.SSHClientConnection:
    async with AsyncExitStack() as agent:
        keys: list[Any] = []
        if credential.private_key is not None:
            keys.append(read_private_key(credential.private_key, credential.passphrase))
        if credential.agent:
            keys += await agent.enter_async_context(agent_keys())
        return await asyncssh.connect(
            sock=connected,
            client_factory=lambda: client,
            username=server.user,
            client_keys=keys or None,
            server_host_key_algs=client.signatures,
            **_OPTIONS,
        )


def _translating(call: Callable[[], _T], server: SshServer, client: _Client) -> _T:
    """Translate exceptions outside of their handler, because their frames may hold a key."""
    try:
        return call()
    except Exception as error:
        caught = error
    if client.flood:
        raise flooded(server, client.flood)
    refusal = client.refusal(server)
    if isinstance(caught, asyncssh.HostKeyNotVerifiable) and refusal is not None:
        raise refusal
    if isinstance(caught, asyncssh.ChannelOpenError) and client.is_lost:
        raise ConnectionResetError("the SSH connection was closed")
    raise translated(caught, server)
