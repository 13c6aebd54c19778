"""Forgetting triggers that were settled long ago, beside the deployments."""

from __future__ import annotations

import logging
import threading

from deploycore.errors import StoreError
from deploycore.store import Store

__all__ = ["Pruner"]

logger = logging.getLogger(__name__)

_SECONDS = 3600.0
_GOODBYE_SECONDS = 10.0


class Pruner:
    """Prunes the triggers of all applications now and then, in a thread of its own: a backlog may
    take minutes, in which deployments must go on. To be started, and stopped."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, in a thread."""
        self._thread = threading.Thread(
            target=self._run, name="deploycore-worker-pruning", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End, after the transaction that is under way."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(_GOODBYE_SECONDS)

    def _run(self) -> None:
        while True:
            try:
                self._store.triggers.prune(is_stopped=self._stopped.is_set)
            except StoreError as error:
                logger.warning("old triggers could not be pruned: %s", error)
            except Exception as error:
                logger.error("unexpected error while pruning: %s", type(error).__name__)
            if self._stopped.wait(_SECONDS):
                return
