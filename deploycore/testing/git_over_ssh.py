"""Git over SSH for a sandbox: an AsyncSSH server whose users are the deploy keys of repositories.

It needs the extra ``deploycore[ssh]``. It runs only ``git-upload-pack``, only for keys in
:class:`~deploycore.testing.deploy_keys.DeployKeys`, and for each key only on its own repositories.
"""

from __future__ import annotations

import asyncio
import shlex
import threading
from types import TracebackType
from typing import Protocol, Self

import asyncssh

from deploycore.ssh.library import require_extra
from deploycore.testing.deploy_keys import DeployKeys
from deploycore.testing.repositories import GitRepositories, Served
from deploycore.testing.server import LOOPBACK

__all__ = ["GitOverSsh", "KeysHost"]

PROGRAM = "git-upload-pack"
SECONDS = 30


class KeysHost(Protocol):
    """The attributes that a sandbox needs for git over SSH; ``Sandbox`` has them."""

    @property
    def git(self) -> GitRepositories:
        """The contents of its repositories."""

    @property
    def deploy_keys(self) -> DeployKeys:
        """The keys that may sign in."""

    def named(self, name: str) -> Served | None:
        """Find a repository by ``owner/slug``."""


class GitOverSsh:
    """An SSH server on 127.0.0.1 for the repositories of a sandbox.

    Args:
        host: The sandbox.

    Attributes:
        commands: The commands that clients have run.
    """

    def __init__(self, host: KeysHost) -> None:
        require_extra()
        self.commands: list[str] = []
        self._host = host
        self._key = asyncssh.generate_private_key("ssh-ed25519")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="sandbox-ssh", daemon=True)
        self._server: asyncssh.SSHAcceptor

    @property
    def port(self) -> int:
        """The address of the server."""
        return self._server.get_port()

    @property
    def url(self) -> str:
        """The address of the server as a URL, without the path of a repository."""
        return f"ssh://git@{LOOPBACK}:{self.port}"

    @property
    def host_key(self) -> str:
        """The server's host key, as a line of a ``known_hosts`` file."""
        public = self._key.export_public_key().decode().strip()
        return f"[{LOOPBACK}]:{self.port} {public}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(SECONDS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SECONDS)
        self._loop.close()

    def may_read(self, key: asyncssh.SSHKey, name: str) -> bool:
        """Whether a key is a deploy key of a repository."""
        text = " ".join(key.export_public_key().decode().split()[:2])
        return any(each.text == text for each in self._host.deploy_keys.of(name))

    def is_known(self, key: asyncssh.SSHKey) -> bool:
        """Whether a key is a deploy key of any repository."""
        text = " ".join(key.export_public_key().decode().split()[:2])
        return any(each.text == text for each in self._host.deploy_keys.all())

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _listen(self) -> asyncssh.SSHAcceptor:
        return await asyncssh.create_server(
            lambda: _Users(self),
            LOOPBACK,
            0,
            server_host_keys=[self._key],
            process_factory=self._answer,
            encoding=None,
        )

    async def _close(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _answer(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """Run one command in the form that clients send: ``git-upload-pack '/owner/slug.git'``."""
        command = process.command or ""
        self.commands.append(command)
        key = process.channel.get_connection().get_extra_info("key of the user")
        words = shlex.split(command)
        name = words[-1].strip("/").removesuffix(".git") if words else ""
        row = self._host.named(name)
        if words[:1] != [PROGRAM] or row is None or not self.may_read(key, name):
            process.stderr.write(b"ERROR: Repository not found.\n")
            process.exit(1)
            return
        await asyncio.to_thread(self._serve, row, process)
        process.exit(0)

    def _serve(self, row: Served, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """Answer a client. Run this in a thread, because dulwich waits for the data that it
        reads."""

        def read(count: int) -> bytes:
            waiting = asyncio.run_coroutine_threadsafe(process.stdin.read(count), self._loop)
            return waiting.result(SECONDS)

        def write(data: bytes) -> None:
            self._loop.call_soon_threadsafe(process.stdout.write, data)

        self._host.git.talk(row, read, write)


class _Users(asyncssh.SSHServer):
    """Lets only deploy keys sign in."""

    def __init__(self, served: GitOverSsh) -> None:
        self._served = served
        self._connection: asyncssh.SSHServerConnection

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        if username != "git" or not self._served.is_known(key):
            return False
        self._connection.set_extra_info(**{"key of the user": key})
        return True
