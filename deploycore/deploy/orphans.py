"""What a step began and a killed process left running: found again by the step's session.

While a command runs, its session is on record in a file of the target, with what tells it from
a later session of the same number: the boot of the machine, and when the session's leader was
started; see proc_pid_stat(5). Who holds the target's lock knows that nobody watches over it any
more. Not covered are systems without ``/proc``, other machines that share the target, and a kill
in the instant between the start of a command and its record.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deploycore.deploy.process import GRACE_SECONDS, members, started_at
from deploycore.disk import write_private_file

__all__ = ["end_orphans", "on_record"]

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_KILLED_WITHIN = 2.0
_LOOK_EVERY = 0.02


@contextmanager
def on_record(file: Path, session: int) -> Iterator[None]:
    """Have a session on record; as far as the file can be written, which ends no step."""
    with suppress(OSError):
        record = f"{_BOOT.read_text().strip()} {session} {started_at(session)}\n"
        write_private_file(file, record.encode())
    try:
        yield
    finally:
        with suppress(OSError):
            file.unlink(missing_ok=True)


def end_orphans(file: Path) -> int:
    """End what is left of the session that is on record: SIGTERM, and five seconds later SIGKILL.

    For who holds the target's lock.

    Returns:
        How many processes it had.
    """
    try:
        boot, session, began = file.read_text().split()
        is_known = boot == _BOOT.read_text().strip() and started_at(int(session)) in (began, None)
        found = len(_signal(int(session), signal.SIGTERM)) if is_known else 0
    except (OSError, ValueError):
        found = 0
    if found and not _is_gone(int(session), GRACE_SECONDS):
        _signal(int(session), signal.SIGKILL)
        _is_gone(int(session), _KILLED_WITHIN)
    with suppress(OSError):
        file.unlink(missing_ok=True)
    return found


def _signal(session: int, number: signal.Signals) -> list[int]:
    found = [member for member, _ in members(session)]
    for member in found:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(member, number)
    return found


def _is_gone(session: int, within: float) -> bool:
    moment = time.monotonic() + within
    while any(True for _ in members(session)):
        if time.monotonic() > moment:
            return False
        time.sleep(_LOOK_EVERY)
    return True
