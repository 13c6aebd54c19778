"""What the deploy engine costs: on top of git, with a long history, for a rollback, for many.

The provider answers at once, so that what is measured is ours. Git is ``deploycore.git.export``
into the same kind of directory, with a cache and a former release of its own, in the same process.

Run: python benchmarks/deployments.py [--quick] [--rounds N]
Exit code 3: a bound was missed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import insert

sys.path.insert(0, str(Path(__file__).parent))
from git_runs import scratch
from git_servers import Repository, Shape, build, change, serve

from deploycore import Installation, Settings
from deploycore.applications.application import Application
from deploycore.configuration import ProviderConfig
from deploycore.deploy import DeployRequest, Engine
from deploycore.git import RepositoryCache, export
from deploycore.hookspecs import hookimpl
from deploycore.models import Account, Branch, CloneUrl
from deploycore.provider import Provider
from deploycore.provider.observers import Observers
from deploycore.provider.registry import Plugin, check_provider_class
from deploycore.store import ProviderRecord
from deploycore.store.tables import deployments

FILES = 1_000
OVERHEAD_MOST = 0.10
UNCHANGED_MOST = 0.150
ROLLBACK_MOST = 0.050
GROWTH_MOST = 1.25


class Config(ProviderConfig):
    """Where the one repository is."""

    url: str
    commit: str

    @property
    def api_base_url(self) -> str:
        """A place that is never asked."""
        return "http://127.0.0.1:9"

    @property
    def api_auth(self) -> None:
        """None."""
        return


class Immediate:
    """A provider that answers at once."""

    Config = Config
    API_VERSION = 1

    def __init__(self, config: Config, http: object) -> None:
        self._config = config

    @hookimpl
    def authenticate(self) -> Account:
        """Somebody."""
        return Account(username="ada")

    @hookimpl
    def list_repos(self, query: object) -> tuple[()]:
        """None."""
        return ()

    @hookimpl
    def list_branches(self, repository: object, query: object) -> tuple[Branch, ...]:
        """The one that is deployed."""
        return (Branch(name="main", commit=self._config.commit),)

    @hookimpl
    def clone_url(self, repository: object) -> CloneUrl:
        """The one repository."""
        return CloneUrl(url=self._config.url)


@dataclass
class Bench:
    """One repository, an engine, and an export beside it that does the same work of git."""

    place: Path
    repository: Repository
    url: str
    commits: int = 0
    exported: int = 0

    def __post_init__(self) -> None:
        settings = Settings.from_environment({"DEPLOYCORE_HOME": str(self.place / "home")})
        self.installation = Installation(settings)
        at = datetime.now(UTC)
        self.installation.store.add_provider(ProviderRecord("bench", "bench", {}, {}, at))
        hooks = check_provider_class(Immediate, plugin="bench")
        self._plugin = Plugin("bench", Immediate, "bench", "0", "bench", hooks)
        self.engine = Engine(
            self.installation.store,
            self.installation.secrets,
            lambda name: self.provider(),
            home=self.place / "home",
            git_cache=RepositoryCache(self.place / "home" / "cache"),
            observers=Observers(),
        )
        self._commit = self.repository.git("rev-parse", "main").strip()

    def provider(self) -> Provider:
        """Opens the one provider."""
        config = Config(name="bench", url=self.url, commit=self._commit)
        return Provider(self._plugin, config, observers=Observers())

    def create(self, name: str) -> None:
        """An application of the repository."""
        self.installation.apply(
            [
                Application(
                    name=name,
                    provider="bench",
                    repository="a/b",
                    ref="main",
                    target=self.place / name,
                    keep=2,
                )
            ]
        )

    def push(self) -> None:
        """Change ten files."""
        self.commits += 1
        change(self.repository, files=10, number=self.commits)
        self._commit = self.repository.git("rev-parse", "main").strip()

    def export(self) -> None:
        """What git has to do for a deployment."""
        target = self.place / "exported" / str(self.exported)
        former = self.place / "exported" / str(self.exported - 1)
        self.exported += 1
        export(
            CloneUrl(url=self.url),
            "main",
            target,
            commit=self._commit,
            cache=RepositoryCache(self.place / "cache"),
            former=former if former.exists() else None,
        )


def seconds(action: Callable[[], object]) -> float:
    """How long it takes once."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def main() -> int:
    """Print the tables; 3 where a bound was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    rounds, history, many = (5, 5_000, 20) if options.quick else (options.rounds, 100_000, 200)
    with tempfile.TemporaryDirectory(dir=scratch()) as directory:
        place = Path(directory)
        for name in ("repositories", "server", "work"):
            (place / name).mkdir()
        with serve(place / "repositories", place / "server") as server:
            repository = build(Shape(FILES), place / "repositories")
            bench = Bench(place / "work", repository, server.url(repository))
            results = [
                overhead(bench, rounds),
                unchanged(bench, rounds),
                rollback(bench, rounds),
                growth(bench, rounds, history),
                fleet(bench, many),
            ]
    return 0 if all(results) else 3


def overhead(bench: Bench, rounds: int) -> bool:
    """A deployment of ten changed files against its own work of git."""
    bench.create("site")
    bench.engine.deploy("site")
    bench.export()
    ours, git = [], []
    for _ in range(rounds):
        bench.push()
        git.append(seconds(bench.export))
        ours.append(seconds(lambda: bench.engine.deploy("site")))
    first_git, first_ours = [], []
    source = CloneUrl(url=bench.url)
    for number in range(rounds):
        bench.create(f"first{number}")
        target = bench.place / "plain" / str(number)
        cache = RepositoryCache(bench.place / f"plain{number}")
        first_git.append(
            seconds(lambda at=target, cache=cache: export(source, "main", at, cache=cache))
        )
        fresh = RepositoryCache(bench.place / f"fresh{number}")
        engine = Engine(
            bench.installation.store,
            bench.installation.secrets,
            lambda name: bench.provider(),
            home=bench.place / "home",
            git_cache=fresh,
            observers=Observers(),
        )
        name = f"first{number}"
        first_ours.append(seconds(lambda name=name, engine=engine: engine.deploy(name)))
    print(f"\n{FILES:,} files, medians of {rounds} rounds\n")
    print(f"{'':34}{'git, ms':>9}{'engine, ms':>12}{'on top':>9}")
    verdicts = []
    for what, one, other in (
        ("a first deployment", first_git, first_ours),
        ("10 files changed", git, ours),
    ):
        plain, whole = statistics.median(one), statistics.median(other)
        verdicts.append(whole / plain - 1)
        print(f"{what:34}{plain * 1e3:9.1f}{whole * 1e3:12.1f}{whole / plain - 1:9.1%}")
    good = verdicts[0] <= OVERHEAD_MOST
    print(f"allowed on top of a first deployment: {OVERHEAD_MOST:.0%}: {_verdict(good)}")
    return good


def unchanged(bench: Bench, rounds: int) -> bool:
    """A deployment of the commit that is live."""
    took = statistics.median(seconds(lambda: bench.engine.deploy("site")) for _ in range(rounds))
    good = took <= UNCHANGED_MOST
    print(
        f"\nan unchanged commit again: {took * 1e3:.1f} ms, allowed {UNCHANGED_MOST * 1e3:.0f} ms:"
        f" {_verdict(good)}"
    )
    return good


def rollback(bench: Bench, rounds: int) -> bool:
    """Back, and forth again."""
    took = []
    for _ in range(rounds):
        newest, _ = bench.engine.releases("site")[:2]
        took.append(seconds(lambda: bench.engine.roll_back("site")))
        bench.engine.roll_back("site", to=newest.name)
    median = statistics.median(took)
    good = median <= ROLLBACK_MOST
    print(
        f"a rollback: {median * 1e3:.1f} ms, allowed {ROLLBACK_MOST * 1e3:.0f} ms: {_verdict(good)}"
    )
    return good


def growth(bench: Bench, rounds: int, history: int) -> bool:
    """The same deployment with a short history and with a long one."""

    def once() -> float:
        return statistics.median(
            seconds(lambda: bench.engine.deploy("site", DeployRequest(force=True)))
            for _ in range(rounds)
        )

    before = once()
    at = datetime.now(UTC)
    row = {
        "application": "site",
        "kind": "deploy",
        "state": "healthy",
        "ref": "main",
        "release": "gone",
        "requested_by": "",
        "requested_at": at,
        "started_at": at,
        "finished_at": at,
        "seconds": {},
        "cancel_requested": False,
        "unproved": False,
        "host": "",
        "home": "",
    }
    with bench.installation.store._database.writing() as connection:
        connection.execute(insert(deployments), [row] * history)
    after = once()
    good = after <= GROWTH_MOST * before
    print(
        f"with {history:,} deployments of history: {after * 1e3:.1f} ms instead of"
        f" {before * 1e3:.1f} ms, {after / before:.2f} times, allowed {GROWTH_MOST}:"
        f" {_verdict(good)}"
    )
    return good


def fleet(bench: Bench, many: int) -> bool:
    """Many applications at once."""
    names = [f"app{number}" for number in range(many)]
    for name in names:
        bench.create(name)
    started = time.perf_counter()
    found = list(bench.engine.deploy_many(names, parallel=4))
    took = time.perf_counter() - started
    healthy = sum(each.deployment is not None and not each.error for each in found)
    good = healthy == many
    print(
        f"{many} applications, 4 at once: {healthy} healthy, {took:.1f} s,"
        f" {took / many * 1e3:.0f} ms each: {_verdict(good)}"
    )
    return good


def _verdict(good: bool) -> str:
    return "ok" if good else "MISSED"


if __name__ == "__main__":
    sys.exit(main())
