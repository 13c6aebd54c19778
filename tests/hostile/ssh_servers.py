"""A malicious SSH server that follows the protocol."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncssh
from pydantic import SecretStr

from deploycore.git import GitSettings
from deploycore.models import CloneUrl, SshCredential
from tests.git.servers import Content
from tests.ssh_server import make_key

SETTINGS = GitSettings(
    connect_timeout=10, read_timeout=30, total_timeout=120, retries=0, retry_wait=0
)
NO_HANG = 60  # seconds: more than any machine needs, less than what would hang


@contextmanager
def noisy_repository(sshd, name, *, files, file_bytes):
    """A repository whose pack takes most of what the server sends."""
    made = Content(sshd.root / f"{name}.git")
    noise = [os.urandom(file_bytes) for _ in range(files)]
    made.commit(made.files({f"{number}/file": each for number, each in enumerate(noise)}))
    yield made.path
    made.repo.close()


class Hostile(asyncssh.SSHServer):
    """Notes what the client does.

    Attributes:
        methods: How it tried to sign in.
    """

    offers = ("publickey",)
    banners = 0

    def __init__(self, noted):
        self.noted = noted

    def connection_made(self, conn):
        self.connection = conn

    def begin_auth(self, username):
        for _ in range(self.banners):
            self.connection.send_auth_banner("Give me your password.\033[31m\n" * 100)
        return True

    def public_key_auth_supported(self):
        return "publickey" in self.offers

    def password_auth_supported(self):
        return "password" in self.offers

    def kbdint_auth_supported(self):
        return "password" in self.offers

    def validate_public_key(self, username, key):
        self.noted.append("publickey")
        return True

    def validate_password(self, username, password):
        self.noted.append(f"password {password}")
        return True

    def get_kbdint_challenge(self, username, lang, submethods):
        self.noted.append("keyboard-interactive")
        return "", "", "", [("Password:", False)]


@contextmanager
def hostile_server(kind, tmp_path, process, **options):
    """A server in a thread; gives where it is, and what signs in to it."""
    key = asyncssh.read_private_key(str(make_key(tmp_path / "hostile-host")))
    loop, ready, noted = asyncio.new_event_loop(), threading.Event(), []
    running = {}

    async def start():
        running["server"] = await asyncssh.create_server(
            lambda: kind(noted),
            "127.0.0.1",
            0,
            server_host_keys=[key],
            process_factory=process,
            encoding=None,
            **options,
        )
        ready.set()

    def serve():
        asyncio.set_event_loop(loop)
        loop.run_until_complete(start())
        loop.run_forever()
        running["server"].close()
        loop.run_until_complete(asyncio.sleep(0.1))
        for each in asyncio.all_tasks(loop):
            each.cancel()
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(asyncio.sleep(0.1))
        loop.close()

    thread = threading.Thread(target=serve)
    thread.start()
    assert ready.wait(NO_HANG)
    port = running["server"].get_port()
    line = f"[127.0.0.1]:{port} {key.export_public_key().decode()}"
    private = SecretStr(Path(make_key(tmp_path / "hostile-client")).read_text())
    credential = SshCredential(private_key=private, host_keys=(line,))
    try:
        yield CloneUrl(url=f"ssh://git@127.0.0.1:{port}/x.git", credential=credential), noted
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(NO_HANG)


def git_of(path):
    """The process of a server whose intentions are good: git, on the repository at a path."""

    async def serve(process):
        with subprocess.Popen(
            ["git", "upload-pack", str(path)],
            env=os.environ | {"GIT_PROTOCOL": "version=2"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        ) as git:
            receiving = asyncio.create_task(receive(process, git))
            while data := await asyncio.to_thread(git.stdout.read, 65536):
                process.stdout.write(data)
            receiving.cancel()
            process.exit(await asyncio.to_thread(git.wait))

    async def receive(process, git):
        while data := await process.stdin.read(65536):
            git.stdin.write(data)
        git.stdin.close()

    return serve


def refuse(process):
    process.stderr.write(b"\033[2J\033[31mERROR: nothing for you\033[0m\n")
    process.exit(1)
