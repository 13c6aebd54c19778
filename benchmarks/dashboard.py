"""What the pages of the dashboard cost with 10,000 applications and 100,000 deployments.

There are also 10,000 users, 1,000 tokens, 1,000 providers, 100,000 entries of the audit log, and
100,000 deliveries, half of them of one application.

Each page is asked for several times, and the median of the processor time, server and client
together, and the size of the page are printed. With PostgreSQL, the processor time of its processes
is added, and is in a column of its own. The time of a request that does nothing is printed as a
comparison (``/healthz``), and with Chromium, the time until the first content is painted.

Run: python benchmarks/dashboard.py [--quick] [--database postgresql]
Exit code 3: a bound was missed.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import uvicorn
from pydantic import SecretStr
from sqlalchemy import Table, insert, select, text
from starlette.testclient import TestClient

from deploycore import Application, Installation, Settings
from deploycore.server.accounts.cookies import SESSION
from deploycore.server.app import create_application
from deploycore.server.dashboard.table import PAGES
from deploycore.store import tables
from deploycore.store.token_digests import digest_of, new_secret
from tests.postgresql import running_server, why_not

SERVER_SECONDS = 0.1
PAGE_BYTES = 150_000
PAINT_SECONDS = 1.0
SAMPLES = {
    "application": "app7",
    "deployment": "77",
    "provider": "work",
    "user": "ada",
    "token": "token7",
}
LEFT_OUT = (
    "/sign-in",
    "/callback",
    "/doctor",
    "/plugins",
    "authorize",
    "/card",
    "/test",
)
"""Pages that are not about stored things, or ask git hosts and plugins."""

STATES = ["healthy"] * 7 + ["failed", "rolled_back", "cancelled"]


def fill(installation: Installation, home: Path, applications: int, deployments: int) -> None:
    """Make up applications and their history."""
    installation.add_provider(
        "work",
        "bitbucket",
        {"mode": "access-token", "workspace": "acme"},
        {"token": SecretStr("made-up-secret-of-a-benchmark")},
    )
    definitions = [
        Application(
            name=f"app{number}",
            provider="work",
            repository=f"acme/repository-{number}",
            ref="main",
            target=home.parent / "live" / f"app{number}",
        )
        for number in range(applications)
    ]
    installation.apply(definitions)
    began = datetime.now(UTC) - timedelta(seconds=60 * deployments)
    with installation.store._database.writing() as connection:
        revision = connection.scalar(select(tables.applications.c.revision).limit(1))
        for first in range(0, deployments, 1000):
            rows = []
            for number in range(first, min(first + 1000, deployments)):
                at = began + timedelta(seconds=60 * number)
                state = STATES[number % len(STATES)]
                rows.append(
                    {
                        "application": f"app{number % applications}",
                        "kind": "deploy",
                        "state": state,
                        "ref": "main",
                        "commit": f"{number:040x}",
                        "release": f"20260101T000000Z-{number:012x}",
                        "author": "Ada Lovelace",
                        "subject": f"Change number {number}",
                        "requested_by": "push",
                        "requested_at": at,
                        "started_at": at,
                        "finished_at": at + timedelta(seconds=5),
                        "files": 250,
                        "bytes": 1_000_000,
                        "seconds": {"fetching": 1.0, "building": 3.0},
                        "revision": revision,
                        "cancel_requested": False,
                        "unproved": False,
                        "host": "",
                        "home": "",
                        "error": "The step failed." if state == "failed" else None,
                        "error_code": "step_failed" if state == "failed" else None,
                    }
                )
            connection.execute(insert(tables.deployments), rows)


def fill_other_lists(installation: Installation, *, share: int) -> None:
    """Make up users, tokens, providers, entries of the audit log, and deliveries."""
    secret = {"token": SecretStr("made-up-secret-of-a-benchmark")}
    settings = {"mode": "access-token", "workspace": "acme"}
    for number in range(1_000 // share):
        installation.add_provider(f"provider{number}", "bitbucket", settings, secret)
    now = datetime.now(UTC)
    user = {"role": "read", "disabled": False, "created_at": now, "changed_at": now}
    token = {"role": "read", "created_at": now}
    entry = {"kind": "application", "outcome": "done", "request": "0" * 32, "address": "192.0.2.1"}
    delivery = {
        "outcome": "accepted",
        "reason": "",
        "message": "",
        "event": "push",
        "ref": "main",
        "actor": "Ada Lovelace",
        "sender": "192.0.2.1",
        "count": 1,
        "first_at": now,
        "received_at": now,
    }
    many = 100_000 // share
    insert_rows(
        installation, tables.users, (user | {"name": f"user{n}"} for n in range(10_000 // share))
    )
    insert_rows(
        installation,
        tables.tokens,
        (token | {"name": f"token{n}", "digest": f"{n:064x}"} for n in range(1_000 // share)),
    )
    insert_rows(
        installation,
        tables.audit,
        (
            entry
            | {
                "at": now - timedelta(seconds=many - n),
                "actor": f"user user{n % 1000}",
                "operation": f"operation_{n % 20}",
                "subject": f"app{n % 200}",
            }
            for n in range(many)
        ),
    )
    insert_rows(
        installation,
        tables.deliveries,
        (
            delivery
            | {
                "application": f"app{7 if n % 2 else n % 200}",
                "commit": f"{n:040x}",
                "delivery": f"{n}",
            }
            for n in range(many)
        ),
    )


def insert_rows(installation: Installation, table: Table, rows: Iterable[dict[str, Any]]) -> None:
    """Insert rows, some thousand in a transaction."""
    waiting = iter(rows)
    while some := list(islice(waiting, 5_000)):
        with installation.store._database.writing() as connection:
            connection.execute(insert(table), some)


def pages() -> list[str]:
    found = [
        "/?search=repository-99",
        "/?which=attention",
        "/?which=failed",
        "/audit?actor=user%20user7",
        "/audit?operation=operation_7",
        "/audit?subject=app7",
        "/users?after=user5",
    ]
    for page in PAGES:
        if page.method == "GET" and not any(each in page.path for each in LEFT_OUT):
            found.append(re.sub(r"{(\w+)}", lambda name: SAMPLES[name[1]], page.path))
    return found


@contextmanager
def serving(application: object) -> Iterator[str]:
    """Serve an application on a free port of this machine."""
    server = uvicorn.Server(uvicorn.Config(application, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def first_paint(url: str, path: str, cookie: str) -> float | None:
    """Seconds until a browser has painted a page's first content; ``None`` without a browser."""
    program = shutil.which("chromium")
    if program is None:
        return None
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = running.chromium.launch(executable_path=program, args=options)
        context = browser.new_context(base_url=url)
        context.add_cookies([{"name": SESSION, "value": cookie, "url": url}])
        found = []
        for _ in range(5):
            page = context.new_page()
            page.goto(path)
            page.wait_for_timeout(300)
            found.append(
                page.evaluate(
                    "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 1e6"
                )
            )
            page.close()
        browser.close()
    return statistics.median(found) / 1000


class DatabaseServer:
    """The processor time of a PostgreSQL server's processes.

    Args:
        installation: Its database is on this machine; with SQLite, no time is counted.
    """

    def __init__(self, installation: Installation) -> None:
        self._parent = 0
        if not installation.store.has_one_writer:
            with installation.store._database.writing() as connection:
                backend = connection.scalar(text("SELECT pg_backend_pid()"))
                connection.execute(text("ANALYZE"))  # as its autovacuum, which is off here, does
            self._parent = int(_fields_of(backend)[1])

    @property
    def seconds(self) -> float:
        """What all of them have used until now, those that have ended too."""
        if not self._parent:
            return 0.0
        ended = _fields_of(self._parent)[13:15]
        found = sum(map(int, ended)) / os.sysconf("SC_CLK_TCK")
        for each in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if _fields_of(int(each.name))[1] == str(self._parent):
                    found += int((each / "schedstat").read_text().split()[0]) / 1e9
        return found


def _fields_of(process: int) -> list[str]:
    """The fields of proc(5)'s ``stat`` behind the name."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()


def measure(
    client: TestClient, path: str, rounds: int, server: DatabaseServer
) -> tuple[int, float, float, int]:
    seconds, of_server = [], []
    for _ in range(rounds + 1):
        began, before = time.process_time(), server.seconds
        answer = client.get(path, follow_redirects=False)
        seconds.append(time.process_time() - began)
        of_server.append(server.seconds - before)
    own, theirs = statistics.median(seconds[1:]), statistics.median(of_server[1:])
    return answer.status_code, own, theirs, len(answer.content)


def run(home: Path, database: str | None, *, quick: bool) -> bool:
    environment = {"DEPLOYCORE_HOME": str(home)}
    if database is not None:
        environment["DEPLOYCORE_DATABASE_URL"] = database
    applications, deployments = (200, 2_000) if quick else (10_000, 100_000)
    is_missed = False
    with Installation(Settings.from_environment(environment)) as installation:
        fill(installation, home, applications, deployments)
        fill_other_lists(installation, share=50 if quick else 1)
        store, cookie = installation.store, new_secret()
        store.users.add("ada", role="admin")
        store.sessions.add("ada", digest=digest_of(cookie))
        application = create_application(installation)
        client = TestClient(application.asgi)
        client.cookies.set(SESSION, cookie.get_secret_value())
        print(f"{applications:,} applications, {deployments:,} deployments")
        print(f"{'page':<44} {'status':>6} {'ms':>8} {'of database':>12} {'KB':>8}")
        server = DatabaseServer(installation)
        for path in ["/healthz", *pages()]:
            status, own, theirs, size = measure(client, path, 3 if quick else 7, server)
            is_over = own + theirs > SERVER_SECONDS or size > PAGE_BYTES or status >= 500
            is_missed = is_missed or is_over
            told = "  missed" if is_over else ""
            times = f"{(own + theirs) * 1000:>8.1f} {theirs * 1000:>12.1f}"
            print(f"{path:<44} {status:>6} {times} {size / 1000:>8.1f}{told}", flush=True)
        with serving(application.asgi) as url:
            for path in ("/", "/applications/app7", "/deployments/77"):
                painted = first_paint(url, path, cookie.get_secret_value())
                if painted is not None:
                    is_over = painted > PAINT_SECONDS
                    is_missed = is_missed or is_over
                    print(
                        f"first paint of {path:<33} {painted * 1000:>15.0f}{'  missed' * is_over}"
                    )
        application.close()
    return is_missed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="less data and fewer rounds")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    given = parser.parse_args()
    logging.disable(logging.WARNING)
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "home"
        database = None
        if given.database == "postgresql":
            if reason := why_not():
                sys.exit(reason)
            database = stack.enter_context(stack.enter_context(running_server()).database())
        is_missed = run(home, database, quick=given.quick)
    sys.exit(3 if is_missed else 0)


if __name__ == "__main__":
    main()
