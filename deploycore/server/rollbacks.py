"""Rollbacks that were requested over HTTP. Each runs in a thread; the response does not wait.

They bypass the queue, because they need no git host and the requester wants them at once.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future

from deploycore.deploy import DeployEvent
from deploycore.errors import Cancelled, DeploycoreError
from deploycore.git import Cancellation
from deploycore.installation import Installation

__all__ = ["Rollbacks"]

logger = logging.getLogger(__name__)


class Rollbacks:
    """The rollbacks that this process has started."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._lock = threading.Lock()
        self._running: dict[threading.Thread, Cancellation] = {}
        self._stopping = False

    def begin(self, application: str, *, to: str | None, requested_by: str) -> int:
        """Start a rollback.

        Returns:
            The id of its deployment, which is still running.

        Raises:
            DeploycoreError: It cannot start, for example because there is no release to roll back
                to.
        """
        known: Future[int] = Future()
        cancellation = Cancellation()

        def listen(event: DeployEvent) -> None:
            if not known.done():
                known.set_result(event.deployment)

        def run() -> None:
            try:
                done = self._installation.roll_back(
                    application,
                    to=to,
                    requested_by=requested_by,
                    listener=listen,
                    cancellation=cancellation,
                )
                if not known.done():
                    known.set_result(done.id)
            except BaseException as error:
                if not known.done():
                    known.set_exception(error)
                elif not isinstance(error, DeploycoreError):
                    logger.error(
                        "a rollback of %s ended with %s", application, type(error).__name__
                    )
            finally:
                with self._lock:
                    self._running.pop(threading.current_thread(), None)

        thread = threading.Thread(target=run, name="deploycore-rollback", daemon=True)
        with self._lock:
            if self._stopping:
                raise Cancelled("The server is stopping.", hint="Try again in a minute.")
            self._running[thread] = cancellation
            thread.start()
        return known.result()

    def stop(self, drain: float) -> None:
        """Start no more rollbacks, and let running ones finish.

        Args:
            drain: Seconds for all of them, after which they are cancelled.
        """
        ends_at = time.monotonic() + drain
        with self._lock:
            self._stopping = True
            running = dict(self._running)
        for thread in running:
            thread.join(max(0.0, ends_at - time.monotonic()))
        for cancellation in running.values():
            cancellation.cancel()
        for thread in running:
            thread.join()
