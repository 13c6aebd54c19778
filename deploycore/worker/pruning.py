"""Delete triggers that were settled long ago, beside the deployments."""

from __future__ import annotations

from deploycore.store import Store
from deploycore.worker.periodic import Periodic

__all__ = ["Pruner"]

_SECONDS = 3600.0
_GOODBYE_SECONDS = 10.0


class Pruner(Periodic):
    """Deletes old triggers of all applications periodically, in a separate thread.

    Many triggers may take minutes, and deployments continue during this time. It stops after the
    current transaction.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(
            "pruning",
            seconds=_SECONDS,
            goodbye_seconds=_GOODBYE_SECONDS,
            failure="old triggers could not be pruned",
            activity="pruning",
        )
        self._store = store

    def _work(self) -> None:
        self._store.triggers.prune(is_stopped=self._stopped.is_set)
