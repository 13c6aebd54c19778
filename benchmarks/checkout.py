"""The first deploy: one commit of a server's branch onto the disk, against C git and dulwich.

Run: python benchmarks/checkout.py [--quick] [--rounds N] [--repository BARE]
Exit code 3: a bound was missed.
"""

from __future__ import annotations

import argparse
import filecmp
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from git_runs import git, interleaved, medians, ours, porcelain, remove, scratch
from git_servers import Repository, Server, Shape, build, copied, serve

# Files, and the most that our wall time may be of C git's.
BOUNDS = {50_000: 0.70, 5_000: 0.75, 250: 1.0}
MEBIBYTES_MOST = 100
DULWICH_FILES_MOST = 5_000


def main() -> int:
    """Print the tables; 3 where a bound was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--quick", action="store_true", help="small repositories, two rounds, without dulwich"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repository", type=Path, help="a bare repository to measure instead")
    options = parser.parse_args()
    rounds = 2 if options.quick else options.rounds
    missed = False
    with tempfile.TemporaryDirectory(dir=scratch()) as place:
        root, work = Path(place, "repositories"), Path(place, "work")
        for each in (root, work, Path(place, "server")):
            each.mkdir()
        with serve(root, Path(place, "server")) as server:
            if options.repository:
                return int(measure(server, copied(options.repository, root), work, rounds, None))
            for files, bound in BOUNDS.items():
                if options.quick and files > 5_000:
                    continue
                repository = build(Shape(files), root)
                missed |= measure(
                    server, repository, work, rounds, bound, with_dulwich=not options.quick
                )
    return 3 if missed else 0


def measure(
    server: Server,
    repository: Repository,
    work: Path,
    rounds: int,
    bound: float | None,
    *,
    with_dulwich: bool = True,
) -> bool:
    """Print one table; whether a bound was missed."""
    url = server.url(repository)
    files = len(repository.git("ls-tree", "-r", repository.branch).splitlines())
    clone = f"git clone -q --depth 1 --single-branch --branch {repository.branch} {url} git"
    programs = {
        "git clone --depth 1": lambda: git(clone, at=work),
        "deploycore": lambda: ours(url, work / "ours"),
    }
    if with_dulwich and files <= DULWICH_FILES_MOST + 10:
        programs["dulwich porcelain.clone"] = lambda: porcelain(url, work / "dulwich")

    def clear() -> None:
        for name in ("git", "ours", "dulwich"):
            remove(work / name)

    runs = interleaved(programs, rounds, clear)
    refuse_difference(git(clone, at=work) and work / "git", ours(url, work / "ours") and work)
    clear()
    peer = medians(runs["git clone --depth 1"])
    print(f"\n{files:,} files, pack of {repository.pack_bytes / 1e6:.1f} MB, {rounds} rounds\n")
    print(f"{'':26}{'seconds':>9}{'ratio':>8}{'CPU, s':>9}{'ratio':>8}{'MiB':>7}")
    for name, each in runs.items():
        run = medians(each)
        ratios = f"{run.seconds / peer.seconds:8.2f}{run.cpu:9.2f}{run.cpu / peer.cpu:8.2f}"
        print(f"{name:26}{run.seconds:9.3f}{ratios}{run.mebibytes:7.0f}")
    mine = medians(runs["deploycore"])
    if bound is None:
        return False
    ratio = mine.seconds / peer.seconds
    good = ratio <= bound and mine.mebibytes <= MEBIBYTES_MOST
    print(f"allowed: {bound:.2f}, and {MEBIBYTES_MOST} MiB: {'ok' if good else 'MISSED'}")
    return not good


def refuse_difference(theirs: Path, work: Path) -> None:
    """Stop where the two programs did not write the same."""
    compared = filecmp.dircmp(theirs, work / "ours", ignore=[".git"])
    pending = [compared]
    while pending:
        each = pending.pop()
        if each.left_only or each.right_only or each.diff_files or each.funny_files:
            raise SystemExit(f"not the same: {each.left}, {each.right}")
        pending += each.subdirs.values()


if __name__ == "__main__":
    sys.exit(main())
