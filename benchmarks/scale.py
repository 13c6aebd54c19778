"""What each command, delivery and idle minute costs with ten times as many applications.

Two installations in one run, the larger one with ten times the applications and triggers: the
same work is done on both in turns, and what counts is the ratio of processor times. What concerns
one application should not grow with the others; what lists or writes all of them may grow as they
do, and no faster. No git host is asked: nothing is due, or deployments are made up.

Run: python benchmarks/scale.py [--quick] [--database postgresql] [--plans]
``--plans`` prints how the database looks up what is asked all the time.
Exit code 3: a bound was missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from pydantic import SecretStr
from sqlalchemy import Engine, event, insert, text, update

from deploycore import Application, Installation, Settings
from deploycore.cli import main
from deploycore.events import WebhookDelivery
from deploycore.server.deliveries import Acceptor
from deploycore.server.known_webhooks import Directory
from deploycore.store import tables
from deploycore.testing.webhooks import hmac_sha256
from deploycore.worker import Worker
from deploycore.worker.polling import Poller
from deploycore.worker.previews import remove_ended
from tests.postgresql import running_server, why_not

FLAT, LINEAR = 3.0, 20.0
"""How much more ten times as many may cost: of what concerns one, and of what concerns all."""

IDLE_SECONDS = 30.0
SECRET = SecretStr("made-up-secret-of-a-benchmark")
COMMIT = "c" * 40
EVENT = {"repository": {"full_name": "acme/site", "uuid": "{1}"}, "push": {"changes": []}}


class Site:
    """An installation with so many applications, and ten times as many settled triggers."""

    def __init__(self, home: Path, count: int, database: str | None) -> None:
        environment = {"DEPLOYCORE_HOME": str(home)}
        if database is not None:
            environment["DEPLOYCORE_DATABASE_URL"] = database
        self.environment = environment
        self.count = count
        self.home = home
        self.installation = Installation(Settings.from_environment(environment))
        self.store = self.installation.store
        self.installation.add_provider(
            "work", "bitbucket", {"mode": "access-token", "workspace": "acme"}, {"token": SECRET}
        )
        self.definitions = [self.definition(number) for number in range(count)]
        self.installation.apply(self.definitions)
        self.added = count
        self._fill()
        self.directory = Directory(self.installation)
        self.directory.warm_up()
        self.acceptor = Acceptor(
            self.installation,
            self.directory,
            replay_window=timedelta(days=1),
            previews=lambda *given: "ignored",
        )
        self._delivered = 0

    def definition(self, number: int, **more: Any) -> Application:
        given = {"repository": "acme/site", "ref": "main", "auto_deploy": {}, "provider": "work"}
        name = f"app{number}"
        return Application(name=name, **(given | {"target": self.home / "live" / name} | more))

    def add_one(self) -> None:
        self.added += 1
        definition = self.definition(self.added)
        self.store.add_application(definition)

    def change_one(self) -> None:
        """What ``deploycore apply`` does with a file that has one change."""
        keep = 3 + self.added % 7
        self.added += 1
        self.installation.apply([self.definition(self.count // 2, keep=keep)])

    def deliver(self, branch: str, *, signed: bool = True, name: str = "app7") -> str:
        self._delivered += 1
        new = {"type": "branch", "name": branch, "target": {"hash": f"{self._delivered:040x}"}}
        body = json.dumps(
            EVENT | {"push": {"changes": [{"new": new, "old": None}]}, "n": self._delivered}
        ).encode()
        signature = hmac_sha256(SECRET, body) if signed else "0" * 64
        headers = {"x-event-key": "repo:push", "x-hub-signature": f"sha256={signature}"}
        return self.acceptor.accept(name, WebhookDelivery(headers, body)).outcome

    def command(self, *arguments: str) -> None:
        with redirect_stdout(StringIO()):
            try:
                main(list(arguments))
            except SystemExit as ended:
                if ended.code not in (0, None, 1):  # doctor has something to say
                    raise

    @contextmanager
    def active(self) -> Iterator[None]:
        """Have commands use it."""
        before = dict(os.environ)
        os.environ.update(self.environment)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    def _fill(self) -> None:
        now = datetime.now(UTC)
        sealed = self.installation.secrets.seal(SECRET)
        names = [each.name for each in self.definitions]
        with self.store._database.writing() as connection:
            connection.execute(
                insert(tables.webhooks),
                [
                    {"application": name, "secret": sealed, "created_at": now, "delivered_at": now}
                    for name in names
                ],
            )
            connection.execute(
                insert(tables.triggers),
                [
                    {
                        "application": name,
                        "cause": "push",
                        "ref": "main",
                        "commit": COMMIT,
                        "actor": "",
                        "priority": 0,
                        "delivery": f"{name}-{number}",
                        "received_at": now,
                        "not_before": now,
                        "attempts": 0,
                        "settled_at": now,
                        "turn": number,
                    }
                    for name in names
                    for number in range(10)
                ],
            )
        self.postpone_polls()

    def postpone_polls(self) -> None:
        """Have nothing due: of what was added since, too."""
        later = datetime.now(UTC) + timedelta(hours=1)
        with self.store._database.writing() as connection:
            connection.execute(
                update(tables.polls).values(due_at=later, seconds=900.0, commit=COMMIT)
            )

    def close(self) -> None:
        self.directory.close()
        self.installation.close()


@dataclass(frozen=True)
class Case:
    """Something that is done, and how much more ten times as many may make it cost."""

    name: str
    bound: float
    run: Callable[[Site], object]
    rounds: int = 20


def _worker_minute(site: Site) -> float:
    """Processor seconds of an idle worker in a minute."""
    site.postpone_polls()
    with Worker(site.installation):
        time.sleep(2.0)
        before = time.process_time()
        time.sleep(IDLE_SECONDS)
        return (time.process_time() - before) * 60 / IDLE_SECONDS


def _claim(site: Site) -> None:
    site.store.triggers.add("app3", cause="push")
    (name,) = site.store.triggers.pending(host="here", limit=1)
    site.store.claims.take(name, "worker", lease=30)
    ids = [each.id for each in site.store.triggers.open(name)]
    site.store.triggers.settle(ids)
    site.store.claims.release(name, "worker")


CASES = (
    Case("a delivery, accepted", FLAT, lambda site: site.deliver("main")),
    Case("a delivery, ignored: another ref", FLAT, lambda site: site.deliver("other")),
    Case("a delivery, refused: its signature", FLAT, lambda s: s.deliver("main", signed=False)),
    Case("a delivery, refused: unknown", FLAT, lambda site: site.deliver("main", name="nothing")),
    Case("a trigger: added, claimed, settled", FLAT, _claim),
    Case("a look of the worker: nothing waits", FLAT, lambda s: s.store.triggers.queue("here")),
    Case("a look of the poller: nothing is due", FLAT, lambda s: Poller(s.installation).look()),
    Case("a look for previews to remove", FLAT, lambda site: remove_ended(site.installation)),
    Case("apply: one application of all changed", FLAT, Site.change_one),
    Case("app show", FLAT, lambda site: site.command("app", "show", "app3")),
    Case("deployments of one application", FLAT, lambda s: s.command("deployments", "app3")),
    Case("app create", FLAT, Site.add_one),
    Case("app list", LINEAR, lambda site: site.command("app", "list"), 2),
    Case("export", LINEAR, lambda site: site.command("export"), 1),
    Case(
        "apply: all applications, unchanged",
        LINEAR,
        lambda s: s.installation.apply(s.definitions),
        2,
    ),
    Case("apply: all applications, changed", LINEAR, lambda site: _change_all(site), 2),
    Case("recover", LINEAR, lambda site: site.command("recover"), 1),
    Case("provider list", FLAT, lambda site: site.command("provider", "list"), 3),
    Case("token list", FLAT, lambda site: site.command("token", "list"), 3),
    Case("doctor --offline", LINEAR, lambda site: site.command("doctor", "--offline"), 1),
)


def _apply_all(site: Site) -> None:
    site.installation.apply(site.definitions)


def _change_all(site: Site) -> None:
    site.added += 1
    keep = 3 + site.added % 7
    site.installation.apply([each.model_copy(update={"keep": keep}) for each in site.definitions])


def measure(case: Case, sites: list[Site]) -> list[float]:
    """Processor milliseconds of each site's best half of the rounds, taken in turns."""
    found: list[list[float]] = [[] for _ in sites]
    for number in range(case.rounds + 1):
        for site, times in zip(sites, found, strict=True):
            with site.active():
                before = time.process_time()
                case.run(site)
                if number or case.rounds == 1:  # the first one opens and compiles
                    times.append((time.process_time() - before) * 1000)
    return [statistics.median(sorted(times)[: max(1, len(times) // 2)]) for times in found]


def show_plans(site: Site) -> None:
    """How SQLite looks up what is asked all the time."""
    seen: dict[str, Any] = {}

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        if statement.split()[0] in ("SELECT", "UPDATE", "DELETE", "INSERT"):
            seen.setdefault(statement, parameters)

    event.listen(Engine, "before_cursor_execute", note)
    for case in CASES[:8]:
        case.run(site)
    event.remove(Engine, "before_cursor_execute", note)
    with site.store._database.reading() as connection:
        for statement, parameters in seen.items():
            if isinstance(parameters, list):
                continue
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            print(f"\n{' '.join(statement.split())[:160]}")
            for row in rows:
                print(f"    {row[3]}")


def run() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1,000 applications instead of 10,000")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--plans", action="store_true")
    given = parser.parse_args()
    if given.database == "postgresql" and why_not():
        print(why_not())
        return 0
    large = 1_000 if given.quick else 10_000
    with ExitStack() as stack:
        server = stack.enter_context(running_server()) if given.database == "postgresql" else None
        sites = []
        for count in (large // 10, large):
            place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            address = stack.enter_context(server.database()) if server else None
            sites.append(Site(place, count, address))
            stack.callback(sites[-1].close)
        if given.database == "postgresql":
            for site in sites:
                with site.store._database.writing() as connection:
                    connection.execute(text("ANALYZE"))
        if given.plans:
            show_plans(sites[-1])
            return 0
        return _report(sites, given.quick)


def _report(sites: list[Site], is_quick: bool) -> int:
    small, large = (f"{site.count:,}" for site in sites)
    print(f"| processor time | {small} applications | {large} | ratio |\n|---|---|---|---|")
    missed = False
    for case in CASES:
        before, after = measure(case, sites)
        ratio = after / max(before, 0.05)
        # What takes a millisecond or two may double by chance.
        is_missed = ratio > case.bound and after > 5.0
        missed |= is_missed
        mark = " missed" if is_missed else ""
        print(f"| {case.name} | {before:.1f} ms | {after:.1f} ms | {ratio:.1f}{mark} |", flush=True)
    if not is_quick:
        before, after = map(_worker_minute, sites)
        print(
            f"| a worker's idle minute | {before:.2f} s | {after:.2f} s"
            f" | {after / max(before, 0.05):.1f} |"
        )
        missed |= after > FLAT * max(before, 0.6)
    return 3 if missed else 0


if __name__ == "__main__":
    sys.exit(run())
