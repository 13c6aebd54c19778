"""A clone over SSH: the whole command ``deploycore clone`` against ``git clone --depth 1``.

Both use the same server, OpenSSH's on loopback with git behind it, and the same key. Our command
starts an interpreter, opens its database, loads a plugin and reads a sealed key; git starts ssh.
What a worker does is measured beside it: an export in a process that has imported what it needs,
whose memory is what comes on top.

Run: python benchmarks/ssh.py [--quick] [--rounds N]
Exit code 3: the bound was missed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
from checkout import refuse_difference  # noqa: E402
from git_runs import Run, interleaved, medians, ours, remove, scratch  # noqa: E402
from git_servers import GIT_ENVIRONMENT, Repository, Shape, build  # noqa: E402

from tests.distributions import GOOD_PROVIDER, write_distribution  # noqa: E402
from tests.ssh_server import Sshd, why_not  # noqa: E402

# Files, and the most that our wall time may be of C git's.
BOUNDS = {5_000: 0.80}
MEBIBYTES_MOST = 100
HOOK = """
    @hookimpl
    def ssh_clone_url(self, repository):
        from deploycore.models import SshAddress
        return SshAddress(url="{root}/" + repository.slug, host_keys={keys})
"""


def main() -> int:
    """Print the table; 3 where the bound was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="two rounds")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    reason = why_not()
    if reason:
        raise SystemExit(f"No SSH server can be run: {reason}")
    missed = False
    with tempfile.TemporaryDirectory(dir=scratch()) as place, served(Path(place)) as sshd:
        for files, bound in BOUNDS.items():
            repository = build(Shape(files), sshd.root)
            missed |= measure(sshd, repository, 2 if options.quick else options.rounds, bound)
    return 3 if missed else 0


@contextmanager
def served(place: Path) -> Iterator[Sshd]:
    """A server, and an installation with a provider for it."""
    sshd = Sshd(place)
    try:
        source = GOOD_PROVIDER + HOOK.format(root=sshd.url(""), keys=repr(sshd.host_keys))
        write_distribution(place / "site", "deploycore-acme", "acme", source)
        add = "provider add work --kind acme --no-verify --token-stdin --ssh-private-key-stdin"
        given = "token\n" + sshd.key.read_text()
        command(place, *add.split(), given=given)
        yield sshd
    finally:
        sshd.stop()


def measure(sshd: Sshd, repository: Repository, rounds: int, bound: float) -> bool:
    """Print one table; whether the bound was missed."""
    place, name = sshd.directory, repository.path.name
    ssh = GIT_ENVIRONMENT | sshd.git_environment()
    clone = ["git", "clone", "-q", "--depth", "1", "--single-branch", "--branch", "main"]
    options = {"key": str(sshd.key), "host_keys": "\n".join(sshd.host_keys)}
    programs = {
        "git clone --depth 1": lambda: timed([*clone, sshd.url(name), str(place / "git")], ssh),
        "deploycore clone": lambda: command(place, "clone", "work", f"ada/{name}", "ours"),
        "deploycore.git.export": lambda: ours(sshd.url(name), place / "export", **options),
    }

    def clear() -> None:
        for each in ("git", "ours", "export"):
            remove(place / each)

    clear()
    for program in programs.values():
        program()  # also compiles the modules
    refuse_difference(place / "git", place)
    runs = interleaved(programs, rounds, clear)
    found = {title: medians(each) for title, each in runs.items()}
    peer, *mine = found.values()
    files = len(repository.git("ls-tree", "-r", repository.branch).splitlines())
    print(f"\n{files:,} files, pack of {repository.pack_bytes / 1e6:.1f} MB, {rounds} rounds\n")
    print(f"{'':26}{'seconds':>9}{'ratio':>8}{'CPU, s':>9}{'ratio':>8}{'MiB':>7}")
    for title, run in found.items():
        ratios = f"{run.seconds / peer.seconds:8.2f}{run.cpu:9.2f}{run.cpu / peer.cpu:8.2f}"
        print(f"{title:26}{run.seconds:9.3f}{ratios}{run.mebibytes:7.0f}")
    missed = [
        title
        for title, run in zip(list(found)[1:], mine, strict=True)
        if run.seconds / peer.seconds > bound or run.mebibytes > MEBIBYTES_MOST
    ]
    verdict = f"{', '.join(missed)} MISSED" if missed else "ok"
    print(f"allowed: {bound:.2f}, and {MEBIBYTES_MOST} MiB: {verdict}")
    return bool(missed)


def command(place: Path, *arguments: str, given: str = "") -> Run:
    """Run one of our commands in the installation."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment = kept | {
        "DEPLOYCORE_HOME": str(place / "home"),
        "PYTHONPATH": os.pathsep.join((str(place / "site"), str(Path(__file__).parents[1]))),
    }
    program = [sys.executable, "-m", "deploycore", *arguments]
    return timed(program, environment, given=given, at=place)


def timed(
    program: list[str], environment: dict[str, str], *, given: str = "", at: Path | None = None
) -> Run:
    """Run a program; its memory is the peak of the largest of its processes."""
    started = time.perf_counter()
    with subprocess.Popen(
        program,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=at,
    ) as running:
        assert running.stdin is not None
        assert running.stderr is not None
        running.stdin.write(given.encode())
        running.stdin.close()
        said = running.stderr.read()
        _, status, used = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
    if running.returncode:
        raise SystemExit(f"failed: {' '.join(program)}: {said.decode(errors='replace')}")
    seconds = time.perf_counter() - started
    return Run(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


if __name__ == "__main__":
    sys.exit(main())
