"""A burst of webhooks while what they ask for is deployed: 1,000 signed ones for 100 applications,
among 10,000 that are unsigned, wrongly signed, garbage, or for applications that are not there.

A real ``deploycore serve`` with workers on SQLite; the deployments are real, each application's
from a repository of its own in the sandbox. Afterwards all applications have to be on their newest
commits. The burst is sent twice, by a process of its own: what the server holds after the second
one is compared with what it held after the first. What refusing costs is measured apart, without
workers; its peer is accepting.

Run: python benchmarks/burst.py [--quick]
Exit code 3: a bound was missed.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from figures import descriptors, percentile, processor_seconds, resident
from git_runs import scratch
from webhooks import CONNECTIONS, Sent, post, send

from tests.auto_deploy import Push, Site, site_at, wait_for

APPLICATIONS = 100
GROWTH_MOST = 8.0
"""MiB that the second burst may add."""
REFUSAL_MOST = 0.6
"""The processor time that refusing may take, as a share of what accepting takes."""
SETTLED_WITHIN = 900.0


def main() -> int:
    """Print the tables; 3 where a bound was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests")
    share = 10 if parser.parse_args().quick else 1
    signed, wrong = 1000 // share, 10_000 // share
    with tempfile.TemporaryDirectory(dir=scratch()) as name, site_at(Path(name)) as site:
        site.create(APPLICATIONS, seconds=None)
        results = [refusing_is_cheap(site, max(200, signed), max(400, wrong // 4))]
        results += bursts(site, signed, wrong)
    return 0 if all(results) else 3


def refusing_is_cheap(site: Site, signed: int, wrong: int) -> bool:
    """Compare what requests of each kind cost the server alone."""
    server = site.serve("--workers", "0")
    sent(site.port, garbage(20))
    kinds = {
        "accepted": accepted([site.push(site.names[n % len(site.names)]) for n in range(signed)])
    }
    for each in garbage(wrong):
        kinds.setdefault(each.kind, []).append(each)
    print(f"{'':36} {'count':>7} {'CPU, ms each':>13} {'ratio':>7}")
    costs = {}
    for kind, requests in kinds.items():
        before = processor_seconds(server.pid)
        sent(site.port, requests)
        costs[kind] = (processor_seconds(server.pid) - before) * 1000 / len(requests)
        ratio = costs[kind] / costs["accepted"]
        print(f"{kind:36} {len(requests):7,} {costs[kind]:13.2f} {ratio:7.2f}", flush=True)
    server.terminate()
    server.wait()
    worst = max(cost for kind, cost in costs.items() if kind != "accepted") / costs["accepted"]
    return told("refusing, as a share of accepting", worst, REFUSAL_MOST)


def bursts(site: Site, signed: int, wrong: int) -> list[bool]:
    """Two bursts, and what they left behind."""
    server = site.serve("--workers", "2")
    wait_for(site.is_settled, "the pushes from before are not settled", SETTLED_WITHIN)
    held, taken = [], {}
    for number in range(2):
        pushes = [site.push(site.names[n % len(site.names)]) for n in range(signed)]
        requests = [*accepted(pushes), *garbage(wrong)]
        random.Random(number).shuffle(requests)
        began = time.monotonic()
        taken = sent(site.port, requests)
        answered = time.monotonic() - began
        wait_for(site.is_settled, "not settled", SETTLED_WITHIN)
        settled = time.monotonic() - began
        held.append((resident(server.pid), descriptors(server.pid)))
        print(
            f"\nburst {number + 1}: {len(requests):,} requests answered in {answered:.1f} s while"
            f" deployments ran; all {APPLICATIONS} applications settled after {settled:.1f} s;"
            f"\nthe server has {held[-1][0]:.0f} MiB and {held[-1][1]} descriptors",
            flush=True,
        )
    print(f"\n{'the second one':36} {'count':>7} {'p50, ms':>9} {'p99, ms':>9}")
    for kind, found in sorted(taken.items()):
        print(
            f"{kind:36} {len(found):7,} {percentile(found, 50):9.1f} {percentile(found, 99):9.1f}"
        )
    behind = [name for name in site.names if site.live(name) != site.newest(name)]
    problems = site.problems({name: site.newest(name) for name in site.names})
    for problem in problems[:20]:
        print(problem)
    counted = Counter(each.state for each in site.installation.store.deployments.list())
    print(f"deployments: {', '.join(f'{count} {state}' for state, count in counted.items())}")
    return [
        told("applications that are not on their newest commit", len(behind), 0),
        told("other things that are not as promised", len(problems), 0),
        told("MiB that the second burst added", held[1][0] - held[0][0], GROWTH_MOST),
        told("descriptors that it added", held[1][1] - held[0][1], CONNECTIONS),
    ]


def accepted(pushes: Sequence[Push]) -> list[Sent]:
    """The right deliveries of pushes."""
    return [
        Sent("accepted", post(each.application, each.body, lines_of(each.headers)), 202)
        for each in pushes
    ]


def garbage(count: int) -> list[Sent]:
    """Wrong deliveries, of four kinds."""
    wrong = "X-Event-Key: repo:push\r\nX-Hub-Signature: sha256=" + "0" * 64 + "\r\n"
    body = b'{"push": {"changes": []}, "padding": "' + b"x" * 2000 + b'"}'
    found = []
    for number in range(count):
        name = f"app{number % APPLICATIONS}"
        found.append(
            (
                Sent("refused, no signature", post(name, body), 401),
                Sent("refused, wrong signature", post(name, body, wrong), 401),
                Sent("refused, garbage", post(name, bytes(range(256)) * 8, wrong), 401),
                Sent("refused, unknown application", post(f"nothing{number}", body), 404),
            )[number % 4]
        )
    return found


def lines_of(headers: object) -> str:
    """Headers as they are on the wire."""
    return "".join(f"{name}: {value}\r\n" for name, value in dict(headers).items())  # type: ignore[call-overload]


def sent(port: int, requests: Sequence[Sent]) -> dict[str, list[float]]:
    """Send all, by a process that does nothing else; gives milliseconds by kind."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_sent, port, requests).result()


def _sent(port: int, requests: Sequence[Sent]) -> dict[str, list[float]]:
    return asyncio.run(send(port, requests, connections=CONNECTIONS))


def told(what: str, found: float, most: float) -> bool:
    """Print a bound, and whether it holds."""
    good = found <= most
    print(f"{what}: {found:.2f}, allowed {most:.2f}: {'ok' if good else 'MISSED'}", flush=True)
    return good


if __name__ == "__main__":
    sys.exit(main())
