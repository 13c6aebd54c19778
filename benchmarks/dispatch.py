"""What the contract costs: a hook called through ``Provider`` against the plain method call.

Run: python benchmarks/dispatch.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from deploycore.configuration import ProviderConfig
from deploycore.hookspecs import hookimpl
from deploycore.models import Account, Branch, CloneUrl, Repository, RepositoryId
from deploycore.provider import Provider
from deploycore.provider.observers import Observers
from deploycore.provider.registry import Plugin, check_provider_class

MOST_MICROSECONDS = 20.0
CALLS = 20_000
ROUNDS = 7


class Config(ProviderConfig):
    """Nothing but a name."""

    @property
    def api_base_url(self) -> str:
        """A place that is never asked."""
        return "https://host.example"

    @property
    def api_auth(self) -> None:
        """None."""
        return


class Immediate:
    """A provider that answers at once."""

    Config = Config
    API_VERSION = 1
    _account = Account(username="ada")
    _url = CloneUrl(url="https://host.example/a/b.git")
    _branches = tuple(Branch(name=f"b{number}", commit="1" * 40) for number in range(1000))

    def __init__(self, config: ProviderConfig, http: object) -> None:
        pass

    @hookimpl
    def authenticate(self) -> Account:
        """The same account."""
        return self._account

    @hookimpl
    def list_repos(self, query: object) -> tuple[Repository, ...]:
        """None."""
        return ()

    @hookimpl
    def list_branches(self, repository: object, query: object) -> tuple[Branch, ...]:
        """A thousand."""
        return self._branches

    @hookimpl
    def clone_url(self, repository: object) -> CloneUrl:
        """The same place."""
        return self._url


def microseconds(action: Callable[[], object], calls: int) -> float:
    """The median cost of one call over several rounds."""
    rounds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(calls):
            action()
        rounds.append((time.perf_counter() - started) / calls * 1e6)
    return statistics.median(rounds)


def main() -> None:
    """Print the table, and fail where a call costs too much."""
    hooks = check_provider_class(Immediate, plugin="benchmark")
    plugin = Plugin("benchmark", Immediate, "benchmark", "0", "benchmark", hooks)
    config = Config(name="benchmark")
    direct = Immediate(config, None)
    repository = RepositoryId(owner="a", slug="b")
    with Provider(plugin, config, observers=Observers()) as provider:
        rows = [
            ("authenticate", direct.authenticate, provider.authenticate, CALLS, 1),
            (
                "clone_url",
                lambda: direct.clone_url(repository),
                lambda: provider.clone_url(repository),
                CALLS,
                1,
            ),
            (
                "list_branches, an item",
                lambda: list(direct.list_branches(repository, None)),
                lambda: list(provider.list_branches(repository)),
                CALLS // 1000,
                1000,
            ),
        ]
        print(f"{'hook':24} {'method, µs':>12} {'Provider, µs':>14} {'ratio':>8}")
        worst = 0.0
        for name, bare, through, calls, items in rows:
            plain, ours = microseconds(bare, calls) / items, microseconds(through, calls) / items
            worst = max(worst, ours)
            print(f"{name:24} {plain:12.3f} {ours:14.3f} {ours / plain:8.1f}")
    verdict = "ok" if worst < MOST_MICROSECONDS else "TOO MUCH"
    print(f"most expensive: {worst:.1f} µs, allowed {MOST_MICROSECONDS:.0f} µs: {verdict}")
    if worst >= MOST_MICROSECONDS:
        raise SystemExit(3)


if __name__ == "__main__":
    main()
