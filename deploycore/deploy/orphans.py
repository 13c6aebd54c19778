"""Find and end the processes that a step started and that a killed process of deploycore left
running.

While a command runs, a file in the target records its session. To distinguish the session from a
later one with the same number, the file also has the boot of the machine and the start time of the
session's leader; see proc_pid_stat(5). It also has what identifies the step's processes that left
the session; see ``containment``. A process that holds the target's lock knows that no other process
watches over the step any more.

This does not work on systems without ``/proc``, for other machines that share the target, and if
deploycore is killed in the instant between the start of a command and its record.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deploycore.deploy.containment import (
    LOOKS,
    Containment,
    in_cgroup,
    kill_cgroup,
    kill_marked,
    marked,
    remove_cgroup,
)
from deploycore.deploy.process import GRACE_SECONDS, members, started_at
from deploycore.disk.durable import write_private_file
from deploycore.records import record

__all__ = ["end_orphans", "on_record"]

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_KILLED_WITHIN = 2.0
_LOOK_EVERY = 0.02


@contextmanager
def on_record(file: Path, session: int, contained: Containment | None = None) -> Iterator[None]:
    """Record a step's processes, if the file can be written; a failure does not end the step."""
    with suppress(OSError):
        record = f"{_BOOT.read_text().strip()} {session} {started_at(session)}"
        if contained is not None:
            record += f" {contained.token} {contained.cgroup or ''}"
        write_private_file(file, f"{record}\n".encode())
    try:
        yield
    finally:
        with suppress(OSError):
            file.unlink(missing_ok=True)


@record
class _Orphans:
    """The content of a record: a session and, in records of current versions, everything that the
    step started."""

    session: int | None
    token: str
    cgroup: Path | None

    @classmethod
    def read(cls, file: Path) -> _Orphans | None:
        """Read a record; ``None`` if there is none, or it is from another boot of the machine."""
        try:
            boot, session, began, *more = file.read_text().rstrip("\n").split(" ", 4)
            if boot != _BOOT.read_text().strip():
                return None
            is_known = started_at(int(session)) in (began, None)
        except (OSError, ValueError):
            return None
        token, cgroup = (*more, "", "")[:2]
        return cls(int(session) if is_known else None, token, Path(cgroup) if cgroup else None)

    def running(self) -> set[int]:
        found = {member for member, _ in members(self.session)} if self.session else set()
        if self._has_token:
            found |= marked(self.token) | in_cgroup(self._own_cgroup)
        return found

    def signal(self, number: signal.Signals) -> int:
        found = self.running()
        if number == signal.SIGKILL and self._own_cgroup is not None:
            kill_cgroup(self._own_cgroup)
        if number == signal.SIGKILL and self._has_token:
            kill_marked(self.token)
        for each in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(each, number)
        return len(found)

    def remove(self) -> None:
        if self._own_cgroup is not None:
            remove_cgroup(self._own_cgroup)

    @property
    def _has_token(self) -> bool:
        return re.fullmatch("[0-9a-f]{32}", self.token) is not None

    @property
    def _own_cgroup(self) -> Path | None:
        is_ours = self.cgroup is not None and self.cgroup.name == f"deploycore-step-{self.token}"
        return self.cgroup if is_ours else None


def end_orphans(file: Path) -> int:
    """End what is left of the recorded step: send SIGTERM, and SIGKILL five seconds later.

    The caller holds the target's lock.

    Returns:
        The number of processes that were left.
    """
    orphans = _Orphans.read(file)
    found = orphans.signal(signal.SIGTERM) if orphans else 0
    if orphans and found and not _are_gone(orphans, GRACE_SECONDS):
        _are_gone(orphans, _KILLED_WITHIN, by=signal.SIGKILL)
    if orphans:
        orphans.remove()
    with suppress(OSError):
        file.unlink(missing_ok=True)
    return found


def _are_gone(orphans: _Orphans, within: float, by: signal.Signals | None = None) -> bool:
    moment = time.monotonic() + within
    while any(orphans.running() if by is None else orphans.signal(by) for _ in range(LOOKS)):
        if time.monotonic() > moment:
            return False
        time.sleep(_LOOK_EVERY)
    return True
