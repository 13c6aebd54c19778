"""Everything that a step started, also what has left its session: for steps that did not succeed.

Two ways, both of Linux:

* a control group (cgroups(7), version 2) where this process may make one: as root, or as a
  service with ``Delegate=yes``. The program is in it before its first instruction, nothing leaves
  it, and the kernel kills all of it at once;
* a variable that processes inherit, read from ``/proc/PID/environ``. It needs no rights, and
  misses processes that were started with another environment, that overwrite it, as servers do
  that change their title, or that run as another user. A chain of processes that each live for
  a moment is hunted for two seconds, newest first, and is nearly always caught.

Elsewhere only the session is known; see ``process``.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from pathlib import Path

__all__ = [
    "LOOKS",
    "VARIABLE",
    "Containment",
    "in_cgroup",
    "kill_cgroup",
    "kill_marked",
    "marked",
    "remove_cgroup",
]

LOOKS = 5
"""How many times in a row nothing must be found: one look misses what is just being replaced."""
VARIABLE = "DEPLOYCORE_STEP_ID"
_PREFIX = "deploycore-step-"
_ABANDONED_SECONDS = 24 * 60 * 60
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

    @contextmanager
    def entry(self) -> Iterator[Callable[[], None] | None]:
        """What a child process calls between ``fork`` and ``exec`` to be in the control group.

        Had it been put there afterwards, it could have started processes outside by then. Only a
        file that is open already is written to, which is safe in a process with threads. Where
        the group takes no processes, it stays empty, and the variable is all there is.
        """
        try:
            file = os.open(self.cgroup / "cgroup.procs", os.O_WRONLY) if self.cgroup else None
        except OSError:
            file = None
        if file is None:
            yield None
            return
        try:
            yield _Entry(file)
        finally:
            os.close(file)

    def members(self) -> set[int]:
        """The processes that run."""
        return in_cgroup(self.cgroup) | marked(self.token)

    def kill(self) -> None:
        """Kill what is in the control group, in one step that nothing forks away from, and what
        is found by the variable."""
        if self.cgroup is not None:
            kill_cgroup(self.cgroup)
        kill_marked(self.token)

    def close(self) -> None:
        """Let go of what still runs, and of the control group."""
        if self.cgroup is not None:
            remove_cgroup(self.cgroup)
            self.cgroup = None


class _Entry:
    """Puts the process that calls it into the control group whose file is open."""

    def __init__(self, file: int) -> None:
        self._file = file

    def __call__(self) -> None:
        try:
            os.write(self._file, b"0")
        except OSError:
            return


def in_cgroup(cgroup: Path | None) -> set[int]:
    """The processes of a control group; none where there is no such group."""
    if cgroup is not None:
        with suppress(OSError, ValueError):
            return set(map(int, (cgroup / "cgroup.procs").read_text().split()))
    return set()


def marked(token: str) -> set[int]:
    """The processes whose environment has a token."""
    return set(_marked(token))


def kill_marked(token: str) -> None:
    """Kill the processes whose environment has a token, each as soon as it is found."""
    for process in _marked(token):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGKILL)


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


def _marked(token: str) -> Iterator[int]:
    mark = token.encode()
    for process in _processes():
        with suppress(OSError), open(_PROC / str(process) / "environ", "rb") as file:
            if mark in file.read(_ENVIRONMENT_BYTES_MOST):
                yield process


def _processes() -> list[int]:
    """All processes, mostly the newest first: what replaces itself all the time is among those."""
    try:
        return sorted((int(name) for name in os.listdir(_PROC) if name.isdigit()), reverse=True)
    except OSError:
        return []


def _make_cgroup(token: str) -> Path | None:
    own = _own_cgroup()
    if own is None:
        return None
    _remove_abandoned(own, hour=int(time.time() // 3600))
    made = own / f"{_PREFIX}{token}"
    try:
        made.mkdir()
    except OSError:
        return None
    return made


@lru_cache(maxsize=1)
def _remove_abandoned(own: Path, *, hour: int) -> None:
    """Remove control groups that killed processes left behind, and that are empty.

    Args:
        hour: The current hour. There may be many groups, so each process does this once an hour.
    """
    before = time.time() - _ABANDONED_SECONDS
    with suppress(OSError), os.scandir(own) as entries:
        for each in entries:
            if each.name.startswith(_PREFIX):
                with suppress(OSError):
                    if each.stat().st_mtime < before:
                        os.rmdir(each.path)


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
