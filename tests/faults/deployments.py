"""Deployments that are killed at a chosen point, each in its own process.

Run as ``-m tests.faults.deployments HOME`` by ``tests.forked``. For each line of standard input, a
JSON object, a child is forked, which deploys (or rolls back) and counts what it does; at the wanted
count it kills itself. Its exit status is printed. The children begin with all modules loaded.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Calls that change something on the disk, or make it last.
CHANGING = (
    "chmod",
    "fsync",
    "link",
    "mkdir",
    "open",
    "rename",
    "replace",
    "rmdir",
    "symlink",
    "truncate",
    "unlink",
    "utime",
    "write",
)
REFUSED = 3


class Killer:
    """Counts calls, and kills this process at one of them.

    Args:
        at: The number of the call, from 1. The process is killed before or after it.
    """

    def __init__(self, at: int, *, after: bool) -> None:
        self.count = 0
        self.armed = False
        self._at = at
        self._after = after
        self._process = os.getpid()

    def watch(self, module: Any, name: str) -> None:
        """Count the calls of a function while this is armed."""
        function: Callable[..., Any] = getattr(module, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            is_meant = self.armed and os.getpid() == self._process  # a step is not killed
            if not is_meant or not _changes(name, arguments, options):
                return function(*arguments, **options)
            self.count += 1
            if self.count == self._at and not self._after:
                os.kill(os.getpid(), signal.SIGKILL)
            done = function(*arguments, **options)
            if self.count == self._at and self._after:
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        setattr(module, name, counted)


def _changes(name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Whether a call changes the disk. A call that only reads, or writes to a pipe or a device,
    does not."""
    if name == "write":
        return stat.S_ISREG(os.fstat(arguments[0]).st_mode)
    if name != "open":
        return True
    flags = arguments[1] if len(arguments) > 1 else options.get("flags", 0)
    is_device = os.fsdecode(arguments[0]).startswith(("/dev/", "/proc/"))
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) and not is_device


def perform(home: str, wanted: dict[str, Any]) -> int:
    """Deploy, and die when the point is reached; return 0 if it was not reached."""
    from deploycore import DeploycoreError, Installation, Settings
    from deploycore.store.deployments import Deployments

    killer = Killer(wanted["at"], after=wanted["after"])
    if wanted["what"] == "states":
        for name in ("request", "advance", "note_error"):
            killer.watch(Deployments, name)
        killer.armed = True
    else:
        for name in CHANGING:
            killer.watch(os, name)

    def listen(event: Any) -> None:
        if event.kind == "state" and event.phase == "activating":
            killer.armed = True

    with Installation(Settings.from_environment({"DEPLOYCORE_HOME": home})) as installation:
        try:
            if wanted["rollback"]:
                installation.roll_back("site", listener=listen)
            else:
                installation.deploy("site", force=True, listener=listen)
        except DeploycoreError as error:
            return REFUSED if error.code == wanted.get("may_fail") else 1
        finally:
            killer.armed = False
    return 0


def main() -> None:
    """Fork a child for each line."""
    home = sys.argv[1]
    Path(home).mkdir(exist_ok=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = perform(home, json.loads(line))
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
