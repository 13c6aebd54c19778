"""Checks of workers, and of the times that they have stored."""

from __future__ import annotations

from collections.abc import Iterator

from deploycore.doctor.finding import Finding, fine, warning
from deploycore.store.inspection import Inspection

__all__ = ["look_at_clock", "look_at_workers"]

_QUIET_SECONDS = 900.0
"""With the longest lease, a worker sends a heartbeat every ten minutes."""

_WAITING_SECONDS = 60.0
"""A worker with a free slot claims new triggers within seconds."""


def look_at_workers(found: Inspection) -> Iterator[Finding]:
    """Check that a worker has sent a heartbeat, and that no trigger waits too long."""
    seconds, waited = found.worker_seconds, found.waiting_seconds
    if not waited and all(each.definition.auto_deploy is None for each in found.applications):
        return
    waiting = f"; the oldest trigger has waited for {waited:.0f} s" if waited else ""
    longest = _WAITING_SECONDS if waited > _WAITING_SECONDS else _QUIET_SECONDS
    if seconds is not None and seconds <= longest:
        yield fine("workers", f"A worker sent a heartbeat {seconds:.0f} s ago{waiting}.")
        return
    seen = "No worker is running"
    if seconds is not None:
        seen = f"No worker has sent a heartbeat for {seconds:.0f} s"
    yield warning(
        "workers", f"{seen}{waiting}.", "Start one: deploycore serve, or deploycore worker"
    )


def look_at_clock(found: Inspection) -> Iterator[Finding]:
    """Check for stored times that were written while a clock was ahead."""
    for each in found.ahead:
        more = ", …" if each.count > len(each.names) else ""
        yield warning(
            "clock",
            f"Some stored times are too far in the future: {each.what} ({each.count}), of"
            f" {', '.join(each.names)}{more}. A clock was ahead when they were stored. deploycore"
            " ignores them.",
            "Check the clocks of this machine and of the database server: timedatectl status",
        )
