"""What webhooks cost: accepting one alone, and a burst of right ones among ten times as many wrong.

A real ``deploycore serve`` on SQLite, without workers, and a client on the same machine: 1,000
signed deliveries for 100 applications among 10,000 unsigned ones, half of these for applications
that are not there. The peer is what no durable answer can do without: one row committed to an
SQLite file of the same disk.

Run: python benchmarks/webhooks.py [--quick]
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

sys.path.insert(0, str(Path(__file__).parent))
from figures import percentile, processor_seconds, resident

from deploycore import Installation, Settings

MOST_MILLISECONDS = 20.0
"""What accepting one that comes alone may take, at the median."""

CONNECTIONS = 16
PLUGIN = """
import json
from deploycore.configuration import ProviderConfig
from deploycore.events import Delivered, PushEvent, hmac_sha256_matches
from deploycore.hookspecs import hookimpl
from deploycore.http import HeaderAuth
from deploycore.models import Account, CloneUrl, RepositoryId
from pydantic import SecretStr

class Config(ProviderConfig):
    @property
    def api_base_url(self):
        return "https://bench.example"

    @property
    def api_auth(self):
        return HeaderAuth("X-Token", SecretStr("none"))

class Bench:
    Config = Config
    API_VERSION = 1

    def __init__(self, config, http):
        pass

    @hookimpl
    def authenticate(self):
        return Account(username="bench")

    @hookimpl
    def list_repos(self, query):
        return iter(())

    @hookimpl
    def list_branches(self, repository, query):
        return iter(())

    @hookimpl
    def clone_url(self, repository):
        return CloneUrl(url="https://bench.example/r.git")

    @hookimpl
    def verify_webhook(self, delivery, secrets):
        return hmac_sha256_matches(delivery.body, delivery.headers.get("x-signature", ""), secrets)

    @hookimpl
    def parse_webhook(self, delivery):
        found = json.loads(delivery.body)
        event = PushEvent(repository=RepositoryId.parse(found["repository"]),
                          changes=found["changes"])
        return Delivered(delivery=delivery.headers["x-delivery"], events=[event])
"""


@dataclass(frozen=True)
class Sent:
    """A request and the status that is right for it."""

    kind: str
    data: bytes
    status: int


def main() -> None:
    """Print the tables, and fail where accepting takes too long."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests")
    share = 10 if parser.parse_args().quick else 1
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        environ = install(directory)
        secrets = prepare(directory, applications=100)
        peer = commits(directory / "peer.db", 200)
        process, port = start(environ)
        try:
            before = resident(process.pid)
            used = [processor_seconds(process.pid)]
            alone = asyncio.run(send(port, signed(secrets, range(100)), connections=1))
            used.append(processor_seconds(process.pid))
            burst = [*signed(secrets, range(100, 100 + 1000 // share)), *unsigned(10_000 // share)]
            random.Random(1).shuffle(burst)
            began = time.perf_counter()
            taken = asyncio.run(send(port, burst, connections=CONNECTIONS))
            seconds = time.perf_counter() - began
            used.append(processor_seconds(process.pid))
            after = resident(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
    show(peer, alone, taken)
    print(
        f"\nburst: {len(burst):,} requests in {seconds:.1f} s, {len(burst) / seconds:,.0f} a second"
    )
    print(f"memory of the server: {before:.0f} MiB before, {after:.0f} MiB after")
    each = (used[1] - used[0]) * 10, (used[2] - used[1]) * 1000 / len(burst)
    print(
        f"processor time of the server: {each[0]:.2f} ms one alone, {each[1]:.2f} ms in the burst"
    )
    median = percentile(alone["accepted"], 50)
    verdict = "ok" if median < MOST_MILLISECONDS else "TOO MUCH"
    print(f"accepting one alone: {median:.1f} ms, allowed {MOST_MILLISECONDS:.0f}: {verdict}")
    if median >= MOST_MILLISECONDS:
        raise SystemExit(3)


def install(directory: Path) -> dict[str, str]:
    """Put the plugin where Python finds it; gives the environment that does."""
    site, home = directory / "site", directory / "home"
    metadata = site / "deploycore_bench-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "deploycore_bench.py").write_text(PLUGIN)
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: deploycore-bench\nVersion: 1.0\n"
    )
    (metadata / "entry_points.txt").write_text(
        "[deploycore.providers]\nbench = deploycore_bench:Bench\n"
    )
    sys.path.insert(0, str(site))
    return {**os.environ, "PYTHONPATH": str(site), "DEPLOYCORE_HOME": str(home)}


def prepare(directory: Path, *, applications: int) -> dict[str, SecretStr]:
    """Make the applications and their webhooks; gives the secrets by name."""
    settings = Settings.from_environment({"DEPLOYCORE_HOME": str(directory / "home")})
    with Installation(settings) as installation:
        installation.add_provider("work", "bench", {}, {})
        secrets = {}
        for number in range(applications):
            name = f"application-{number}"
            installation.add_application(
                name,
                provider="work",
                repository=f"bench/{name}",
                ref="main",
                target=directory / "targets" / name,
                auto_deploy={},
            )
            record = installation.webhooks.prepare(name)
            secrets[name] = installation.secrets.reveal(record.secret)
    return secrets


def start(environ: dict[str, str]) -> tuple[subprocess.Popen[str], int]:
    """Start the server; gives its port too."""
    command = [sys.executable, "-m", "deploycore", "serve", "--port", "0", "--workers", "0"]
    process = subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline().split()[3].rpartition(":")[2])


def signed(secrets: dict[str, SecretStr], numbers: Iterable[int]) -> list[Sent]:
    """One right delivery for each number, to one application after another."""
    names = list(secrets)
    found = []
    for number in numbers:
        name = names[number % len(names)]
        change = {"kind": "branch", "name": "main", "before": None, "after": f"{number:040x}"}
        body = json.dumps({"repository": f"bench/{name}", "changes": [change]}).encode()
        key = secrets[name].get_secret_value().encode()
        signature = hmac.new(key, body, hashlib.sha256).hexdigest()
        headers = f"X-Signature: {signature}\r\nX-Delivery: {number}\r\n"
        found.append(Sent("accepted", post(name, body, headers), 202))
    return found


def unsigned(count: int) -> list[Sent]:
    """Wrong deliveries: for applications that are there, and for some that are not."""
    body = json.dumps({"repository": "bench/x", "padding": "x" * 2000}).encode()
    return [
        Sent("refused, no signature", post(f"application-{number % 100}", body), 401)
        if number % 2
        else Sent("refused, unknown", post(f"nothing-{number}", body), 404)
        for number in range(count)
    ]


def post(name: str, body: bytes, headers: str = "") -> bytes:
    """A request as it is on the wire."""
    head = f"POST /webhooks/{name} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{headers}"
    return f"{head}\r\n".encode() + body


async def send(port: int, requests: Sequence[Sent], *, connections: int) -> dict[str, list[float]]:
    """Send all, over so many connections; gives milliseconds by kind."""
    waiting = iter(requests)
    taken: dict[str, list[float]] = {}

    async def one_connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in waiting:
            began = time.perf_counter()
            writer.write(request.data)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
            await reader.readexactly(length)
            taken.setdefault(request.kind, []).append((time.perf_counter() - began) * 1000)
            assert int(head[9:12]) == request.status, head
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(one_connection() for _ in range(connections)))
    return taken


def commits(path: Path, count: int) -> list[float]:
    """How long SQLite alone takes to commit one row as durably, in milliseconds."""
    taken = []
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, body TEXT)")
        for number in range(count):
            began = time.perf_counter()
            connection.execute("INSERT INTO rows (body) VALUES (?)", [f"{number}" * 20])
            taken.append((time.perf_counter() - began) * 1000)
    return taken


def show(peer: list[float], alone: dict[str, list[float]], burst: dict[str, list[float]]) -> None:
    """Print the table."""
    rows = {
        "SQLite alone: a row committed": peer,
        "the first one: accepted": alone["accepted"][:1],
        "one at a time: accepted": alone["accepted"],
        **{f"burst: {kind}": taken for kind, taken in sorted(burst.items())},
    }
    base = percentile(peer, 50)
    print(f"{'':32} {'count':>7} {'p50, ms':>9} {'p99, ms':>9} {'p50 ratio':>10}")
    for name, taken in rows.items():
        middle = percentile(taken, 50)
        print(
            f"{name:32} {len(taken):7,} {middle:9.2f} {percentile(taken, 99):9.2f}"
            f" {middle / base:10.1f}"
        )


if __name__ == "__main__":
    main()
