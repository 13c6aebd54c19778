"""What starting costs: ``deploycore --help`` against a Python that does nothing.

Both run as whole processes, in turn, so that what else the machine does hits both alike.

Run: python benchmarks/start_up.py
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence

MOST_RATIO = 2.5
ROUNDS = 31


def seconds(command: Sequence[str]) -> float:
    """The wall time of one run."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Print the table, and fail where help is too slow."""
    script = shutil.which("deploycore", path=sysconfig.get_path("scripts"))
    if script is None:
        raise SystemExit("Install deploycore into this Python first: its script is measured.")
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "deploycore --help": [script, "--help"],
        "deploycore app --help": [script, "app", "--help"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            times[name].append(seconds(command))
    bare = statistics.median(times["python -c pass"])
    print(f"{'command':24} {'median, ms':>12} {'ratio':>8}")
    for name, taken in times.items():
        print(
            f"{name:24} {statistics.median(taken) * 1000:12.1f} "
            f"{statistics.median(taken) / bare:8.2f}"
        )
    ratio = statistics.median(times["deploycore --help"]) / bare
    verdict = "ok" if ratio < MOST_RATIO else "TOO MUCH"
    print(f"deploycore --help: {ratio:.2f} times, allowed {MOST_RATIO}: {verdict}")
    if ratio >= MOST_RATIO:
        raise SystemExit(3)


if __name__ == "__main__":
    main()
