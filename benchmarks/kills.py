"""What killing costs: nothing that was accepted is lost, and nothing runs twice at once.

``kill -9`` of the server, of a worker, or of PostgreSQL with all its processes, at random moments
of a burst of signed webhooks; after each round all is left to settle. Then every webhook that was
answered 202 must have ended in a deployment of its commit or a newer one. What was built, and when,
is told by the builds themselves, in a file that no part of deploycore knows. Deployments are real
ones, of repositories of the sandbox; leases have 3 s instead of 30.

Run: python benchmarks/kills.py [--kills 100] [--seed N] [--database sqlite]
Exit code 3: something was lost, or ran twice at once.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from git_runs import scratch

from tests.auto_deploy import site_at
from tests.kills import Kills
from tests.postgresql import running_server, why_not

A_ROUND = 5
APPLICATIONS = 8


def main() -> int:
    """Kill, and print what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--database", choices=["postgresql", "sqlite"], default="postgresql")
    parser.add_argument("--quiet", action="store_true", help="no line for each kill")
    options = parser.parse_args()
    if options.database == "postgresql" and why_not():
        print(f"{why_not()}: only SQLite's processes are killed")
        options.database = "sqlite"
    print(f"{options.kills} kills, {options.database}; the same again: --seed {options.seed}\n")
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=scratch())))
        server = address = None
        if options.database == "postgresql":
            server = stack.enter_context(running_server())
            address = stack.enter_context(server.database())
        site = stack.enter_context(site_at(place, address))
        site.create(APPLICATIONS, seconds=0.4)

        def tell(line: str) -> None:
            if not options.quiet:
                print(f"{sum(kills.done.values()):4}  {line}", flush=True)

        kills = Kills(site, server, seed=options.seed, tell=tell)
        began, problems = time.monotonic(), []
        while (left := options.kills - sum(kills.done.values())) > 0 and not problems:
            problems = kills.round(min(A_ROUND, left))
        show(kills, site, time.monotonic() - began)
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problems" if problems else "nothing is lost, nothing ran twice: ok")
    return 3 if problems else 0


def show(kills: Kills, site: object, seconds: float) -> None:
    """Print the table."""
    answers = kills.promises.answers
    began, ended = (site.builds(what) for what in ("began", "ended"))  # type: ignore[attr-defined]
    deployments = site.installation.store.deployments.list()  # type: ignore[attr-defined]
    states = Counter(each.state for each in deployments)
    killed = ", ".join(f"{name} {count}" for name, count in sorted(kills.done.items()))
    settled = sorted(kills.settling) or [0.0]
    rows = {
        "killed": f"{sum(kills.done.values())} ({killed}) in {seconds:.0f} s",
        "webhooks answered 202": f"{answers[202]:,}",
        "… 200, known by an attempt before": f"{answers[200]:,}",
        "… 503": f"{answers[503]:,}",
        "… not answered": f"{answers[None]:,}",
        "builds that began, and ended": f"{began.total():,}, {ended.total():,}",
        "… of a commit that was built before": f"{ended.total() - len(ended):,}",
        "deployments": ", ".join(f"{count:,} {state}" for state, count in states.items()),
        "settled after a round, median and worst": (
            f"{settled[len(settled) // 2]:.1f} s, {settled[-1]:.1f} s"
        ),
    }
    others = {status: n for status, n in answers.items() if status not in (200, 202, 503, None)}
    if others:
        rows["other answers"] = str(others)
    print()
    for name, value in rows.items():
        print(f"{name:42} {value}")


if __name__ == "__main__":
    sys.exit(main())
