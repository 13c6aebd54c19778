"""The workers: whether there is one, where applications deploy by themselves; and the clock that
they share."""

from __future__ import annotations

from collections.abc import Iterator

from deploycore.doctor.finding import Finding, fine, warning
from deploycore.store.inspection import Inspection

__all__ = ["look_at_clock", "look_at_workers"]

_QUIET_SECONDS = 900.0
"""With the longest lease a worker gives a sign of life every ten minutes."""

_WAITING_SECONDS = 60.0
"""Whoever has a free hand takes up what is new within seconds."""


def look_at_workers(found: Inspection) -> Iterator[Finding]:
    """Whether a worker gave a sign of life lately, and nothing waits for one."""
    seconds, waited = found.worker_seconds, found.waiting_seconds
    if not waited and all(each.definition.auto_deploy is None for each in found.applications):
        return
    waiting = f"; the oldest push or other trigger waits for {waited:.0f} s" if waited else ""
    longest = _WAITING_SECONDS if waited > _WAITING_SECONDS else _QUIET_SECONDS
    if seconds is not None and seconds <= longest:
        yield fine("workers", f"A worker was seen {seconds:.0f} s ago{waiting}.")
        return
    seen = "No worker runs" if seconds is None else f"No worker was seen for {seconds:.0f} s"
    yield warning(
        "workers", f"{seen}{waiting}.", "Start one: deploycore serve, or deploycore worker"
    )


def look_at_clock(found: Inspection) -> Iterator[Finding]:
    """Whether a clock that was ahead has left times that can't be true."""
    for each in found.ahead:
        more = ", …" if each.count > len(each.names) else ""
        yield warning(
            "clock",
            f"Times that could not have been set: {each.what} ({each.count}) lie too far ahead, of"
            f" {', '.join(each.names)}{more}. A clock was ahead when they were stored. deploycore"
            " does not wait for them.",
            "Check the clocks of this machine and of the database server: timedatectl status",
        )
