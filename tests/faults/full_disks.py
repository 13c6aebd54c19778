"""Separate file systems that are really full. This requires permission to mount."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PAGE = 4096


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """Mount a ``tmpfs`` on a new directory; skip the test if that is not allowed.

    Args:
        size: As ``mount`` takes it: ``"1m"``.
    """
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if os.getuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only who may mount can fill a disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@contextmanager
def full(disk: Path, left: int) -> Iterator[None]:
    """Fill a disk except for a number of bytes, until the end of the block.

    Args:
        left: The number of bytes, rounded down to pages.
    """
    state = os.statvfs(disk)
    filler = disk / "filler"
    taken = state.f_bavail * state.f_frsize - left // PAGE * PAGE
    filler.write_bytes(bytes(max(0, taken)))
    try:
        yield
    finally:
        filler.unlink()
