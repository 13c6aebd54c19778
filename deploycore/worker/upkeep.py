"""Remove the previews of closed pull requests, beside the deployments."""

from __future__ import annotations

import logging

from deploycore.installation import Installation
from deploycore.worker.periodic import Periodic
from deploycore.worker.previews import remove_ended

__all__ = ["Upkeep"]

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0
_GOODBYE_SECONDS = 10.0


class Upkeep(Periodic):
    """Checks periodically whether there is a preview to remove. A long removal continues at the
    next start.

    Args:
        look_seconds: Seconds between two checks.
    """

    def __init__(self, installation: Installation, *, look_seconds: float = _LOOK_SECONDS) -> None:
        super().__init__(
            "upkeep",
            seconds=look_seconds,
            goodbye_seconds=_GOODBYE_SECONDS,
            failure="previews could not be removed",
            activity="removing previews",
        )
        self._installation = installation
        self._told: frozenset[str] = frozenset()

    def _work(self) -> None:
        failures = remove_ended(self._installation)
        for each in sorted(failures - self._told):
            logger.warning("%s", each)
        self._told = failures
