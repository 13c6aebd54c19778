"""Whether the server can do its work: the database, the key of the secrets, the workers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Literal

from deploycore.errors import DeploycoreError
from deploycore.installation import Installation
from deploycore.server.quiet import QuietLogger
from deploycore.server.views import Health
from deploycore.worker import Worker

__all__ = ["Readiness"]

_FRESH_SECONDS = 1.0


class Readiness:
    """Looks at what the server needs, at most once a second, however often it is asked.

    Args:
        worker: The one of this process, if it has one.
    """

    def __init__(self, installation: Installation, worker: Worker | None) -> None:
        self._installation = installation
        self._worker = worker
        self._quiet = QuietLogger(logging.getLogger(__name__), most=1)
        self._lock = threading.Lock()
        self._found: Health | None = None
        self._found_at = -float("inf")

    def look(self) -> Health:
        """How things are; why one has failed is in the server's log alone."""
        with self._lock:
            now = time.monotonic()
            if self._found is None or now - self._found_at >= _FRESH_SECONDS:
                checks = {
                    "database": self._works("database", self._database),
                    "key": self._works("key", self._key),
                }
                if self._worker is not None:
                    checks["workers"] = "ok" if self._worker.is_well else "failed"
                is_well = set(checks.values()) == {"ok"}
                self._found = Health(status="ok" if is_well else "failed", checks=checks)
                self._found_at = now
            return self._found

    def _works(self, name: str, check: Callable[[], None]) -> Literal["ok", "failed"]:
        try:
            check()
        except DeploycoreError as error:
            self._quiet.warn(name, "not ready: %s", error)
            return "failed"
        return "ok"

    def _database(self) -> None:
        self._installation.store.triggers.seconds_to_next()

    def _key(self) -> None:
        sealed = self._installation.store.find_sealed_secret()
        if sealed is not None:
            self._installation.secrets.reveal(sealed)
