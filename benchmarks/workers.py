"""How many triggers a second workers get through, and how long a killed one's work waits.

Worker processes on one database, SQLite and, where its server is installed, PostgreSQL. With a
deployment that is made up (two records, as every deployment has) it is the queue that is measured;
with real ones, of a small repository from the sandbox, it is what people see. Each of these notes
in a file, which no part of deploycore knows, when its build begins and ends; nothing may be built
twice, or twice at once. The worker that is killed is in the middle of a deployment.

Run: python benchmarks/workers.py [--quick] [--applications N] [--database sqlite]
Exit code 3: a bound was missed.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from git_runs import scratch

from deploycore import Installation, RepositoryId, Settings
from deploycore.errors import ConfigurationError
from deploycore.worker.worker import LEASE_SECONDS
from tests.postgresql import running_server, why_not

ROOT = Path(__file__).parents[1]
PROCESSES = (1, 2, 4)
NOTE = """
echo "began $DEPLOYCORE_APPLICATION $DEPLOYCORE_COMMIT" >> {record}
echo "ended $DEPLOYCORE_APPLICATION $DEPLOYCORE_COMMIT" >> {record}
"""
THREADS = 2
LATE_MOST = 5.0  # seconds that a takeover may take beyond the lease

WORKER = """
import signal, sys, threading
from deploycore import Installation
from deploycore.worker import Worker

threads, lease, made_up = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3] == "made-up"
stopped = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stopped.set())
with Installation() as installation:
    def deploy(name, **given):
        store = installation.store.deployments
        return store.advance(store.request(name, ref="main").id, "failed")
    if made_up:
        installation.deploy = deploy
    with Worker(installation, threads=threads, lease=lease, sweep=0.2):
        stopped.wait()
"""


class Bench:
    """An installation with applications, and worker processes on it."""

    def __init__(self, place: Path, database: str | None, applications: int) -> None:
        self._environment = {"DEPLOYCORE_HOME": str(place / "home")}
        if database:
            self._environment["DEPLOYCORE_DATABASE_URL"] = database
        self._place = place
        self._applications = applications
        self.installation = Installation(Settings.from_environment(self._environment))
        self.store = self.installation.store

    def create(self, sandbox: object) -> None:
        """Applications of the sandbox's one repository."""
        connections = sandbox.connections  # type: ignore[attr-defined]
        connection = next(c for c in connections if c.settings["mode"] == "access-token")
        settings = dict(connection.settings)
        secrets = {"token": settings.pop("token")}
        self.installation.add_provider("work", "bitbucket", settings, secrets)
        note = NOTE.format(record=self._place / "record")
        for number in range(self._applications):
            self.add_application(f"app{number}", {"shell": note})

    def built_twice(self) -> list[str]:
        """What was built more than once, or by two at once, as the builds themselves tell."""
        path, running, found = self._place / "record", set(), []
        lines = path.read_text().splitlines() if path.exists() else []
        counted = Counter(line for line in lines if line.startswith("began"))
        for line in lines:
            what, name, _ = line.split()
            if what == "began" and name in running:
                found.append(f"{name} twice at once")
            (running.add if what == "began" else running.discard)(name)
        return found + [line for line, count in counted.items() if count > 1]

    def add_application(self, name: str, *steps: object) -> None:
        """One more."""
        self.installation.add_application(
            name,
            provider="work",
            repository=RepositoryId(owner="acme", slug="site"),
            ref="main",
            target=self._place / name,
            steps={"build": list(steps)},
        )

    @contextmanager
    def workers(
        self, count: int, how: str, lease: float = LEASE_SECONDS
    ) -> Iterator[list[subprocess.Popen[bytes]]]:
        """So many processes, once all of them are at work."""
        arguments = [sys.executable, "-c", WORKER, str(THREADS), str(lease), how]
        running = [
            subprocess.Popen(arguments, env=os.environ | self._environment, cwd=ROOT)
            for _ in range(count)
        ]
        try:
            while len(self.store.claims.workers()) < count:
                time.sleep(0.05)
            time.sleep(0.5)
            yield running
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait()

    def rate(self, count: int, how: str) -> float:
        """Triggers a second, from the first that was settled to the last one."""
        names = [f"app{number}" for number in range(self._applications)]
        with self.workers(count, how):
            added = [self.store.triggers.add(name, cause="request") for name in names]
            while self.store.triggers.counts().due:
                time.sleep(0.05)
        first = min(each.id for each in added if each)
        settled = [
            each.settled_at
            for each in self.store.triggers.list(limit=len(names))
            if each.id >= first and each.settled_at
        ]
        return (len(settled) - 1) / (max(settled) - min(settled)).total_seconds()

    def takeover(self, lease: float) -> float:
        """Seconds from the death of a worker until another one has its application."""
        # A killed worker's step runs on: not for longer than it takes to see who takes over.
        self.add_application("slow", f"sleep {lease + 4 * LATE_MOST}")
        with self.workers(1, "real", lease) as (victim,):
            self.store.triggers.add("slow", cause="request")
            while not any(e.state == "building" for e in self.store.deployments.unfinished("slow")):
                time.sleep(0.01)
            former = self.store.claims.list()
            with self.workers(1, "real", lease):
                victim.send_signal(signal.SIGKILL)
                victim.wait()
                died = time.monotonic()
                while not (now := self.store.claims.list()) or now[0].worker == former[0].worker:
                    time.sleep(0.01)
                took = time.monotonic() - died
                for each in self.store.deployments.unfinished("slow"):
                    with suppress(
                        ConfigurationError
                    ):  # the dead one's has come to its end meanwhile
                        self.installation.engine.cancel(each.id)
        return took


def measure(name: str, database: str | None, options: argparse.Namespace) -> bool:
    """The rows of one database."""
    from deploycore_bitbucket.sandbox import Sandbox

    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=scratch())))
        sandbox = Sandbox().start().with_demo_content()
        stack.callback(sandbox.stop)
        bench = Bench(place, database, options.applications)
        stack.callback(bench.installation.close)
        bench.create(sandbox)
        for how in ("made-up", "real"):
            single = 0.0
            for count in PROCESSES[:2] if options.quick else PROCESSES:
                sandbox.publish("acme", "site", "main", {"page": f"{how} {count}".encode()}, "On")
                rate = bench.rate(count, how)
                single = single or rate
                print(f"{name:12}{how:10}{count:>10}{rate:>12.1f}{rate / single:>8.2f}", flush=True)
        lease = 3.0 if options.quick else LEASE_SECONDS
        doubles = bench.built_twice()
        print(f"{name:12}built twice, or twice at once: {len(doubles)} {doubles[:3] or ''}")
        took = bench.takeover(lease)
        good = took <= lease + LATE_MOST and not doubles
        verdict = "ok" if good else "MISSED"
        print(f"{name:12}takeover after a kill: {took:.1f} s, lease {lease:.0f} s: {verdict}")
        return good


def main() -> int:
    """Print the table; 3 where a bound was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--applications", type=int, default=0)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], help="only this one")
    options = parser.parse_args()
    options.applications = options.applications or (20 if options.quick else 200)
    print(f"{options.applications} applications, one trigger each; {THREADS} threads a process\n")
    print(f"{'database':12}{'deploys':10}{'processes':>10}{'a second':>12}{'ratio':>8}")
    results = []
    if options.database != "postgresql":
        results.append(measure("SQLite", None, options))
    if options.database != "sqlite" and why_not():
        print(f"PostgreSQL: {why_not()}")
    elif options.database != "sqlite":
        with running_server() as server, server.database() as database:
            results.append(measure("PostgreSQL", database, options))
    return 0 if all(results) else 3


if __name__ == "__main__":
    sys.exit(main())
