"""A PostgreSQL server for tests, where its programs are installed: an own one, on its own port."""

from __future__ import annotations

import glob
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["Server", "running_server", "why_not"]

_USER = "deploycore"


def why_not() -> str:
    """Why there is no server to be had; empty where there is."""
    if _programs() is None:
        return "PostgreSQL's server is not installed"
    if importlib.util.find_spec("psycopg") is None:
        return "psycopg is not installed"
    if os.geteuid() == 0 and _unprivileged() is None:
        return "PostgreSQL does not run as root, and there is no user postgres"
    return ""


class Server:
    """A running server; gives databases of their own."""

    def __init__(self, port: int) -> None:
        self.port = port

    @contextmanager
    def database(self) -> Iterator[str]:
        """A new, empty database; gives its address as SQLAlchemy reads it."""
        name = f"test_{uuid.uuid4().hex}"
        self._do(f"CREATE DATABASE {name}")
        try:
            yield f"postgresql+psycopg://{_USER}:unused@127.0.0.1:{self.port}/{name}"
        finally:
            self._do(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _do(self, statement: str) -> None:
        import psycopg

        address = f"postgresql://{_USER}@127.0.0.1:{self.port}/postgres"
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def running_server() -> Iterator[Server]:
    """A server that ends with the block, with whatever it holds."""
    programs, user = _programs(), _unprivileged()
    assert programs is not None
    directory = Path(tempfile.mkdtemp(prefix="deploycore-postgresql-"))
    options = {"cwd": directory, "stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
    if os.geteuid() == 0:
        shutil.chown(directory, user, user)
        options |= {"user": user, "group": user, "extra_groups": []}
    data = directory / "data"
    try:
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", _USER, "-A", "trust", "-E", "UTF8", "-N"],
            check=True,
            stdout=subprocess.DEVNULL,
            **options,
        )
        port = _free_port()
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        arguments = [f"--{name}={value}" for name, value in settings.items()]
        with open(directory / "log", "wb") as log:
            process = subprocess.Popen(
                [programs / "postgres", "-D", data, "-p", str(port), *arguments],
                stdout=log,
                **options,
            )
        try:
            _wait_until_up(port)
            yield Server(port)
        finally:
            process.send_signal(signal.SIGINT)  # at once, whoever is connected
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _programs() -> Path | None:
    """Where the server's programs are: on the path, or where Debian has them."""
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else []
    places += map(Path, sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True))
    return next((each for each in places if (each / "postgres").exists()), None)


def _unprivileged() -> str | None:
    with suppress(KeyError):
        return pwd.getpwnam("postgres").pw_name
    return None


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def _wait_until_up(port: int) -> None:
    import psycopg

    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(f"postgresql://{_USER}@127.0.0.1:{port}/postgres").close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, "PostgreSQL does not come up"
            time.sleep(0.05)
        else:
            return
