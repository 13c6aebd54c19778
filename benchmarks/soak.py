"""A server that is never left alone for a while, and what it holds afterwards.

Pushes, deliveries that come again, unsigned requests, pull requests that are opened, changed,
merged and declined, and pushes that nobody tells of, which polling finds: a few of these a second,
against a real ``deploycore serve`` with workers on SQLite; the deployments are real ones, of
repositories of the sandbox. In the end all applications have to be on their newest commits,
previews gone, and memory, descriptors, threads and tables no larger than what was done explains.

All of it is on the loopback address and in a temporary directory.

Run: python benchmarks/soak.py [--minutes 30] [--seed N] [--rate 4]
Exit code 3: a bound was missed.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from figures import descriptors, percentile, processor_seconds, resident, threads
from git_runs import scratch
from sqlalchemy import func, select

from deploycore.store.tables import metadata
from tests.auto_deploy import Push, Site, deliver, site_at, status_of, wait_for

APPLICATIONS = 6
POLL_SECONDS = 10
SAMPLE_SECONDS = 2.0
P50_MOST, P99_MOST = 20.0, 250.0  # milliseconds
GROWTH_MOST = 12.0  # MiB, from the second quarter to the last one
MORE_MOST = 6  # descriptors, threads
SETTLED_WITHIN = 180.0
KEPT = 50  # pushes that may come again


@dataclass(frozen=True)
class Sample:
    """What the server held at a time."""

    mebibytes: float
    descriptors: int
    threads: int


class Soak:
    """Whoever sends something to the server, and what came of it.

    Attributes:
        done: How often each thing was done.
        wrong: Answers that are not right.
        taken: Milliseconds of answers, by what was sent.
    """

    def __init__(self, site: Site, place: Path, seed: int) -> None:
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.taken: dict[str, list[float]] = {}
        self.samples: list[Sample] = []
        self._site = site
        self._chance = random.Random(seed)
        self._pushes: list[Push] = []
        self._requests: list[Any] = []
        self._number = 0
        self._lock = threading.Lock()
        auto: dict[str, object] = {"poll": "off"}
        self.pushed = site.create(APPLICATIONS, auto_deploy=auto)
        (self.polled,) = site.create(1, prefix="polled", auto_deploy={"poll": POLL_SECONDS})
        previews = {"target": f"{place}/previews/{{number}}", "limit": 5}
        (self.parent,) = site.create(1, prefix="parent", auto_deploy={**auto, "previews": previews})
        self.server = site.serve("--workers", "2")
        webhooks = site.installation.webhooks
        webhooks.register(self.parent, webhooks.url(self.parent, f"http://127.0.0.1:{site.port}"))
        self._actions: list[tuple[Callable[[], None], int]] = [
            (self._push, 50),
            (self._again, 12),
            (self._unsigned, 25),
            (self._open, 4),
            (self._change, 3),
            (self._close, 4),
            (self._push_unheard, 2),
        ]

    def run(self, seconds: float, rate: float) -> None:
        """Do this and that, so many things a second."""
        ends = time.monotonic() + seconds
        sampler = threading.Thread(target=self._sample_until, args=(ends,))
        sampler.start()
        actions, weights = zip(*self._actions, strict=True)
        with ThreadPoolExecutor(4) as hands:
            while time.monotonic() < ends:
                (action,) = self._chance.choices(actions, weights)
                if action in (self._open, self._change, self._close):
                    action()
                else:
                    hands.submit(self._done, action)
                time.sleep(self._chance.uniform(0.0, 2.0 / rate))
        sampler.join()

    def settle(self) -> list[str]:
        """Close what is open, wait until nothing is to be done, and tell what is not as it should
        be."""
        while self._requests:
            self._close()
        site, found = self._site, []
        site.sandbox.webhooks.wait()
        previews = site.installation.store.previews
        for what, is_so in (
            ("what was pushed is not settled", site.is_settled),
            ("previews stay", lambda: not previews.list()),
            ("what nobody told of is not found", self._is_polled),
            ("there is more to do after that", site.is_settled),
        ):
            try:
                wait_for(is_so, what, SETTLED_WITHIN)
            except AssertionError as error:
                found.append(str(error))
        names = [*self.pushed, self.polled]
        behind = [name for name in names if site.live(name) != site.newest(name)]
        commits = dict(site.sandbox.branches(site.sandbox.existing("acme", self.parent)))
        (live,) = site.installation.store.deployments.list(self.parent, state="healthy", limit=1)
        if "main" in commits and live.commit != commits["main"]:
            behind.append(self.parent)
        found += [f"{name} is not on its newest commit" for name in behind]
        found += site.problems({name: site.newest(name) for name in names})
        return found + self.wrong

    def rows(self) -> dict[str, int]:
        """How many rows each table has."""
        database = self._site.installation.store.triggers._database
        with database.reading() as connection:
            return {
                name: connection.scalar(select(func.count()).select_from(table)) or 0
                for name, table in metadata.tables.items()
            }

    def explained(self) -> dict[str, int]:
        """How many rows there may be of each table that is worth a look."""
        told = self.done["push"] + self.done["pull request"] * 4 + self.done["push, unheard"]
        applications = len(self._site.names)
        return {
            "triggers": told + applications,
            "deployments": told + applications,
            "applications": applications,
            "previews": 0,
            "webhooks": applications,
            "polls": 1,
            "claims": 0,
            "workers": 1,
            "tokens": 0,
        }

    def _done(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:
            self.wrong.append(f"{action.__name__}: {error!r}")

    def _timed(self, kind: str, wanted: int, send: Callable[[], int | None]) -> None:
        began = time.perf_counter()
        status = send()
        with self._lock:
            self.taken.setdefault(kind, []).append((time.perf_counter() - began) * 1000)
            self.done[kind] += 1
        if status != wanted:
            self.wrong.append(f"{kind} was answered {status}")

    def _push(self) -> None:
        push = self._site.push(self._chance.choice(self.pushed))
        self._timed("push", 202, lambda: deliver(push, self._site.port))
        with self._lock:
            self._pushes = [*self._pushes[-KEPT:], push]

    def _again(self) -> None:
        if self._pushes:
            push = self._chance.choice(self._pushes)
            self._timed("push, again", 200, lambda: deliver(push, self._site.port))

    def _unsigned(self) -> None:
        name, port = self._chance.choice([*self.pushed, "nothing"]), self._site.port
        wanted = 404 if name == "nothing" else 401
        self._timed("unsigned", wanted, lambda: status_of(port, "POST", f"/webhooks/{name}", b"{}"))

    def _push_unheard(self) -> None:
        self._site.push(self.polled)
        self.done["push, unheard"] += 1

    def _open(self) -> None:
        if len(self._requests) < 4:
            branch = self._commit(None)
            sandbox = self._site.sandbox
            self._requests.append(sandbox.open_pull_request("acme", self.parent, branch, "main"))
            self.done["pull request"] += 1

    def _change(self) -> None:
        if self._requests:
            self._commit(self._chance.choice(self._requests).source_branch)
            self.done["pull request, changed"] += 1

    def _close(self) -> None:
        if not self._requests:
            return
        row = self._requests.pop(self._chance.randrange(len(self._requests)))
        if self._chance.random() < 0.5:
            self._site.sandbox.merge_pull_request(row)
            self.done["pull request, merged"] += 1
        else:
            self._site.sandbox.decline_pull_request(row)
            self.done["pull request, declined"] += 1

    def _commit(self, branch: str | None) -> str:
        self._number += 1
        branch = branch or f"topic/{self._number}"
        files = {"page": str(self._number).encode()}
        self._site.sandbox.publish("acme", self.parent, branch, files, f"Change {self._number}")
        return branch

    def _is_polled(self) -> bool:
        return self._site.live(self.polled) == self._site.newest(self.polled)

    def _sample_until(self, ends: float) -> None:
        while time.monotonic() < ends:
            with suppress(OSError):
                self.samples.append(self.sample())
            time.sleep(SAMPLE_SECONDS)

    def sample(self) -> Sample:
        """What the server holds now."""
        process = self.server.pid
        return Sample(resident(process), descriptors(process), threads(process))


def main() -> int:
    """Soak, and print what came of it; 3 where a bound was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--rate", type=float, default=4.0, help="things done a second")
    options = parser.parse_args()
    print(f"{options.minutes:g} minutes; the same again: --seed {options.seed}\n", flush=True)
    with tempfile.TemporaryDirectory(dir=scratch()) as name:
        place = Path(name)
        with site_at(place) as site:
            soak = Soak(site, place, options.seed)
            began = time.monotonic()
            soak.run(options.minutes * 60, options.rate)
            problems = soak.settle()
            seconds = time.monotonic() - began
            results = [show(soak, seconds, problems), *bounds(soak)]
    return 0 if all(results) else 3


def show(soak: Soak, seconds: float, problems: Sequence[str]) -> bool:
    """Print what was done, and what is wrong."""
    print(f"{'what':26} {'count':>7} {'p50, ms':>9} {'p99, ms':>9}")
    for kind, count in sorted(soak.done.items()):
        taken = soak.taken.get(kind)
        times = f" {percentile(taken, 50):9.1f} {percentile(taken, 99):9.1f}" if taken else ""
        print(f"{kind:26} {count:7,}{times}")
    used = processor_seconds(soak.server.pid)
    print(f"\nin {seconds:.0f} s the server has used {used:.0f} s of processor time")
    for problem in problems[:20]:
        print(problem)
    return told("things that are not as they should be", len(problems), 0)


def bounds(soak: Soak) -> list[bool]:
    """Print each bound, and whether it holds."""
    samples, count = soak.samples, len(soak.samples)
    early, late = samples[count // 4 : count // 2], samples[count * 3 // 4 :]
    grown = median(e.mebibytes for e in late) - median(e.mebibytes for e in early)
    eighths = [samples[count * n // 8 : count * (n + 1) // 8] for n in range(8)]
    series = " ".join(f"{median(e.mebibytes for e in each):.0f}" for each in eighths if each)
    print(f"memory, MiB, in each eighth: {series}")
    results = [
        told("p50 of accepting, ms", percentile(soak.taken["push"], 50), P50_MOST),
        told("p99 of accepting, ms", percentile(soak.taken["push"], 99), P99_MOST),
        told("MiB more in the last quarter than in the second", grown, GROWTH_MOST),
    ]
    for what in ("descriptors", "threads"):
        # The fewest: a deployment has up to 50 packs of the cache open, with two files of each.
        more = min(getattr(e, what) for e in late) - min(getattr(e, what) for e in early)
        results.append(told(f"{what} more, at the least", more, MORE_MOST))
    rows = soak.rows()
    for table, most in soak.explained().items():
        results.append(told(f"rows of {table}", rows[table], most))
    return results


def told(what: str, found: float, most: float) -> bool:
    """Print a bound, and whether it holds."""
    good = found <= most
    print(f"{what}: {found:.1f}, allowed {most:.0f}: {'ok' if good else 'MISSED'}")
    return good


if __name__ == "__main__":
    sys.exit(main())
