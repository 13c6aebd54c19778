"""What open live logs cost: the memory of a server whose clients follow one running deployment.

A real ``deploycore serve`` on SQLite, without workers. Its log has 500 lines. Each client gets
these first, and then 500 more, which are written while all of them follow.

Run: python benchmarks/followers.py [--clients 200]
Exit code 3: the bound was missed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import update

sys.path.insert(0, str(Path(__file__).parent))
from figures import processor_seconds, resident
from webhooks import start

from deploycore import Installation, Settings
from deploycore.deploy.events import DeployEvent
from deploycore.store.tables import deployments
from deploycore.store.token_digests import digest_of, new_token

MOST_MEBIBYTES = 100.0
LINES = 500


def prepare(installation: Installation, directory: Path) -> tuple[int, str]:
    """Make a running deployment; gives its number, and a token that may read."""
    settings = {"mode": "access-token", "workspace": "acme"}
    secrets = {"token": SecretStr("made-up-secret-of-a-benchmark")}
    installation.add_provider("work", "bitbucket", settings, secrets)
    installation.add_application(
        "shop", provider="work", repository="acme/shop", ref="main", target=directory / "shop"
    )
    store, token = installation.store, new_token()
    store.tokens.add("ci", digest=digest_of(token), role="read", expires_at=None)
    number = store.deployments.request("shop", ref="main", requested_by="benchmark").id
    with store._database.writing() as connection:
        values = {"state": "building", "started_at": datetime.now(UTC)}
        connection.execute(update(deployments).where(deployments.c.id == number).values(values))
    return number, token.get_secret_value()


def write(installation: Installation, number: int) -> None:
    """Write lines of the deployment's log."""
    with installation.engine.logs.open("shop", number) as log:
        for line in range(LINES):
            text = f"line {line} of a build that tells what it does, as builds do"
            log.write(DeployEvent(number, "shop", datetime.now(UTC), "output", "building", text))


class Follower:
    """A client of the stream.

    Attributes:
        lines: How many lines it has got.
    """

    def __init__(self) -> None:
        self.lines = 0

    async def follow(self, port: int, number: int, token: str) -> None:
        """Count lines until the server closes the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            f"GET /api/v1/deployments/{number}/log HTTP/1.1\r\nHost: x\r\n"
            f"Accept: text/event-stream\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
        while data := await reader.readline():
            self.lines += b"a build that tells" in data


async def until(followers: list[Follower], lines: int) -> float:
    """Wait until all have so many lines; gives the seconds that it took."""
    began = time.perf_counter()
    while min(each.lines for each in followers) < lines:
        if time.perf_counter() - began > 300:
            sys.exit(f"after 300 s, a client has {min(each.lines for each in followers)} lines")
        await asyncio.sleep(0.05)
    return time.perf_counter() - began


async def measure(installation: Installation, number: int, token: str, *, clients: int) -> float:
    """Print the figures; gives the memory that the clients cost, in MiB."""
    environ = {**os.environ, "DEPLOYCORE_HOME": str(installation.settings.home)}
    process, port = start(environ)
    try:
        warm = Follower()
        first = asyncio.create_task(warm.follow(port, number, token))
        await until([warm], LINES)
        before, used = resident(process.pid), processor_seconds(process.pid)
        followers = [Follower() for _ in range(clients)]
        tasks = [asyncio.create_task(each.follow(port, number, token)) for each in followers]
        opened = await until(followers, LINES)
        await asyncio.to_thread(write, installation, number)
        told = await until(followers, 2 * LINES)
        after, used = resident(process.pid), processor_seconds(process.pid) - used
        for each in (first, *tasks):
            each.cancel()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
    print(
        f"{clients} clients: {LINES} lines each after {opened:.1f} s, {LINES} more in {told:.1f} s"
    )
    print(f"memory of the server: {before:.0f} MiB before, {after:.0f} MiB after")
    print(f"processor time of the server: {used:.1f} s")
    return after - before


def main() -> None:
    """Measure, and fail where it costs too much."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, default=200)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / "home"
        settings = Settings.from_environment({"DEPLOYCORE_HOME": str(home)})
        with Installation(settings) as installation:
            number, token = prepare(installation, Path(name))
            write(installation, number)
            cost = asyncio.run(measure(installation, number, token, clients=given.clients))
    verdict = "ok" if cost < MOST_MEBIBYTES else "TOO MUCH"
    print(f"open live logs: {cost:.0f} MiB, allowed {MOST_MEBIBYTES:.0f}: {verdict}")
    sys.exit(0 if cost < MOST_MEBIBYTES else 3)


if __name__ == "__main__":
    main()
