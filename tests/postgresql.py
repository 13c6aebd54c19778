"""A PostgreSQL server for tests on its own port, if its programs are installed."""

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
from typing import Any

__all__ = ["Server", "name_of", "running_server", "why_not"]

_USER = "deploycore"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    # The machine does not fail, and no database lives long: what only serves these is off.
    "autovacuum": "off",
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_senders": "0",
    "wal_level": "minimal",
}
_COPIES_FILES = 150_000
"""The first version with this option. Earlier versions always copy files."""


def why_not() -> str:
    """Return why no server is available; empty if there is one."""
    if _programs() is None:
        return "PostgreSQL's server is not installed"
    if importlib.util.find_spec("psycopg") is None:
        return "psycopg is not installed"
    if os.geteuid() == 0 and _unprivileged() is None:
        return "PostgreSQL does not run as root, and there is no user postgres"
    return ""


def name_of(database: str) -> str:
    """Return the name of a database from its name or URL."""
    return database.rpartition("/")[2]


class Server:
    """A running server, which creates databases for tests.

    Args:
        directory: The directory for its data, which it creates.
    """

    def __init__(self, directory: Path) -> None:
        programs, user = _programs(), _unprivileged()
        assert programs is not None
        self.port = _free_port()
        self._directory = directory
        self._programs = programs
        self._options: dict[str, Any] = {
            "cwd": directory,
            "stdin": subprocess.DEVNULL,
            "stderr": subprocess.STDOUT,
        }
        if os.geteuid() == 0:
            shutil.chown(directory, user, user)
            self._options |= {"user": user, "group": user, "extra_groups": []}
        subprocess.run(
            [programs / "initdb", "-D", self._data, "-U", _USER, "-A", "trust", "-E", "UTF8", "-N"],
            check=True,
            stdout=subprocess.DEVNULL,
            **self._options,
        )

    @property
    def _data(self) -> Path:
        return self._directory / "data"

    def start(self) -> None:
        """Start with the existing data, and wait until it accepts connections."""
        arguments = [f"--{name}={value}" for name, value in _SETTINGS.items()]
        with open(self._directory / "log", "ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, "-p", str(self.port), *arguments],
                stdout=log,
                **self._options,
            )
        self._version = _wait_until_up(self.port)

    def stop(self) -> None:
        """Stop it at once, even if clients are connected."""
        self._process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._process.kill()
        self._process.wait()

    def kill(self) -> None:
        """Kill all of its processes: the first one, and those that it started, each in its own
        session."""
        for process in (*_children(self._process.pid), self._process.pid):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._process.wait()

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """Create a database and drop it afterwards; yield its URL for SQLAlchemy.

        Args:
            template: The address or name of the database to copy (default: an empty one).
                Nothing may be connected to it.
        """
        address = self.create(template)
        try:
            yield address
        finally:
            self.drop(address)

    def new_address(self) -> str:
        """Return the URL of a database that does not exist."""
        name = f"test_{uuid.uuid4().hex}"
        return f"postgresql+psycopg://{_USER}:unused@127.0.0.1:{self.port}/{name}"

    def create(self, template: str = "template1") -> str:
        """Create a database; return its URL. See ``database``."""
        address = self.new_address()
        strategy = "STRATEGY FILE_COPY" if self._version >= _COPIES_FILES else ""
        self._do(f"CREATE DATABASE {name_of(address)} TEMPLATE {name_of(template)} {strategy}")
        return address

    def drop(self, address: str) -> None:
        """Drop a database, even if clients are connected to it."""
        self._do(f"DROP DATABASE IF EXISTS {name_of(address)} WITH (FORCE)")

    @contextmanager
    def connected(self, database: str) -> Iterator[Any]:
        """Yield a connection to a database, given its URL or name. It is in autocommit mode."""
        import psycopg

        address = f"postgresql://{_USER}@127.0.0.1:{self.port}/{name_of(database)}"
        with psycopg.connect(address, autocommit=True) as connection:
            yield connection

    def _do(self, statement: str) -> None:
        with self.connected("postgres") as connection:
            connection.execute(statement)


@contextmanager
def running_server() -> Iterator[Server]:
    """Yield a server that ends with the block, together with its data."""
    directory = Path(tempfile.mkdtemp(prefix="deploycore-postgresql-"))
    try:
        server = Server(directory)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _children(process: int) -> list[int]:
    """Return the processes that a process has started; see proc(5)."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = path.read_text().rpartition(") ")[2].split()[1]
            found += [int(path.parent.name)] if int(parent) == process else []
    return found


def _programs() -> Path | None:
    """Return the directory of the server's programs: on the PATH, or where Debian has them."""
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


def _wait_until_up(port: int) -> int:
    """Wait for the server; return its version."""
    import psycopg

    deadline = time.monotonic() + 30
    while True:
        try:
            with psycopg.connect(f"postgresql://{_USER}@127.0.0.1:{port}/postgres") as connection:
                return connection.info.server_version
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, "PostgreSQL does not come up"
            time.sleep(0.05)
