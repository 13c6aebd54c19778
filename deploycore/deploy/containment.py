"""Everything that a step started, also what has left its session: for steps that did not succeed.

Two ways, both of Linux:

* a control group (cgroups(7), version 2) where this process may make one: as root, or as a
  service with ``Delegate=yes``. Nothing leaves it, and the kernel kills all of it at once;
* a variable that processes inherit, read from ``/proc/PID/environ``. It needs no rights, and
  misses processes that were started with another environment, that overwrite it, as servers do
  that change their title, or that run as another user.

Elsewhere only the session is known; see ``process``.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

__all__ = ["VARIABLE", "Containment", "in_cgroup", "kill_cgroup", "marked", "remove_cgroup"]

VARIABLE = "DEPLOYCORE_STEP_ID"
_PROC = Path("/proc")
_ENVIRONMENT_BYTES_MOST = 4 * 1024 * 1024


class Containment:
    """One step's processes.

    Attributes:
        token: What its variable holds; of no other step.
        cgroup: Its control group; ``None`` where none can be made.
    """

    def __init__(self) -> None:
        self.token = secrets.token_hex(16)
        self.cgroup = _make_cgroup(self.token)

    @property
    def variables(self) -> dict[str, str]:
        """What the step gets into its environment. A step may run deploycore, so tokens add up."""
        return {VARIABLE: ":".join(filter(None, (os.environ.get(VARIABLE), self.token)))}

    def add(self, process: int) -> None:
        """Take a process in that was just started. What it has started by now has the variable."""
        if self.cgroup is not None:
            try:
                (self.cgroup / "cgroup.procs").write_text(str(process))
            except OSError:  # it has ended, or this group may hold no processes
                self.close()

    def members(self) -> set[int]:
        """The processes that run."""
        return in_cgroup(self.cgroup) | marked(self.token)

    def kill(self) -> None:
        """Kill what is in the control group, in one step that nothing forks away from."""
        if self.cgroup is not None:
            kill_cgroup(self.cgroup)

    def close(self) -> None:
        """Let go of what still runs, and of the control group."""
        if self.cgroup is not None:
            remove_cgroup(self.cgroup)
            self.cgroup = None


def in_cgroup(cgroup: Path | None) -> set[int]:
    """The processes of a control group; none where there is no such group."""
    if cgroup is not None:
        with suppress(OSError, ValueError):
            return set(map(int, (cgroup / "cgroup.procs").read_text().split()))
    return set()


def marked(token: str) -> set[int]:
    """The processes whose environment has a token."""
    mark, found = token.encode(), set()
    for process in _processes():
        with suppress(OSError), open(_PROC / str(process) / "environ", "rb") as file:
            if mark in file.read(_ENVIRONMENT_BYTES_MOST):
                found.add(process)
    return found


def kill_cgroup(cgroup: Path) -> None:
    """Kill all processes of a control group in one step, where the system can: Linux 5.14."""
    with suppress(OSError):
        (cgroup / "cgroup.kill").write_text("1")


def remove_cgroup(cgroup: Path) -> None:
    """Remove a control group; what still runs goes to the one above."""
    with suppress(OSError):
        for process in in_cgroup(cgroup):
            with suppress(OSError):
                (cgroup.parent / "cgroup.procs").write_text(str(process))
        cgroup.rmdir()


def _processes() -> Iterator[int]:
    with suppress(OSError):
        yield from (int(name) for name in os.listdir(_PROC) if name.isdigit())


def _make_cgroup(token: str) -> Path | None:
    own = _own_cgroup()
    if own is None:
        return None
    made = own / f"deploycore-step-{token}"
    try:
        made.mkdir()
    except OSError:
        return None
    return made


@cache
def _own_cgroup() -> Path | None:
    """The directory of the control group that this process is in; see proc_pid_cgroup(5)."""
    try:
        path = re.search(r"^0::/(.*)$", (_PROC / "self/cgroup").read_text(), re.MULTILINE)
        mounts = (_PROC / "self/mounts").read_text().splitlines()
    except OSError:
        return None
    places = (fields[1] for fields in map(str.split, mounts) if fields[2] == "cgroup2")
    place = next(places, None)
    return None if path is None or place is None else Path(place, path[1])
