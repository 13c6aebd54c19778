"""Deploy threads in the server's own process, where a person wants no process of their own.

The worker is another part of deploycore, looked for when it is wanted: the server answers without
it, and what is accepted waits in the store for a worker that runs elsewhere.
"""

from __future__ import annotations

import importlib
import threading
from typing import Any, Protocol

from deploycore.errors import ConfigurationError
from deploycore.installation import Installation

__all__ = ["InProcessWorker", "Workers", "worker_of"]

_MODULE = "deploycore.worker"
_THREADS = "deploycore-worker-"


class InProcessWorker(Protocol):
    """What the server needs of a worker."""

    def start(self) -> None:
        """Begin to work, in threads."""

    def stop(self, drain: float | None = None) -> None:
        """Begin nothing more, and let what runs come to its end, for at most so many seconds."""


class Workers:
    """The deploy threads of this process.

    Args:
        worker: What runs them.
        threads: How many deployments it has in hand at once.
    """

    def __init__(self, worker: InProcessWorker, threads: int) -> None:
        self._worker = worker
        self._threads = threads
        self._names: frozenset[str] = frozenset()

    @property
    def alive(self) -> int:
        """How many deployments it can have in hand now."""
        return self._threads if self.are_well() else 0

    def are_well(self) -> bool:
        """Whether all threads that it began with are still there."""
        return bool(self._names) and self._names <= _running()

    def start(self) -> None:
        """Begin to work."""
        before = _running()
        self._worker.start()
        self._names = _running() - before

    def stop(self, drain: float) -> None:
        """Begin nothing more, and let what runs come to its end.

        Args:
            drain: Seconds, after which it is cancelled.
        """
        self._worker.stop(drain)
        self._names = frozenset()


def worker_of(installation: Installation, threads: int) -> Workers:
    """The worker of an installation, for this process; not started.

    Raises:
        ConfigurationError: This deploycore has no worker.
    """
    try:
        module: Any = importlib.import_module(_MODULE)
    except ModuleNotFoundError as error:
        if error.name != _MODULE:
            raise
        raise ConfigurationError(
            "This deploycore has no worker.", hint="Run it with --workers 0."
        ) from None
    return Workers(module.Worker(installation, threads=threads), threads)


def _running() -> frozenset[str]:
    names = (thread.name for thread in threading.enumerate() if thread.is_alive())
    return frozenset(name for name in names if name.startswith(_THREADS))
