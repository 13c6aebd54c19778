"""What listing a large workspace costs, on the Bitbucket plugin and its sandbox.

Two questions. With 100 ms for each answer, how much faster is reading ahead than one page after
another? And with no latency at all, how much work of our own (HTTP client, mapping, validation,
the contract's boundary) comes on top of what ``requests`` and ``json`` need for the same pages?
The sandbox runs in a process of its own, so that its work is not counted as ours.

Run: python benchmarks/listing.py
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection

import requests
from deploycore_bitbucket import BitbucketProvider
from deploycore_bitbucket.answers import REPOSITORY_FIELDS
from deploycore_bitbucket.pagination import PAGE_FIELDS
from deploycore_bitbucket.sandbox import Sandbox

from deploycore.configuration import parse_config
from deploycore.provider import Provider
from deploycore.provider.observers import Observers
from deploycore.provider.registry import Plugin, check_provider_class

LATENCY_SECONDS = 0.1
WITH_LATENCY = 5_000
WITHOUT_LATENCY = 10_000
MOST_OF_SEQUENTIAL = 1 / 6
MOST_OF_PEER = 4.0
ROUNDS = 5


def serve(repositories: int, latency: float, pipe: Connection) -> None:
    """The other process: a sandbox until the pipe says otherwise."""
    sandbox = Sandbox(latency=latency)
    ada = sandbox.add_user("ada")
    sandbox.add_workspace("acme", members=[ada])
    sandbox.listed_repositories("acme", repositories)
    sandbox.add_api_token(ada)
    with sandbox:
        pipe.send(dict(sandbox.connections[0].settings))
        pipe.recv()


@contextmanager
def sandbox_with(repositories: int, *, latency: float) -> Iterator[Mapping[str, object]]:
    """The settings to connect to a sandbox that runs for as long as the context."""
    processes = multiprocessing.get_context("spawn")
    ours, theirs = processes.Pipe()
    process = processes.Process(target=serve, args=(repositories, latency, theirs))
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send("stop")
        process.join()


def provider_for(settings: Mapping[str, object], **changes: object) -> Provider:
    """The plugin through the core, as every user of it gets it."""
    hooks = check_provider_class(BitbucketProvider, plugin="deploycore-bitbucket")
    origin = "deploycore_bitbucket:BitbucketProvider"
    plugin = Plugin("bitbucket", BitbucketProvider, "deploycore-bitbucket", "0", origin, hooks)
    values = {"name": "benchmark", **settings, **changes}
    config = parse_config(BitbucketProvider.Config, values, kind="bitbucket")
    return Provider(plugin, config, observers=Observers())


def count_through_deploycore(settings: Mapping[str, object], **changes: object) -> int:
    """List all repositories, as models."""
    with provider_for(settings, **changes) as provider:
        return sum(1 for _ in provider.list_repos())


def count_through_requests(settings: Mapping[str, object]) -> int:
    """List all repositories of the same pages, as what ``json`` makes of them."""
    config = parse_config(
        BitbucketProvider.Config, {"name": "benchmark", **settings}, kind="bitbucket"
    )
    if config.api_auth is None:
        raise SystemExit("The sandbox wants credentials.")
    header, value = config.api_auth.header()
    fields = ",".join((*PAGE_FIELDS, *(f"values.{field}" for field in REPOSITORY_FIELDS)))
    params: dict[str, str] | None = {"pagelen": "100", "fields": fields}
    url = f"{config.api_base_url}/repositories/acme"
    count = 0
    with requests.Session() as session:
        session.headers[header] = value.get_secret_value()
        while url:
            page = json.loads(session.get(url, params=params, timeout=30).content)
            count += len(page["values"])
            url, params = page.get("next"), None
    return count


def measured(action: Callable[[], int], *, expected: int) -> tuple[float, float]:
    """Seconds on the clock, and seconds of this process's CPU.

    Raises:
        SystemExit: The listing is not whole: then its time says nothing.
    """
    clock, cpu = time.perf_counter(), time.process_time()
    count = action()
    taken = time.perf_counter() - clock, time.process_time() - cpu
    if count != expected:
        raise SystemExit(f"{count} repositories were listed, and not {expected}.")
    return taken


def reading_ahead() -> bool:
    """Print what reading ahead gains; whether it is enough."""
    print(f"{WITH_LATENCY:,} repositories, {LATENCY_SECONDS * 1000:.0f} ms for each answer\n")
    print(f"{'':36} {'seconds':>9} {'ratio':>9}")
    with sandbox_with(WITH_LATENCY, latency=LATENCY_SECONDS) as settings:

        def seconds(**changes: object) -> float:
            return measured(
                lambda: count_through_deploycore(settings, **changes), expected=WITH_LATENCY
            )[0]

        sequential = seconds(prefetch_pages=0)
        print(f"{'one page after another':36} {sequential:9.2f} {1:9.3f}")
        for pages in (2, 4, 8):
            taken = seconds(prefetch_pages=pages)
            print(f"{f'{pages} pages at once':36} {taken:9.2f} {taken / sequential:9.3f}")
        ahead = statistics.median(seconds() for _ in range(ROUNDS))
    ratio = ahead / sequential
    print(f"{'as configured by default':36} {ahead:9.2f} {ratio:9.3f}")
    good = ratio <= MOST_OF_SEQUENTIAL
    print(f"\nallowed {MOST_OF_SEQUENTIAL:.3f}: {'ok' if good else 'TOO MUCH'}\n")
    return good


def cost_of_our_side() -> bool:
    """Print how our work compares to the least that a client does; whether it is little enough."""
    print(f"{WITHOUT_LATENCY:,} repositories, no latency, medians of {ROUNDS} rounds\n")
    print(f"{'':36} {'seconds':>9} {'CPU, s':>9} {'CPU ratio':>9}")
    with sandbox_with(WITHOUT_LATENCY, latency=0) as settings:
        ways: dict[str, Callable[[], int]] = {
            "requests and json, one by one": lambda: count_through_requests(settings),
            "deploycore, one by one": lambda: count_through_deploycore(settings, prefetch_pages=0),
            "deploycore, as by default": lambda: count_through_deploycore(settings),
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, action in ways.items():
                taken[name].append(measured(action, expected=WITHOUT_LATENCY))
    medians = {
        name: (statistics.median(row[0] for row in rows), statistics.median(row[1] for row in rows))
        for name, rows in taken.items()
    }
    (_, peer), *_ = medians.values()
    for name, (clock, cpu) in medians.items():
        print(f"{name:36} {clock:9.2f} {cpu:9.2f} {cpu / peer:9.2f}")
    worst = max(cpu for _, cpu in medians.values()) / peer
    good = worst <= MOST_OF_PEER
    print(f"\nallowed {MOST_OF_PEER:.1f}: {'ok' if good else 'TOO MUCH'}")
    return good


def main() -> None:
    """Print both tables, and fail where one is not good enough."""
    verdicts = [reading_ahead(), cost_of_our_side()]
    if not all(verdicts):
        raise SystemExit(3)


if __name__ == "__main__":
    main()
