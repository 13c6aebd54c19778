"""Workers on real databases: in the test's process with simulated deployments, and as processes
that deploy from a Bitbucket sandbox."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from deploycore import Application, Installation, RepositoryId, Settings
from deploycore.errors import StoreError
from deploycore.store import ProviderRecord
from deploycore.worker import Worker
from tests.auto_deploy import BUILD, PYTHON, builds_in, command, count_open
from tests.forked import ForkedProcess

ROOT = Path(__file__).parents[2]
_IN_TRANSACTIONS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND state <> 'idle'"
)


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what was waited for does not come"
        time.sleep(0.04)


def is_stopped(process: int) -> bool:
    """Whether a signal has stopped all threads of a process."""
    paths = Path(f"/proc/{process}/task").glob("*/stat")
    return all(each.read_bytes().rpartition(b") ")[2][:1] == b"T" for each in paths)


@pytest.fixture
def environment(home) -> dict[str, str]:
    """The settings of the installation, for this process and for others."""
    return {"DEPLOYCORE_HOME": str(home)}


@pytest.fixture
def installation(environment):
    with Installation(Settings.from_environment(environment)) as opened:
        yield opened


class Deployments:
    """Replaces ``Installation.deploy``: records the requests, and behaves as the test defines.

    Attributes:
        asked: The applications, in order.
        said: The requester of each deployment.
        causes: The cause of each deployment.
        errors: The errors that the next deployments raise.
        gate: Deployments wait until it is set.
        running: The number of running deployments; ``most`` is the maximum that ran at once.
    """

    def __init__(self, installation: Installation) -> None:
        self.asked: list[str] = []
        self.said: list[str] = []
        self.causes: list[str] = []
        self.ways: list[tuple[bool, bool]] = []
        self.errors: list[BaseException] = []
        self.gate = threading.Event()
        self.gate.set()
        self.running = self.most = 0
        self._store = installation.store
        self._lock = threading.Lock()

    def __call__(
        self,
        name,
        *,
        requested_by,
        cause,
        force,
        automatic,
        claimed,
        cancellation,
        listener=None,
    ):
        self.ways.append((force, automatic))
        assert claimed
        with self._lock:
            self.asked.append(name)
            self.said.append(requested_by)
            self.causes.append(cause)
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            while not self.gate.wait(0.01):
                cancellation.raise_if_cancelled()
            if self.errors:
                raise self.errors.pop(0)
            record = self._store.deployments.request(name, ref="main")
            return self._store.deployments.advance(record.id, "failed")
        finally:
            with self._lock:
                self.running -= 1


@pytest.fixture
def deployments(installation, monkeypatch) -> Deployments:
    made_up = Deployments(installation)
    monkeypatch.setattr(installation, "deploy", made_up)
    return made_up


@pytest.fixture
def applications(installation, tmp_path):
    """Three applications without a git host: ``one``, ``two`` and ``three``."""
    at = datetime.now(UTC)
    installation.store.add_provider(ProviderRecord("none", "bitbucket", {}, {}, at))
    names = ("one", "two", "three")
    for name in names:
        installation.apply(
            [
                Application(
                    name=name,
                    provider="none",
                    repository="a/b",
                    ref="main",
                    target=tmp_path / name,
                )
            ]
        )
    return names


@pytest.fixture
def add(installation, applications):
    """Adds a trigger: ``add("one", actor="ada")``."""

    def add(application: str = "one", **given):
        return installation.store.triggers.add(application, **({"cause": "push"} | given))

    return add


@pytest.fixture
def start(installation):
    """Starts workers in this process, which are stopped after the test: ``start(threads=1)``."""
    running: list[Worker] = []

    def start(**options) -> Worker:
        running.append(Worker(installation, **({"sweep": 60.0} | options)))
        running[-1].start()
        return running[-1]

    yield start
    for worker in running:
        worker.stop(0)


@pytest.fixture
def events():
    """The events of workers; pass ``events.append`` as their listener."""
    return []


class Fleet:
    """Worker processes on applications of one sandbox, and an independent record of builds."""

    def __init__(self, installation, environment, sandbox, place: Path) -> None:
        self.installation = installation
        self.environment = environment
        self.processes: list[subprocess.Popen[str]] = []
        self._sandbox = sandbox
        self._place = place
        self._builds = place / "builds"
        self._builds.mkdir()
        (place / "build.py").write_text(BUILD)
        connection = next(c for c in sandbox.connections if c.settings["mode"] == "access-token")
        settings = dict(connection.settings)
        installation.add_provider("work", "bitbucket", settings, {"token": settings.pop("token")})
        self.commit = self.push("one")

    def push(self, content: str) -> str:
        files = {"page": content.encode()}
        self.commit = self._sandbox.publish("acme", "site", "main", files, content)
        return self.commit

    def create(self, count: int, *, seconds: float = 0.05) -> list[str]:
        names = [f"app{number}" for number in range(count)]
        step = [*PYTHON, str(self._place / "build.py"), str(self._builds), str(seconds)]
        for name in names:
            self.installation.add_application(
                name,
                provider="work",
                repository=RepositoryId(owner="acme", slug="site"),
                ref="main",
                target=self._place / "live" / name,
                steps={"build": [{"run": step}]},
            )
        return names

    def add(self, name: str, **given) -> None:
        self.installation.store.triggers.add(name, **({"cause": "push"} | given))

    def start(self, *arguments: str, lease: float | None = None) -> subprocess.Popen[str]:
        """A worker process; with a shorter lease than usual for tests that wait for its end."""
        process = ForkedProcess(
            [*command(lease), "worker", "--json", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | self.environment,
        )
        self.processes.append(process)
        return process

    def hold_builds(self) -> None:
        """Let no build end until ``release_builds``."""
        (self._builds / "held").touch()

    def release_builds(self) -> None:
        """Let the builds go on, each for its ``seconds``."""
        (self._builds / "held").unlink()

    def suspend(self, process: subprocess.Popen[str]) -> None:
        """Suspend the only worker, at a moment at which it has no transaction.

        A transaction of a suspended process keeps its locks. Nobody could write to an SQLite
        database until the process continues, and PostgreSQL ends the transaction after 30 seconds.
        """
        while True:
            process.send_signal(signal.SIGSTOP)
            wait_for(lambda: is_stopped(process.pid))
            if not self._has_transactions():
                return
            process.send_signal(signal.SIGCONT)
            time.sleep(0.01)

    def is_done(self) -> bool:
        return not count_open(self.installation.store)

    def builds(self, what: str = "ended") -> Counter[tuple[str, str]]:
        """Return how often each application and commit was built, from the records of the
        builds."""
        return builds_in(self._builds, what)

    def live(self, name: str) -> str:
        return (self._place / "live" / name / "current" / "page").read_text()

    def _has_transactions(self) -> bool:
        store = self.installation.store
        if store._database.has_one_writer:
            try:
                store.check_writing(patience=0)
            except StoreError:
                return True
            return False
        with store._database.reading() as connection:
            return bool(connection.scalar(_IN_TRANSACTIONS))

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()


def events_of(process: subprocess.Popen[str]) -> list[dict[str, object]]:
    """Return the events of a worker process after it has ended by itself."""
    output, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors, errors
    return [json.loads(line) for line in output.splitlines()]


@pytest.fixture(params=["sqlite", "postgresql"])
def fleet(request, environment, tmp_path, demo_sandbox) -> Iterator[Fleet]:
    """On each kind of database."""
    if request.param == "postgresql":
        environment["DEPLOYCORE_DATABASE_URL"] = request.getfixturevalue("made_postgresql")
    with Installation(Settings.from_environment(environment)) as installation:
        fleet = Fleet(installation, environment, demo_sandbox, tmp_path)
        yield fleet
        fleet.end()
