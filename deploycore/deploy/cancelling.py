"""Notice that another process asked a deployment to stop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

from deploycore.errors import StoreError
from deploycore.git import Cancellation
from deploycore.store import Store

__all__ = ["watch_for_cancellation"]

_SECONDS_BETWEEN_CHECKS = 0.5


@contextmanager
def watch_for_cancellation(
    store: Store, deployment: int, cancellation: Cancellation
) -> Iterator[None]:
    """Check every half second whether another process asked the deployment to stop."""
    done = Event()

    def check() -> None:
        while not done.wait(_SECONDS_BETWEEN_CHECKS):
            with suppress(StoreError):
                if store.deployments.is_cancelled(deployment):
                    cancellation.cancel()
                    return

    thread = Thread(target=check, name="deploycore-cancellation", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
