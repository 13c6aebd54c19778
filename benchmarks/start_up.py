"""What a whole command costs, Python's start included, against a Python that does nothing.

Measured are the help of every command, Tab, the listings, a deployment of an unchanged commit, a
rollback, and a clone, which is compared with ``git clone`` of the same repository. All run as whole
processes, in turn, so that what else the machine does hits all alike.

Run: python benchmarks/start_up.py [--rounds 11] [--quick]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from deploycore import Installation, Settings
from deploycore.cli import COMMANDS
from deploycore.cli.completion_table import PARAMETERS
from deploycore.cli.sandbox import add_command, load_sandbox
from deploycore.sandbox import ProviderSandbox

KIND = "gitea"
FILES = 250
HELP, LISTING, CHANGE, CLONE = 8.0, 16.0, 26.0, 4.5
BARE, GIT_CLONE = "python -c pass", "git clone"


@dataclass(frozen=True)
class Command:
    """A command line, and what it may cost.

    Attributes:
        most: How many times as long as ``than`` it may take; ``None`` where that is not bounded.
        fresh: A directory that is removed before each run.
        before: A command that runs before each run, and is not measured.
    """

    line: Sequence[str]
    most: float | None = None
    than: str = BARE
    environment: Mapping[str, str] = field(default_factory=dict)
    fresh: Path | None = None
    before: Sequence[str] = ()


def seconds(command: Command, environment: Mapping[str, str]) -> float:
    """The wall time of one run."""
    if command.fresh is not None:
        shutil.rmtree(command.fresh, ignore_errors=True)
    if command.before:
        subprocess.run(command.before, check=True, capture_output=True, env=environment)
    started = time.perf_counter()
    done = subprocess.run(
        command.line,
        check=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**environment, **command.environment},
    )
    taken = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{' '.join(command.line)} failed: {done.stderr.decode()}")
    return taken


def measure(
    commands: Mapping[str, Command], environment: Mapping[str, str], rounds: int
) -> dict[str, float]:
    """The median seconds of each command. A first round, which is not counted, compiles."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds + 1):
        for name, command in commands.items():
            times[name].append(seconds(command, environment))
    return {name: statistics.median(taken[1:]) for name, taken in times.items()}


def without_work(script: str, *, is_quick: bool = False) -> dict[str, Command]:
    """A bare Python, and what neither reads the database nor asks a host.

    Args:
        is_quick: Leave out the help of commands in groups, such as ``app list --help``.
    """
    commands = {BARE: Command([sys.executable, "-c", "pass"])}
    commands["deploycore --help"] = Command([script, "--help"], most=2.5)
    for words in sorted(COMMANDS if is_quick else {*COMMANDS, *PARAMETERS}):
        commands[f"{words} --help"] = Command([script, *words.split(), "--help"], most=HELP)
    commands["<Tab>"] = Command([script], environment=_tab(""))
    commands["deploy <Tab>"] = Command([script], most=5.0, environment=_tab("deploy "))
    commands["provider add x --kind <Tab>"] = Command(
        [script], environment=_tab("provider add x --kind ")
    )
    return commands


def with_work(script: str, place: Path, repository: str, url: str) -> dict[str, Command]:
    """Listings, deployments and clones of an installation that has the application ``site``."""
    listings = ("provider list", "app list", "deployments", "releases site", "logs site")
    commands = {words: Command([script, *words.split()], most=LISTING) for words in listings}
    commands["deploy site (unchanged)"] = Command([script, "deploy", "site"], most=CHANGE)
    commands["rollback back"] = Command(
        [script, "rollback", "back"], most=CHANGE, before=[script, "deploy", "back", "--force"]
    )
    target = place / "cloned"
    commands["clone (deploycore)"] = Command(
        [script, "clone", "host", repository, str(target)],
        most=CLONE,
        than=GIT_CLONE,
        fresh=target,
    )
    beside = place / "cloned-by-git"
    commands[GIT_CLONE] = Command(
        ["git", "clone", "--quiet", "--depth=1", url, str(beside)], fresh=beside
    )
    return commands


@contextmanager
def sandbox() -> Iterator[ProviderSandbox]:
    """A provider's sandbox, in this process, with a repository to deploy."""
    running = load_sandbox(KIND)[1].demo()
    try:
        running.publish(running.connections[0].owner, "site", "main", _files(1), "First")
        yield running
    finally:
        running.stop()


def connect(script: str, running: ProviderSandbox, place: Path) -> tuple[str, str]:
    """Connect an installation to the sandbox, and deploy two applications.

    Returns:
        The repository's name, and its address with credentials.
    """
    home, connection = place / "home", running.connections[0]
    repository = f"{connection.owner}/site"
    arguments, given = add_command(KIND, connection, "host")
    _do([script, *arguments], home, given)
    for name in ("site", "back"):
        line = [script, "app", "create", name, "--provider", "host", "--repository", repository]
        _do([*line, "--ref", "main", "--target", str(place / name)], home)
        _do([script, "deploy", name], home)
    running.publish(connection.owner, "site", "main", _files(2), "Second")
    for name in ("site", "back"):
        _do([script, "deploy", name], home)
    settings = Settings.from_environment({"DEPLOYCORE_HOME": str(home)})
    with Installation(settings) as installation, installation.open_provider("host") as provider:
        clone = provider.clone_url(installation.read_repository("host", repository))
    if clone.credential is None:
        return repository, clone.url
    user = quote(clone.credential.username, safe="")
    password = quote(clone.credential.password.get_secret_value(), safe="")
    return repository, clone.url.replace("://", f"://{user}:{password}@", 1)


def main() -> int:
    """Print the table; 3 where a bound was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument(
        "--quick", action="store_true", help="leave out the help of commands in groups"
    )
    options = parser.parse_args()
    script = shutil.which("deploycore", path=sysconfig.get_path("scripts"))
    if script is None:
        raise SystemExit("Install deploycore into this Python first: its script is measured.")
    print(f"load of the machine: {os.getloadavg()[0]:.2f} before", end="")
    with tempfile.TemporaryDirectory() as directory, sandbox() as running:
        place = Path(directory)
        repository, url = connect(script, running, place)
        commands = without_work(script, is_quick=options.quick)
        commands |= with_work(script, place, repository, url)
        medians = measure(commands, _environment(place / "home"), options.rounds)
    print(f", {os.getloadavg()[0]:.2f} after")
    return 0 if report(commands, medians) else 3


def report(commands: Mapping[str, Command], medians: Mapping[str, float]) -> bool:
    """Print the table; whether all bounds are kept."""
    is_kept = True
    print(f"{'command':36} {'median, ms':>10} {'ratio':>7} {'allowed':>8}")
    for name, command in commands.items():
        ratio = medians[name] / medians[command.than]
        print(f"{name:36} {medians[name] * 1000:10.1f} {ratio:7.2f}", end="")
        if command.most is None:
            print()
            continue
        is_slow = ratio > command.most
        is_kept &= not is_slow
        than = "" if command.than == BARE else f" of {command.than}"
        print(f" {command.most:8.1f}{than} {'TOO MUCH' if is_slow else 'ok'}")
    return is_kept


def _files(version: int) -> dict[str, bytes]:
    """The files of a commit."""
    text = {f"d{number % 10}/f{number}.txt": b"line\n" * number for number in range(FILES - 1)}
    return text | {"VERSION": str(version).encode()}


def _environment(home: Path) -> dict[str, str]:
    """The environment of what is measured: with compiled modules, as an installation has them."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DEPLOYCORE_")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept | {"DEPLOYCORE_HOME": str(home)}


def _do(line: Sequence[str], home: Path, given: str = "") -> None:
    subprocess.run(
        line, check=True, input=given, text=True, capture_output=True, env=_environment(home)
    )


def _tab(line: str) -> dict[str, str]:
    words = ["deploycore", *line.split(" ")]
    return {
        "_DEPLOYCORE_COMPLETE": "complete_bash",
        "COMP_WORDS": "\n".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }


if __name__ == "__main__":
    sys.exit(main())
