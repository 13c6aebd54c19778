"""Cached answers for Tab that take too long to wait for.

Each answer is a file that is private to the user and contains only names. The process that asks
locks the file, and passes the lock on to the process that finds the answer, so that only one such
process runs at a time.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
import zlib
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from deploycore.cli.completion import database_url, home
from deploycore.disk.durable import make_private_directory

__all__ = ["FRESH_SECONDS", "WAIT_SECONDS", "answer", "stamp_of_kind"]

WAIT_SECONDS = 1.0
FRESH_SECONDS = 60.0
_LOOK_SECONDS = 0.02
_NAME_MOST = 200
_BYTES_MOST = 1 << 20


def answer(question: list[str], *, seconds: float | None = FRESH_SECONDS) -> list[tuple[str, str]]:
    """Return an answer within a second.

    Args:
        question: A question to ``deploycore.cli.completion_answers``.
        seconds: How long an answer is valid; ``None``: without a limit.

    Returns:
        Values with descriptions; the previous answer if the new one is not ready yet.

    Raises:
        OSError: The data directory cannot be written.
    """
    path = _path(question)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        if not _lock(descriptor):
            _wait_for(descriptor)
        elif not _is_fresh(descriptor, seconds):
            _ask(question, descriptor)
        return _read(descriptor)
    finally:
        os.close(descriptor)


def stamp_of_kind(kind: str) -> str:
    """Return a text that changes when a kind's plugin does, without importing the plugin.

    Returns:
        The plugin's version and time of change; empty if the kind is not installed.
    """
    for point in entry_points(group="deploycore.providers", name=kind):
        spec = find_spec(point.module.partition(".")[0])
        if spec is None or spec.origin is None:
            continue
        files = Path(spec.origin).parent.glob("*.py") if spec.parent else [Path(spec.origin)]
        changed = max(file.stat().st_mtime_ns for file in files)
        return f"{point.dist.version if point.dist else ''}-{changed}"
    return ""


def _path(question: list[str]) -> Path:
    place = Path(home())
    for directory in (place, place / "cache", place / "cache" / "completion"):
        make_private_directory(directory)
    # Each database has its own names. Its URL is hashed because it may contain a password.
    suffix = f"{zlib.crc32(database_url().encode()):08x}"
    name = ",".join(quote(word, safe="") for word in question)[:_NAME_MOST]
    return place / "cache" / "completion" / f"{name},{suffix}"


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait_for(descriptor: int) -> None:
    """Wait for another process that asks the same question."""
    until = time.monotonic() + WAIT_SECONDS
    while not _lock(descriptor) and time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)


def _is_fresh(descriptor: int, seconds: float | None) -> bool:
    found = os.fstat(descriptor)
    return found.st_size > 0 and (seconds is None or 0 <= time.time() - found.st_mtime < seconds)


def _ask(question: list[str], descriptor: int) -> None:
    # -P: modules must not be imported from the current directory.
    command = [sys.executable, "-P", "-m", "deploycore.cli.completion_answers", str(descriptor)]
    environment = {k: v for k, v in os.environ.items() if k != "_DEPLOYCORE_COMPLETE"}
    asked = subprocess.Popen(  # noqa: S603 - our own program, by a list of arguments
        [*command, *question],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        pass_fds=[descriptor],
        start_new_session=True,
    )
    try:
        asked.wait(WAIT_SECONDS)
    except subprocess.TimeoutExpired:
        asked.returncode = 0  # the process continues, for the next Tab


def _read(descriptor: int) -> list[tuple[str, str]]:
    text = os.pread(descriptor, _BYTES_MOST, 0).decode(errors="replace")
    lines = (line.partition("\t") for line in text.splitlines())
    return [(value, about) for value, _, about in lines if value]
