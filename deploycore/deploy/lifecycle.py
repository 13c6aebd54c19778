"""Plugins that watch deployments: told of each event, apart from it, so that none stalls it.

They are called in threads of their own, one for each deployment, in order. Whoever is still
busy when the deployment is done gets a short while, and is then left behind.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Self

from deploycore.errors import DeploycoreError
from deploycore.observers import Observers
from deploycore.store import DeploymentRecord

__all__ = ["Lifecycle"]

logger = logging.getLogger(__name__)

VETO_SECONDS = 10.0
GOODBYE_SECONDS = 2.0


class Lifecycle:
    """Tells observers of one deployment what happens; see ``ObserverSpec``."""

    def __init__(self, observers: Observers) -> None:
        self._observers = observers
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        if observers:
            self._thread = _start("deploycore-lifecycle", self._run)

    def started(self, record: DeploymentRecord) -> None:
        """It is this deployment's turn."""
        self._tell("deploy_started", deployment=record)

    def changed(self, record: DeploymentRecord) -> None:
        """It has come into another state."""
        self._tell("deploy_state_changed", deployment=record)

    def finished(self, record: DeploymentRecord, error: DeploycoreError | None) -> None:
        """It has come to an end."""
        self._tell("deploy_finished", deployment=record, error=error)

    def veto(self, record: DeploymentRecord) -> str | None:
        """Why some observer does not want this commit to be deployed; ``None`` if all do.

        All are asked at once. One that fails, or takes longer than ``VETO_SECONDS``, has no say.
        """
        answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()

        def ask(observer: Observers) -> None:
            answers.put(next(observer.ask("veto_deploy", deployment=record), None))

        asked = self._observers.one_by_one()
        for observer in asked:
            _start("deploycore-veto", partial(ask, observer))
        until = time.monotonic() + VETO_SECONDS
        try:
            for _ in asked:
                reason = answers.get(timeout=max(0.0, until - time.monotonic()))
                if reason is not None:
                    return reason
        except queue.Empty:
            logger.warning("an observer took too long to say whether a deployment may go on")
        return None

    def close(self) -> None:
        """Wait for a short while until all was told."""
        if self._thread is not None:
            self._calls.put(None)
            self._thread.join(GOODBYE_SECONDS)
            if self._thread.is_alive():
                logger.warning("an observer of deployments is still busy, and is left behind")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _tell(self, hook: str, **arguments: object) -> None:
        if self._thread is not None:
            self._calls.put(lambda: self._observers.tell(hook, **arguments))

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


def _start(name: str, target: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread
