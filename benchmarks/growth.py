"""How the cost of a first deploy grows: with files, history, branches and chains of deltas.

Run: python benchmarks/growth.py [--quick] [--rounds N]
Exit code 3: something grows faster than in proportion, or what should not grow does.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from git_runs import interleaved, medians, ours, remove, scratch
from git_servers import Server, Shape, build, serve

# By what part more than in proportion is still taken for noise; and for what is to be flat.
TOLERANCE = 1.3
FLAT = 1.6

FILES = [Shape(number) for number in (1_000, 3_000, 10_000, 30_000, 100_000)]
HISTORY = [Shape(1_000, commits=number) for number in (1, 10, 100, 1_000, 5_000)]
BRANCHES = [Shape(1_000, commits=5_001, branches=number) for number in (1, 10, 100, 1_000, 5_000)]
CHAINS = [Shape(5_000, commits=1, chain=number) for number in (0, 10, 50, 250, 1_000, 4_000)]


def main() -> int:
    """Print the tables; 3 where something grows too fast."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="the smaller ones, one round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rounds = 1 if options.quick else options.rounds
    good = True
    with tempfile.TemporaryDirectory(dir=scratch()) as place:
        root, work = Path(place, "repositories"), Path(place, "work")
        for each in (root, work, Path(place, "server")):
            each.mkdir()
        with serve(root, Path(place, "server")) as server:
            for name, shapes in (
                ("files", FILES),
                ("commits", HISTORY),
                ("branches", BRANCHES),
                ("chain", CHAINS),
            ):
                shown = shapes[:2] if options.quick else shapes
                good &= table(name, shown, server, root, work, rounds)
    return 0 if good else 3


def table(
    name: str, shapes: Sequence[Shape], server: Server, root: Path, work: Path, rounds: int
) -> bool:
    """Print one table; whether it grows as it may."""
    urls = {shape: server.url(build(shape, root)) for shape in shapes}
    programs = {
        str(getattr(shape, name)): lambda url=url: ours(url, work / "ours")  # type: ignore[misc]
        for shape, url in urls.items()
    }
    runs = interleaved(programs, rounds, lambda: remove(work / "ours"))
    first = medians(next(iter(runs.values())))
    print(f"\n| {name} | seconds | ratio | CPU, s | MiB |\n|---|---|---|---|---|")
    good, smallest = True, getattr(shapes[0], name)
    for amount, each in runs.items():
        run = medians(each)
        ratio = run.seconds / first.seconds
        print(
            f"| {int(amount):,} | {run.seconds:.3f} | {ratio:.2f} | {run.cpu:.2f} | "
            f"{run.mebibytes:.0f} |",
            flush=True,
        )
        if name == "files":
            good &= ratio <= int(amount) / smallest * TOLERANCE
        else:
            # What a long history costs is the server's; ours may not grow with it.
            good &= run.cpu <= first.cpu * FLAT
    print("\n" + ("as it may" if good else "GROWS TOO FAST"))
    return good


if __name__ == "__main__":
    sys.exit(main())
