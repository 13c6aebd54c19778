"""All processes that a step started, including those that left its session. It is used for steps
that did not succeed.

There are two ways to find them, both only on Linux:

* A control group (cgroups(7), version 2), if this process may create one: as root, or as a service
  with ``Delegate=yes``. The program is in the group before its first instruction, no process can
  leave the group, and the kernel kills all of its processes at once.
* A variable that processes inherit, which is read from ``/proc/PID/environ``. It needs no
  permissions. It misses processes that were started with another environment, that overwrite their
  environment (like servers that change their title), or that run as another user. If each process
  of a chain starts the next one and ends at once, the processes are searched for two seconds,
  newest first, and are nearly always found.

On other systems, only the session is known; see ``process``.
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
"""How many searches in a row must find nothing: a single search can miss a process that is just
being replaced by another one."""
VARIABLE = "DEPLOYCORE_STEP_ID"
_PREFIX = "deploycore-step-"
_ABANDONED_SECONDS = 24 * 60 * 60
_PROC = Path("/proc")
_ENVIRONMENT_BYTES_MOST = 4 * 1024 * 1024
_PIECE_BYTES = 64 * 1024


class Containment:
    """One step's processes.

    Attributes:
        token: The value of its variable, which no other step has.
        cgroup: Its control group; ``None`` if none can be created.
    """

    def __init__(self) -> None:
        self.token = secrets.token_hex(16)
        self.cgroup = _make_cgroup(self.token)

    @property
    def variables(self) -> dict[str, str]:
        """The variables to add to the step's environment. A step may run deploycore, so the value
        has one token for each level."""
        return {VARIABLE: ":".join(filter(None, (os.environ.get(VARIABLE), self.token)))}

    @contextmanager
    def entry(self) -> Iterator[Callable[[], None] | None]:
        """Yield a function that a child process calls between ``fork`` and ``exec`` to enter the
        group.

        A process that was moved into the group later could already have started others outside of
        it. The function only writes to a file that is already open, which is safe in a process with
        threads. If the group does not accept the process, it stays empty, and only the variable is
        used.
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
        """Return the processes that are running."""
        return in_cgroup(self.cgroup) | marked(self.token)

    def kill(self) -> None:
        """Kill the processes of the control group in one step, which no fork escapes, and those
        that the variable finds."""
        if self.cgroup is not None:
            kill_cgroup(self.cgroup)
        kill_marked(self.token)

    def close(self) -> None:
        """Stop tracking processes that are still running, and remove the control group."""
        if self.cgroup is not None:
            remove_cgroup(self.cgroup)
            self.cgroup = None


class _Entry:
    """Moves the process that calls it into the control group whose file is open."""

    def __init__(self, file: int) -> None:
        self._file = file

    def __call__(self) -> None:
        try:
            os.write(self._file, b"0")
        except OSError:
            return


def in_cgroup(cgroup: Path | None) -> set[int]:
    """Return the processes of a control group; none if it does not exist."""
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
    """Kill all processes of a control group in one step, if the system supports that (Linux
    5.14)."""
    with suppress(OSError):
        (cgroup / "cgroup.kill").write_text("1")


def remove_cgroup(cgroup: Path) -> None:
    """Remove a control group. Processes that are still running move to its parent."""
    with suppress(OSError):
        for process in in_cgroup(cgroup):
            with suppress(OSError):
                (cgroup.parent / "cgroup.procs").write_text(str(process))
        cgroup.rmdir()


def _marked(token: str) -> Iterator[int]:
    mark = token.encode()
    for process in _processes():
        with suppress(OSError):
            if mark in _environment(process):
                yield process


def _environment(process: int) -> bytes:
    # Not with a file object, which takes four times as long: this is read for every process of the
    # machine, several times.
    descriptor = os.open(f"{_PROC}/{process}/environ", os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = b""
        while len(found) < _ENVIRONMENT_BYTES_MOST:
            more = os.read(descriptor, _PIECE_BYTES)
            if not more:
                break
            found += more
        return found
    finally:
        os.close(descriptor)


def _processes() -> list[int]:
    """Return all processes, roughly the newest first, because processes that replace themselves all
    the time are among the newest."""
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
    """Return the directory of this process's control group; see proc_pid_cgroup(5)."""
    try:
        path = re.search(r"^0::/(.*)$", (_PROC / "self/cgroup").read_text(), re.MULTILINE)
        mounts = (_PROC / "self/mounts").read_text().splitlines()
    except OSError:
        return None
    places = (fields[1] for fields in map(str.split, mounts) if fields[2] == "cgroup2")
    place = next(places, None)
    return None if path is None or place is None else Path(place, path[1])
