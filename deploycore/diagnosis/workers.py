"""The workers: whether there is one, for those who wait for it."""

from __future__ import annotations

from collections.abc import Iterator

from deploycore.diagnosis.finding import Finding, fine, warning
from deploycore.store.inspection import Inspection

__all__ = ["look_at_workers"]

_QUIET_SECONDS = 900.0
"""With the longest lease a worker gives a sign of life every ten minutes."""

_QUIET_WHILE_SOMETHING_WAITS = 60.0
_START = "Start one: deploycore serve, or deploycore worker"


def look_at_workers(found: Inspection) -> Iterator[Finding]:
    """Whether a worker gave a sign of life, where applications deploy by themselves."""
    automatic = [each for each in found.applications if each.definition.auto_deploy is not None]
    seconds = found.worker_seconds
    waiting = f"; triggers that wait: {found.due}" if found.due else ""
    longest = _QUIET_WHILE_SOMETHING_WAITS if found.due else _QUIET_SECONDS
    if seconds is not None and seconds <= longest:
        yield fine("workers", f"The last sign of life was {seconds:.0f} s ago{waiting}.")
    elif automatic or found.due:
        since = "no worker runs" if seconds is None else f"no worker was seen for {seconds:.0f} s"
        said = f"Applications that deploy by themselves: {len(automatic)}, but {since}{waiting}."
        yield warning("workers", said, _START)
