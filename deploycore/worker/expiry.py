"""Tells before the credentials of a provider expire: each warning once, whichever worker does."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from deploycore.credentials.expiry import describe_expiry, due_warning
from deploycore.errors import StoreError
from deploycore.provider.observers import Observers, installed_observers
from deploycore.store import Store

__all__ = ["ExpiryWatch", "tell_of_expiry"]

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 3600.0
_GOODBYE_SECONDS = 5.0


def tell_of_expiry(store: Store, observers: Observers, now: datetime) -> None:
    """Log each warning that is due and was not given yet, and tell the observers.

    Raises:
        StoreError: The database cannot be used.
    """
    for record in store.list_providers():
        expires_at = record.expires_at
        days = None if expires_at is None else due_warning(expires_at, now)
        if expires_at is None or days is None:
            continue
        if record.expiry_warned is not None and record.expiry_warned <= days:
            continue
        if store.take_expiry_warning(record.name, expires_at, days):
            logger.warning(
                "the credentials of provider %s %s. Next: deploycore provider rotate %s",
                record.name,
                describe_expiry(expires_at, now),
                record.name,
            )
            observers.tell(
                "credential_expiring", provider=record.name, expires_at=expires_at, days=days
            )


class ExpiryWatch:
    """Looks now and then which credentials are about to expire. To be started, and stopped.

    Args:
        observers: Who is told (default: the installed ones).
        clock: Gives the time.
        look_seconds: How often.
    """

    def __init__(
        self,
        store: Store,
        *,
        observers: Observers | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        self._store = store
        self._observers = observers
        self._clock = clock
        self._look_seconds = look_seconds
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, in a thread, which an observer that hangs keeps from nothing else."""
        self._thread = threading.Thread(
            target=self._run, name="deploycore-worker-expiry", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End; an observer that is being told is waited for a moment."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(_GOODBYE_SECONDS)

    def _run(self) -> None:
        while True:
            try:
                observers = self._observers
                observers = installed_observers() if observers is None else observers
                tell_of_expiry(self._store, observers, self._clock())
            except StoreError as error:
                logger.warning("the expiry of credentials cannot be checked: %s", error)
            except Exception as error:
                logger.error(
                    "unexpected error while checking the expiry of credentials: %s",
                    type(error).__name__,
                )
            if self._stopped.wait(self._look_seconds):
                return
