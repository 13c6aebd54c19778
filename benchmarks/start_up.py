"""What starting costs: help, and a Tab, against a Python that does nothing.

Both run as whole processes, in turn, so that what else the machine does hits both alike.

Run: python benchmarks/start_up.py
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

MOST_RATIOS = {"deploycore --help": 2.5, "deploycore deploy <Tab>": 5.0}
ROUNDS = 31


def seconds(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """The wall time of one run."""
    started = time.perf_counter()
    subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **environment}
    )
    return time.perf_counter() - started


def measure(home: Path) -> dict[str, float]:
    """The median seconds of each command, in a data directory with an empty database."""
    script = shutil.which("deploycore", path=sysconfig.get_path("scripts"))
    if script is None:
        raise SystemExit("Install deploycore into this Python first: its script is measured.")
    here = {"DEPLOYCORE_HOME": str(home)}
    subprocess.run(
        [script, "app", "list"], check=True, stdout=subprocess.DEVNULL, env={**os.environ, **here}
    )
    commands = {
        "python -c pass": ([sys.executable, "-c", "pass"], here),
        "deploycore --help": ([script, "--help"], here),
        "deploycore app --help": ([script, "app", "--help"], here),
        "deploycore <Tab>": ([script], here | _tab("")),
        "deploycore deploy <Tab>": ([script], here | _tab("deploy ")),
        "deploycore provider add x --kind <Tab>": ([script], here | _tab("provider add x --kind ")),
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, (command, environment) in commands.items():
            times[name].append(seconds(command, environment))
    return {name: statistics.median(taken) for name, taken in times.items()}


def main() -> None:
    """Print the table, and fail where something is too slow."""
    with tempfile.TemporaryDirectory() as home:
        medians = measure(Path(home))
    bare = medians["python -c pass"]
    print(f"{'command':40} {'median, ms':>12} {'ratio':>8}")
    for name, taken in medians.items():
        print(f"{name:40} {taken * 1000:12.1f} {taken / bare:8.2f}")
    is_slow = False
    for name, most in MOST_RATIOS.items():
        ratio = medians[name] / bare
        is_slow |= ratio >= most
        verdict = "TOO MUCH" if ratio >= most else "ok"
        print(f"{name}: {ratio:.2f} times, allowed {most}: {verdict}")
    if is_slow:
        raise SystemExit(3)


def _tab(line: str) -> dict[str, str]:
    words = ["deploycore", *line.split(" ")]
    return {
        "_DEPLOYCORE_COMPLETE": "complete_bash",
        "COMP_WORDS": "\n".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }


if __name__ == "__main__":
    main()
