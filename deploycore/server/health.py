"""Readiness of the server: database, disk, key of the secrets, workers."""

from __future__ import annotations

import errno
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from deploycore.errors import DeploycoreError, StoreError, with_next_step
from deploycore.installation import Installation
from deploycore.server.quiet import QuietLogger
from deploycore.server.views import Health
from deploycore.worker import Worker

__all__ = ["Readiness"]

_FRESH_SECONDS = 1.0
_FREE_BYTES_LEAST = 16 * 1024 * 1024
_FREE_FILES_LEAST = 16
_MISSING = {
    "database": "The database cannot be read, or cannot be written.",
    "disk": "The disk of the data directory is full, or cannot be written.",
    "key": "The key of the stored secrets is missing, or is not the key that encrypted them.",
    "workers": "A worker thread of this process has ended.",
}
_WRITING_SECONDS = 5.0


class Readiness:
    """Checks what the server needs, at most once a second.

    Args:
        worker: The worker of this process, if there is one.
    """

    def __init__(self, installation: Installation, worker: Worker | None) -> None:
        self._installation = installation
        self._worker = worker
        self._quiet = QuietLogger(logging.getLogger(__name__), most=1)
        self._lock = threading.Lock()
        self._found: Health | None = None
        self._found_at = -float("inf")

    def look(self) -> Health:
        """Run the checks. The reason for a failure is only in the server's log."""
        with self._lock:
            now = time.monotonic()
            if self._found is None or now - self._found_at >= _FRESH_SECONDS:
                checks = {
                    "database": self._works("database", self._database),
                    "disk": self._works("disk", self._disk),
                    "key": self._works("key", self._key),
                }
                if self._worker is not None:
                    checks["workers"] = "ok" if self._worker.is_well else "failed"
                missing = {name: _MISSING[name] for name, how in checks.items() if how != "ok"}
                self._found = Health(
                    status="failed" if missing else "ok", checks=checks, missing=missing
                )
                self._found_at = now
            return self._found

    def _works(self, name: str, check: Callable[[], None]) -> Literal["ok", "failed"]:
        try:
            check()
        except DeploycoreError as error:
            self._quiet.warn(name, "not ready: %s", with_next_step(error))
            return "failed"
        return "ok"

    def _database(self) -> None:
        self._installation.store.triggers.seconds_to_next()
        self._installation.store.check_writing(patience=_WRITING_SECONDS)

    def _disk(self) -> None:
        settings = self._installation.settings
        settings.make_home()
        try:
            _write_to(settings.home)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise StoreError(
                f"The data directory {settings.home} cannot be written: {reason}.",
                hint="Free space on that disk, or correct the directory's permissions.",
                path=str(settings.home),
            ) from None

    def _key(self) -> None:
        sealed = self._installation.store.find_sealed_secret()
        if sealed is not None:
            self._installation.secrets.reveal(sealed)


def _write_to(directory: Path) -> None:
    """Write a small file, and remove it.

    Raises:
        OSError: There is no space for it, or almost none.
    """
    found = os.statvfs(directory)
    if found.f_bavail * found.f_frsize < _FREE_BYTES_LEAST:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if found.f_files and found.f_favail < _FREE_FILES_LEAST:  # some systems do not count files
        raise OSError(errno.ENOSPC, "No inodes left on device")
    with tempfile.NamedTemporaryFile(prefix=".ready-", dir=directory) as file:
        file.write(b"ready")
        file.flush()
        os.fsync(file.fileno())
