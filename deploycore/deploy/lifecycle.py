"""Send each event of a deployment to the observers, in their own threads, so that no observer can
stall the deployment.

Each observer has a queue and a thread of its own for each deployment. It gets the events in order,
and one that is slow or hangs delays neither the deployment nor any other observer.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Self

from deploycore.errors import DeploycoreError
from deploycore.provider.observers import Observers
from deploycore.store import DeploymentRecord

__all__ = ["CLOSING_SECONDS", "VETO_SECONDS", "Lifecycle"]

logger = logging.getLogger(__name__)

VETO_SECONDS = 10.0
"""How long all observers together have to object to a deployment."""

CLOSING_SECONDS = 10.0
"""How long all observers together have, once a deployment has ended, to handle its last events."""

_left_behind: dict[str, threading.Thread] = {}
"""Observers that were still busy when their time was up, with the thread that they occupy."""


class Lifecycle:
    """Sends the events of one deployment to observers; see ``ObserverSpec``."""

    def __init__(self, observers: Observers) -> None:
        self._observers = observers
        self._listening = [_Listening(each) for each in observers.one_by_one()]

    def started(self, record: DeploymentRecord) -> None:
        """The deployment has started."""
        self._tell("deploy_started", deployment=record)

    def changed(self, record: DeploymentRecord) -> None:
        """The deployment has entered another state."""
        self._tell("deploy_state_changed", deployment=record)

    def finished(self, record: DeploymentRecord, error: DeploycoreError | None) -> None:
        """The deployment has ended."""
        self._tell("deploy_finished", deployment=record, error=error)

    def veto(self, record: DeploymentRecord) -> str | None:
        """Ask all observers at once whether this commit may be deployed.

        An observer that raises, or takes longer than ``VETO_SECONDS``, is ignored.

        Returns:
            Why one of them objects; ``None`` if none does.
        """
        answers: queue.SimpleQueue[tuple[Observers, str | None]] = queue.SimpleQueue()

        def ask(observer: Observers) -> None:
            answers.put((observer, next(observer.ask("veto_deploy", deployment=record), None)))

        waiting = self._observers.one_by_one()  # not by name: two plugins may have the same one
        for observer in tuple(waiting):
            _start("deploycore-veto", partial(ask, observer))
        until = time.monotonic() + VETO_SECONDS
        try:
            while waiting:
                observer, reason = answers.get(timeout=max(0.0, until - time.monotonic()))
                if reason is not None:
                    return reason
                waiting.remove(observer)
        except queue.Empty:
            logger.warning(
                "deployment %s: no answer to veto_deploy within %g seconds from %s; the deployment"
                " continues",
                record.id,
                VETO_SECONDS,
                _named(each.names[0] for each in waiting),
            )
        return None

    def close(self) -> None:
        """Wait until all events are handled, for ``CLOSING_SECONDS`` at most.

        An observer that is still busy then is named in a warning, and gets no further events. While
        it stays busy, later deployments do not wait for it.
        """
        for each in self._listening:
            each.end()
        until = time.monotonic() + CLOSING_SECONDS
        dropped = [each.name for each in self._listening if not each.wait(until)]
        if dropped:
            logger.warning(
                "%s did not handle all events of a deployment within %g seconds of its end:"
                " the remaining events may be lost",
                _named(dropped),
                CLOSING_SECONDS,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _tell(self, hook: str, **arguments: object) -> None:
        for each in self._listening:
            each.tell(hook, **arguments)


class _Listening:
    """One observer during one deployment: its queue, and the thread that calls it."""

    def __init__(self, observer: Observers) -> None:
        self.name = observer.names[0]
        self._observer = observer
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = _start("deploycore-lifecycle", self._run)

    def tell(self, hook: str, **arguments: object) -> None:
        """Call a hook of the observer, later and in its thread."""
        self._calls.put(lambda: self._observer.tell(hook, **arguments))

    def end(self) -> None:
        """There will be no more events."""
        self._calls.put(None)

    def wait(self, until: float) -> bool:
        """Wait until all events are handled, or a time of the monotonic clock has come.

        Returns:
            Whether they are.
        """
        former = _left_behind.get(self.name)
        is_stuck = former is not None and former.is_alive()
        self._thread.join(0.0 if is_stuck else max(0.0, until - time.monotonic()))
        is_done = not self._thread.is_alive()
        if not is_done and not is_stuck:
            _left_behind[self.name] = self._thread
        return is_done

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


def _named(names: Iterable[str]) -> str:
    return ", ".join(f"observer {name}" for name in sorted(names))


def _start(name: str, target: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread
