"""An installation that deploys on webhook deliveries, for tests and benchmarks from a push to a
release.

It has a repository of a Bitbucket sandbox for each application, pushes with the deliveries that
Bitbucket would send, server and worker processes, and a record of the builds that is independent of
deploycore.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import func, select

from deploycore import Installation, RepositoryId, Settings
from deploycore.errors import StoreError
from deploycore.store import Store
from deploycore.store.tables import triggers
from deploycore.testing.webhooks import hmac_sha256
from tests.processes import Process

__all__ = [
    "BUILD",
    "PYTHON",
    "Promises",
    "Push",
    "Site",
    "builds_in",
    "command",
    "count_open",
    "deliver",
    "site_at",
    "wait_for",
]

ROOT = Path(__file__).parents[1]
PYTHON = (sys.executable, "-I", "-S")  # it begins twice as fast as with its packages
PAGE = "page"

# Each build notes that it runs, and what it did, in files that no part of deploycore knows. It does
# not end as long as there is a file "held".
BUILD = """
import fcntl, os, sys, time
place, seconds = sys.argv[1:3]
name, commit = os.environ["DEPLOYCORE_APPLICATION"], os.environ["DEPLOYCORE_COMMIT"]
alone = os.open(os.path.join(place, name), os.O_RDWR | os.O_CREAT, 0o600)
record = os.open(os.path.join(place, "record"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
def note(what):
    os.write(record, f"{what} {name} {commit}\\n".encode())
try:
    fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    note("collided")
    sys.exit(1)
note("began")
while os.path.exists(os.path.join(place, "held")):
    time.sleep(0.02)
time.sleep(float(seconds))
note("ended")
"""


@dataclass(frozen=True)
class Push:
    """A push, and the delivery that Bitbucket would send.

    Attributes:
        number: The number of the push to the application. The deployed page has it as its content.
    """

    application: str
    number: int
    commit: str
    body: bytes
    headers: Mapping[str, str]


class Site:
    """Applications of one sandbox, and processes that deploy them. Close it after use.

    Args:
        place: The directory for everything.
        database: The URL of a database (default: SQLite).
        program: The class for its processes. Benchmarks use real ones.

    Attributes:
        environment: The environment of the processes.
        port: The port on which the server listens at each start.
    """

    def __init__(
        self,
        place: Path,
        database: str | None = None,
        program: type[subprocess.Popen[bytes]] = Process,
    ) -> None:
        from deploycore_bitbucket.sandbox import Sandbox

        self.environment = {"DEPLOYCORE_HOME": str(place / "home")}
        if database is not None:
            self.environment["DEPLOYCORE_DATABASE_URL"] = database
        self.installation = Installation(Settings.from_environment(self.environment))
        self.sandbox = Sandbox().start().with_demo_content()
        self.names: list[str] = []
        self.port = _free_port()
        self._place = place
        self._program = program
        self._record = place / "builds"
        self._logs = place / "logs"
        self._secrets: dict[str, SecretStr] = {}
        self._pushed: dict[str, tuple[int, str]] = {}
        self._pushing = threading.Lock()
        self._running: list[subprocess.Popen[bytes]] = []
        self._record.mkdir()
        self._logs.mkdir()
        (place / "build.py").write_text(BUILD)
        self._connect("work", "api-token")

    def create(
        self, count: int, *, seconds: float | None = 0.02, prefix: str = "app", **more: object
    ) -> list[str]:
        """Add applications with a webhook, which have not been deployed.

        Args:
            seconds: The duration of a build; ``None`` for applications without a build.
            more: Other fields of the applications.
        """
        build = [*PYTHON, str(self._place / "build.py"), str(self._record), str(seconds)]
        names = [f"{prefix}{number}" for number in range(count)]
        for name in names:
            commit = self._publish(name, 0)
            self._pushed[name] = (0, commit)
            self.installation.add_application(
                name,
                **{
                    "provider": "work",
                    "repository": RepositoryId(owner="acme", slug=name),
                    "ref": "main",
                    "target": self.target(name),
                    "steps": {} if seconds is None else {"build": [{"run": build}]},
                    "auto_deploy": {"poll": "off"},
                    **more,
                },
            )
            webhook = self.installation.webhooks.prepare(name)
            self._secrets[name] = self.installation.secrets.reveal(webhook.secret)
        self.names += names
        return names

    def push(self, name: str) -> Push:
        """Push to an application's repository."""
        with self._pushing:
            number, before = self._pushed[name]
            number += 1
            commit = self._publish(name, number)
            self._pushed[name] = (number, commit)
        ends = [{"type": "branch", "name": "main", "target": {"hash": h}} for h in (before, commit)]
        told = {
            "actor": {"display_name": "Ada Lovelace"},
            "repository": {"full_name": f"acme/{name}"},
            "push": {"changes": [{"old": ends[0], "new": ends[1]}]},
        }
        body = json.dumps(told).encode()
        headers = {
            "X-Event-Key": "repo:push",
            "X-Request-UUID": str(uuid.uuid4()),
            "X-Hub-Signature": f"sha256={hmac_sha256(self._secrets[name], body)}",
            "Content-Type": "application/json",
        }
        return Push(name, number, commit, body, headers)

    def newest(self, name: str) -> int:
        """Return the number of the last push."""
        return self._pushed[name][0]

    def target(self, name: str) -> Path:
        """Return the target of an application."""
        return self._place / "live" / name

    def live(self, name: str) -> int:
        """Return the number of the live push; -1 if there is none."""
        with suppress(FileNotFoundError):
            return int((self.target(name) / "current" / PAGE).read_text())
        return -1

    def serve(
        self, *arguments: str, lease: float | None = None, wait: bool = True
    ) -> subprocess.Popen[bytes]:
        """Start the server.

        Args:
            lease: The lease of its worker. It is shorter than usual for tests that wait until it
                expires.
            wait: Whether to wait until it responds.
        """
        process = self._start("serve", "--port", str(self.port), *arguments, lease=lease)
        if wait:
            wait_for(lambda: self.answers() or process.poll() is not None, "no server")
        return process

    def work(self, *arguments: str, lease: float | None = None) -> subprocess.Popen[bytes]:
        """Start a worker."""
        return self._start("worker", *arguments, lease=lease)

    def answers(self) -> bool:
        """Whether the server responds."""
        return status_of(self.port, "GET", "/healthz") == 200

    def builds(self, what: str = "ended") -> Counter[tuple[str, str]]:
        """Return how often each application and commit was built, from the records of the
        builds."""
        return builds_in(self._record, what)

    def is_settled(self) -> bool:
        """Whether there is no work left, and no worker is working."""
        with suppress(StoreError):  # killed meanwhile, say
            store = self.installation.store
            return not (count_open(store) or store.claims.list())
        return False

    def problems(self, promised: Mapping[str, int]) -> list[str]:
        """Return the deviations from what was promised, after everything is settled.

        Args:
            promised: For each application the number of the newest push that was accepted.
        """
        store = self.installation.store
        found = [
            f"{name}: push {number} was accepted, and {self.live(name)} is live"
            for name, number in promised.items()
            if self.live(name) < number
        ]
        found += [f"{name} was built twice at once" for name, _ in self.builds("collided")]
        found += [
            f"trigger {each.id} of {each.application} was settled by {each.error_code}:"
            f" {self._error_of(each.deployment)}"
            for each in store.triggers.list()
            if each.settled_at and each.error_code
        ]
        found += [
            f"deployment {each.id} of {each.application} stays {each.state}"
            for each in store.deployments.unfinished()
        ]
        built = self.builds()
        found += [
            f"{each.application}: {each.commit} is healthy, and was never built"
            for each in store.deployments.list(state="healthy")
            if built and (each.application, each.commit) not in built
        ]
        return found + self.complaints()

    def complaints(self) -> list[str]:
        """Return log lines that should never appear."""
        found = []
        for path in sorted(self._logs.iterdir()):
            lines = path.read_text(errors="replace").splitlines()
            for place, line in enumerate(lines):
                if "Traceback" in line or "unforeseen" in line:
                    around = "\n    ".join(lines[max(0, place - 2) : place + 30])
                    found.append(f"{path.name} logs:\n    {around}")
        return found

    def logged(self, text: str) -> int:
        """Return how often a text is in the logs of the processes."""
        return sum(path.read_text(errors="replace").count(text) for path in self._logs.iterdir())

    def stacks(self) -> str:
        """Return the stacks of the threads of all processes."""
        running = [(n, each) for n, each in enumerate(self._running) if each.poll() is None]
        told = []
        for number, process in running:
            (path,) = self._logs.glob(f"{number:04d}-*")
            before = path.stat().st_size
            process.send_signal(signal.SIGUSR1)
            time.sleep(0.5)
            told.append(f"{path.name}:\n{path.read_bytes()[before:].decode(errors='replace')}")
        return "\n".join(told)

    def close(self) -> None:
        """Stop everything."""
        for process in self._running:
            if process.poll() is None:
                process.terminate()
        for process in self._running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()
            process.wait()
        self.installation.close()
        self.sandbox.stop()

    def _error_of(self, deployment: int | None) -> str:
        found = deployment and self.installation.store.deployments.get(deployment).error
        return found or "no deployment"

    def _connect(self, name: str, mode: str) -> None:
        connection = next(c for c in self.sandbox.connections if c.settings["mode"] == mode)
        settings = dict(connection.settings)
        secrets = {"token": settings.pop("token")}
        self.installation.add_provider(name, "bitbucket", settings, secrets)

    def _publish(self, name: str, number: int) -> str:
        files = {PAGE: str(number).encode()}
        return self.sandbox.publish("acme", name, "main", files, f"Push {number}")

    def _start(self, *arguments: str, lease: float | None) -> subprocess.Popen[bytes]:
        with open(self._logs / f"{len(self._running):04d}-{arguments[0]}", "wb") as log:
            process = self._program(
                [*command(lease), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env=os.environ | self.environment,
            )
        self._running.append(process)
        return process


class Promises:
    """The pushes that a server has accepted, and so has promised to deploy."""

    def __init__(self) -> None:
        self.answers: Counter[int | None] = Counter()
        self.newest: dict[str, int] = {}
        self._lock = threading.Lock()

    def send(self, push: Push, port: int, *, attempts: int = 3, pause: float = 0.3) -> int | None:
        """Deliver a push like Bitbucket, which retries if there is no successful response.

        Returns:
            The status of the last response; ``None`` if there was none.
        """
        for attempt in range(attempts):
            status = deliver(push, port)
            with self._lock:
                self.answers[status] += 1
                if status in (200, 202):
                    known = self.newest.get(push.application, 0)
                    self.newest[push.application] = max(known, push.number)
            if status is not None and status < 500:
                break
            if attempt + 1 < attempts:
                time.sleep(pause)
        return status


def deliver(push: Push, port: int) -> int | None:
    """Send a delivery once; return the status of the response, ``None`` if there is none."""
    return status_of(port, "POST", f"/webhooks/{push.application}", push.body, push.headers)


def status_of(
    port: int,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> int | None:
    """Return the status of a response; ``None`` if there is none within ten seconds."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return answer.status


def command(lease: float | None = None) -> list[str]:
    """Return the command that runs deploycore, with a shorter lease than usual if it is given."""
    # On SIGUSR1 it tells where its threads are, for who looks why something hangs.
    program = "import faulthandler, signal; faulthandler.register(signal.SIGUSR1); "
    if lease is not None:  # the option allows no less than 3
        program += "import deploycore.worker.worker as w; "
        program += f"w.LEASE_SECONDS = {lease}; "
    return [sys.executable, "-c", f"{program}from deploycore.cli import main; main()"]


def builds_in(place: Path, what: str) -> Counter[tuple[str, str]]:
    """Return the records of builds (see ``BUILD``) in a directory, by application and commit."""
    with suppress(FileNotFoundError):
        lines = (place / "record").read_text().splitlines()
        found = [line.split() for line in lines]
        return Counter((name, commit) for kind, name, commit in found if kind == what)
    return Counter()


_OPEN = select(func.count()).where(triggers.c.settled_at.is_(None))


def count_open(store: Store) -> int:
    """Return the number of triggers that are not settled. Tests that wait for work to be done ask
    for it all the time, and ``Triggers.counts`` takes ten times as long."""
    with store._database.reading() as connection:
        return connection.scalar(_OPEN) or 0


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Wait until a condition is true.

    Raises:
        AssertionError: It takes too long.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.04)


@contextmanager
def site_at(
    place: Path,
    database: str | None = None,
    program: type[subprocess.Popen[bytes]] = Process,
) -> Iterator[Site]:
    """Yield a site that is stopped at the end of the block."""
    site = Site(place, database, program)
    try:
        yield site
    finally:
        site.close()


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port
