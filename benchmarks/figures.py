"""What benchmarks of processes measure: what a process holds, and what it has used; see proc(5)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

__all__ = ["descriptors", "percentile", "processor_seconds", "resident", "threads"]

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident(process: int) -> float:
    """What a process has in memory, in MiB."""
    return int((_PROC / str(process) / "statm").read_text().split()[1]) * _PAGE / 2**20


def processor_seconds(process: int) -> float:
    """The processor time that a process has used, without that of its children."""
    fields = (_PROC / str(process) / "stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def descriptors(process: int) -> int:
    """How many files and connections a process has open."""
    return len(os.listdir(_PROC / str(process) / "fd"))


def threads(process: int) -> int:
    """How many threads a process has."""
    return len(os.listdir(_PROC / str(process) / "task"))


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that so many of a hundred are not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
