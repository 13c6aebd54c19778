"""A file of JSON lines that several processes append to, each line flushed to the disk.

A process that writes holds the lock of a second file, ``<name>.lock``. A line is written with one
call, to the end of the file. A process that is killed while it writes leaves at most an incomplete
last line, and the next process starts a new line. When the file is large enough, it is renamed to
the next number, such as ``<name>.000001``. The rename is one step, so every line is in one of the
files at any moment.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import re
import stat
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["AuditFile"]

logger = logging.getLogger(__name__)

_LOCK_SECONDS = 5.0
_RETRY_SECONDS = 0.02
_MOST_WAITING = 10_000
_MODE = 0o600
_OTHERS = 0o077
_FLAGS = os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class AuditFile:
    """Appends entries to a file, and rotates it.

    Lines that cannot be written, for example to a full disk, wait in memory and are written before
    the next one. The failure is logged once. If the file cannot be rotated, it grows.

    Args:
        path: The file. It must not be a link or a file of another user.
        max_bytes: The size at which it is rotated.
        keep: How many rotated files are kept.
    """

    def __init__(self, path: Path, *, max_bytes: int, keep: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._lock = threading.Lock()
        self._waiting: deque[bytes] = deque()
        self._dropped = 0
        self._is_failing = False
        self._is_stuck = False

    def write(self, entry: Mapping[str, object]) -> None:
        """Append an entry, and flush it to the disk. A failure is logged, not raised."""
        line = json.dumps(entry, separators=(",", ":")).encode("ascii") + b"\n"
        with self._lock:
            if len(self._waiting) >= _MOST_WAITING:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append(line)
            try:
                with self._locked():
                    while self._waiting:
                        self._append(self._waiting[0])
                        self._waiting.popleft()
            except OSError as error:
                self._note_failure(error)
            else:
                self._note_success()

    def _append(self, line: bytes) -> None:
        self._rotate_if_possible(len(line))
        descriptor = self._open(self._path, os.O_RDWR)
        try:
            size = os.fstat(descriptor).st_size
            is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            data = b"\n" + line if is_torn else line
            try:
                if (written := os.write(descriptor, data)) != len(data):
                    raise OSError(errno.ENOSPC, f"only {written} of {len(data)} bytes were written")
                os.fsync(descriptor)
                if size == 0:
                    self._sync_directory()
            except OSError:
                # The entry is written again later. An append-only file then contains it twice.
                with suppress(OSError):
                    os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)

    def _rotate_if_possible(self, more: int) -> None:
        """Rotate the file if it would get too large. A failure is logged once. The entry is written
        anyway, because there may be no later entry with which it could be written."""
        try:
            self._rotate(more)
        except OSError as error:
            if not self._is_stuck:
                reason = error.strerror or type(error).__name__
                logger.warning("the audit log %s cannot be rotated: %s", self._path, reason)
            self._is_stuck = True
        else:
            self._is_stuck = False

    def _rotate(self, more: int) -> None:
        """Rename the file if it would get too large, then remove the oldest ones."""
        try:
            size = os.lstat(self._path).st_size
        except FileNotFoundError:
            return
        if size == 0 or size + more <= self._max_bytes:
            return
        os.close(self._open(self._path, os.O_RDWR))  # fails if it is not our file
        numbers = self._numbers()
        os.rename(self._path, self._numbered(max(numbers, default=0) + 1))
        self._sync_directory()
        for number in sorted(numbers)[: max(0, len(numbers) + 1 - self._keep)]:
            os.unlink(self._numbered(number))

    def _numbers(self) -> list[int]:
        pattern = re.compile(re.escape(self._path.name) + r"\.([0-9]{6,12})")
        found = (pattern.fullmatch(name) for name in os.listdir(self._path.parent))
        return [int(match[1]) for match in found if match]

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number:06}")

    def _open(self, path: Path, flags: int) -> int:
        """Open a file of this user, which no other user can open; create it if necessary.

        Raises:
            OSError: The file is a link, is not a regular file, has several hard links, or belongs
                to another user.
        """
        try:
            descriptor = os.open(path, flags | _FLAGS, _MODE)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise OSError(errno.ELOOP, f"{path.name} is a link") from None
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file")
            if found.st_nlink != 1:
                raise OSError(errno.EMLINK, "it has a hard link, or was removed")
            if found.st_uid != os.geteuid():
                raise OSError(errno.EPERM, "it belongs to another user")
            if found.st_mode & _OTHERS:
                os.fchmod(descriptor, _MODE)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock that all processes share.

        Raises:
            TimeoutError: Another process holds it for too long.
            OSError: It cannot be opened.
        """
        os.makedirs(self._path.parent, mode=0o700, exist_ok=True)
        descriptor = self._open(self._path.with_name(f"{self._path.name}.lock"), os.O_RDWR)
        try:
            until = time.monotonic() + _LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        message = f"another process holds its lock for {_LOCK_SECONDS:g} seconds"
                        raise TimeoutError(errno.ETIMEDOUT, message) from None
                    time.sleep(_RETRY_SECONDS)
            yield
        finally:
            os.close(descriptor)

    def _sync_directory(self) -> None:
        descriptor = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _note_failure(self, error: OSError) -> None:
        if not self._is_failing:
            reason = error.strerror or type(error).__name__
            logger.error(
                "the audit log %s cannot be written: %s. Entries wait in memory.",
                self._path,
                reason,
            )
        self._is_failing = True

    def _note_success(self) -> None:
        if self._is_failing:
            logger.warning(
                "the audit log %s can be written again; %d entries were lost",
                self._path,
                self._dropped,
            )
        self._is_failing, self._dropped = False, 0
