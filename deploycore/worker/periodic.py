"""Periodic work beside the deployments, in a separate thread."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod

from deploycore.errors import StoreError, with_next_step

__all__ = ["Periodic"]


class Periodic(ABC):
    """Does its work at once, and then periodically. Call ``start`` and ``stop``.

    Args:
        name: The name of the work, for the thread.
        seconds: Seconds between two rounds.
        goodbye_seconds: How long ``stop`` waits for a running round.
        failure: The text to log before an error of the database.
        activity: The activity in the log line of an unexpected error: ``unexpected error while …``.
    """

    def __init__(
        self, name: str, *, seconds: float, goodbye_seconds: float, failure: str, activity: str
    ) -> None:
        self._name = name
        self._seconds = seconds
        self._goodbye_seconds = goodbye_seconds
        self._failure = failure
        self._activity = activity
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @abstractmethod
    def _work(self) -> object:
        """Do one round.

        Raises:
            StoreError: The database cannot be used.
        """

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(
            target=self._run, name=f"deploycore-worker-{self._name}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread. A round that takes longer is abandoned."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(self._goodbye_seconds)

    def _run(self) -> None:
        logger = logging.getLogger(type(self).__module__)
        while True:
            try:
                self._work()
            except StoreError as error:
                logger.warning("%s: %s", self._failure, with_next_step(error))
            except Exception as error:
                logger.error("unexpected error while %s: %s", self._activity, type(error).__name__)
            if self._stopped.wait(self._seconds):
                return
