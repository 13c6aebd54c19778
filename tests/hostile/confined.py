"""Exports in processes of their own, with limits of memory and processor time.

Repositories that need much memory are tested here, because a separate process can be measured and
killed. Run as ``python -m tests.hostile.confined``, with a JSON object for each export on a line of
standard input: ``url``, ``target``, ``submodules`` and ``settings``. Each is done by a new process,
which is forked from this small one. Writes one to standard output: ``error`` (the class's name, or
``None``), ``message``, ``seconds`` (of CPU time) and ``peak`` (resident bytes).
"""

from __future__ import annotations

import json
import os
import pkgutil
import resource
import sys
import time
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import deploycore.git
from deploycore.errors import DeploycoreError
from deploycore.git import GitSettings, export
from deploycore.models import CloneUrl

_ADDRESS_SPACE = 3 * 1024**3  # threads reserve much that they never use
_PROCESSOR_SECONDS = 30


@dataclass(frozen=True)
class Outcome:
    """How a confined export ended."""

    error: str | None
    message: str
    seconds: float
    peak: int


def peak() -> int:
    """The most memory that this process ever held, in bytes.

    Not ``ru_maxrss`` where the kernel tells better: that one is inherited from the parent.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    line = next(each for each in status.read_text().splitlines() if each.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def main() -> None:
    """Export as each line of standard input says, and tell how that went, until it ends."""
    _load_all()
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _export(json.loads(line))
            sys.stdout.flush()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            message = f"ended with {os.waitstatus_to_exitcode(status)}"
            print(json.dumps(asdict(Outcome("untyped", message, 0, 0))), flush=True)


def _load_all() -> None:
    """Import what an export uses: a process that exports for the first time has all of that."""
    for each in pkgutil.walk_packages(deploycore.git.__path__, "deploycore.git."):
        import_module(each.name)


def _export(wanted: dict[str, Any]) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CPU, (_PROCESSOR_SECONDS, _PROCESSOR_SECONDS))
    began, error, message = time.process_time(), None, ""
    try:
        export(
            CloneUrl(url=wanted["url"]),
            "main",
            Path(wanted["target"]),
            submodules=wanted["submodules"],
            settings=GitSettings(**wanted["settings"]),
        )
    except DeploycoreError as caught:
        error, message = type(caught).__name__, caught.message
    except BaseException as caught:
        error, message = f"untyped {type(caught).__name__}", str(caught)
    took = time.process_time() - began
    print(json.dumps(asdict(Outcome(error, message, took, peak()))))


if __name__ == "__main__":
    main()
