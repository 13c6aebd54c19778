"""Taking away the previews of pull requests that have come to their end, beside the deployments."""

from __future__ import annotations

import logging
import threading

from deploycore.errors import StoreError
from deploycore.installation import Installation
from deploycore.worker.previews import remove_ended

__all__ = ["Upkeep"]

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0
_GOODBYE_SECONDS = 10.0


class Upkeep:
    """Looks now and then what there is to take away. To be started, and stopped.

    Args:
        look_seconds: How often.
    """

    def __init__(self, installation: Installation, *, look_seconds: float = _LOOK_SECONDS) -> None:
        self._installation = installation
        self._look_seconds = look_seconds
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, in a thread."""
        self._thread = threading.Thread(
            target=self._run, name="deploycore-worker-upkeep", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End, when what is being removed is gone; what takes long goes on at the next start."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(_GOODBYE_SECONDS)

    def _run(self) -> None:
        told: frozenset[str] = frozenset()
        while True:
            try:
                failures = remove_ended(self._installation)
                for each in sorted(failures - told):
                    logger.warning("%s", each)
                told = failures
            except StoreError as error:
                logger.warning("previews could not be removed: %s", error)
            except Exception as error:
                logger.error("unexpected error while removing previews: %s", type(error).__name__)
            if self._stopped.wait(self._look_seconds):
                return
