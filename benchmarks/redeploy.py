"""A redeploy after a small change, and one after none, against what C git would do.

Run: python benchmarks/redeploy.py [--quick] [--rounds N]
Exit code 3: a bound was missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from git_runs import Run, git, medians, ours, remove, scratch
from git_servers import Repository, Server, Shape, build, change, serve

CHANGED_FILES = 10
# The most that a redeploy with hard links may take of each.
OF_FETCH_AND_ARCHIVE = 0.35
OF_CLONE = 0.2

FETCH = "git fetch & archive | tar"
CLONE = "git clone --depth 1"
FORMS = {"deploycore, cache only": None, "deploycore, copy": "copy"}
FORMS["deploycore, hard links"] = "hard-link"


def main() -> int:
    """Print the table; 3 where a bound was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="5,000 files, two rounds")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    files, rounds = (5_000, 2) if options.quick else (50_000, options.rounds)
    with tempfile.TemporaryDirectory(dir=scratch()) as place:
        root, work = Path(place, "repositories"), Path(place, "work")
        for each in (root, work, Path(place, "server")):
            each.mkdir()
        with serve(root, Path(place, "server")) as server:
            repository = build(Shape(files), root)
            return measure(server, repository, work, rounds, quick=options.quick)


def measure(server: Server, repository: Repository, work: Path, rounds: int, *, quick: bool) -> int:
    """Print the table; 3 where a bound was missed."""
    url = server.url(repository)
    clone = f"git clone -q --depth 1 --single-branch --branch main {url}"
    fetch = "git -C kept fetch -q --depth 1 origin main"
    archive = "mkdir archive; git -C kept archive FETCH_HEAD | tar x -C archive"
    git(f"{clone} kept", at=work)
    for name in FORMS:
        ours(url, work / name / "0", cache=str(work / name / "cache"))
    runs: dict[str, list[Run]] = {name: [] for name in (FETCH, CLONE, *FORMS)}
    for number in range(1, rounds + 1):
        change(repository, files=CHANGED_FILES, number=number)
        for name, reuse in FORMS.items():
            runs[name].append(redeploy(url, work / name, number, reuse))
            remove(work / name / str(number - 1))
        runs[FETCH].append(git(fetch, archive, at=work))
        runs[CLONE].append(git(f"{clone} new", at=work))
        remove(work / "archive")
        remove(work / "new")
    requests = server.requests()
    hard = work / "deploycore, hard links"
    same = redeploy(url, hard, rounds + 1, "hard-link")
    requests = server.requests() - requests
    fetched, cloned = medians(runs[FETCH]), medians(runs[CLONE])
    print(f"\n{CHANGED_FILES} changed files, {rounds} rounds; ratios to both ways of C git\n")
    print(f"{'':27}{'seconds':>9}{'to fetch':>10}{'to clone':>10}{'CPU, s':>8}{'MiB':>6}")
    for name, each in [*((name, medians(found)) for name, found in runs.items()), ("same", same)]:
        name = "no change, hard links" if name == "same" else name
        ratios = f"{each.seconds / fetched.seconds:10.2f}{each.seconds / cloned.seconds:10.2f}"
        print(f"{name:27}{each.seconds:9.3f}{ratios}{each.cpu:8.2f}{each.mebibytes:6.0f}")
    mine = medians(runs["deploycore, hard links"]).seconds
    good = mine <= OF_FETCH_AND_ARCHIVE * fetched.seconds and mine <= OF_CLONE * cloned.seconds
    print(f"\nrequests for no change: {requests}, allowed 1")
    allowed = f"allowed with hard links: {OF_FETCH_AND_ARCHIVE} and {OF_CLONE}"
    if quick:
        print(f"{allowed}, at 50,000 files; these are too few to judge by")
        return 0 if requests == 1 else 3
    print(f"{allowed}: {'ok' if good else 'MISSED'}")
    return 0 if good and requests == 1 else 3


def redeploy(url: str, place: Path, number: int, reuse: str | None) -> Run:
    """Export the newest commit beside the last one."""
    options = {"cache": str(place / "cache")}
    if reuse:
        options |= {"former": str(place / str(number - 1)), "reuse": reuse}
    return ours(url, place / str(number), **options)


if __name__ == "__main__":
    sys.exit(main())
