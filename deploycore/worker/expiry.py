"""Warn before the credentials of a provider expire. Each warning is given once, by one of the
workers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from deploycore.credentials.expiry import describe_expiry, due_warning, replacing_command
from deploycore.provider.observers import Observers, installed_observers
from deploycore.store import Store
from deploycore.worker.periodic import Periodic

__all__ = ["ExpiryWatch", "tell_of_expiry"]

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 3600.0
_GOODBYE_SECONDS = 5.0


def tell_of_expiry(store: Store, observers: Observers, now: datetime) -> None:
    """Log each warning that is due and was not given yet, and call the observers.

    Raises:
        StoreError: The database cannot be used.
    """
    signed_in = store.provider_tokens.providers_with_one()
    for record in store.list_providers():
        expires_at = record.expires_at
        days = None if expires_at is None else due_warning(expires_at, now)
        if expires_at is None or days is None:
            continue
        if record.expiry_warned is not None and record.expiry_warned <= days:
            continue
        if store.take_expiry_warning(record.name, expires_at, days):
            logger.warning(
                "the credentials of provider %s %s. Next: %s",
                record.name,
                describe_expiry(expires_at, now),
                replacing_command(record.name, is_signed_in=record.name in signed_in),
            )
            observers.tell(
                "credential_expiring", provider=record.name, expires_at=expires_at, days=days
            )


class ExpiryWatch(Periodic):
    """Checks from time to time which credentials expire soon, and deletes previous secrets whose
    time is over. It runs in a separate thread, so an observer that hangs blocks nothing else.

    Args:
        observers: The observers to call (default: the installed ones).
        clock: Returns the time.
        look_seconds: Seconds between two checks.
    """

    def __init__(
        self,
        store: Store,
        *,
        observers: Observers | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        super().__init__(
            "expiry",
            seconds=look_seconds,
            goodbye_seconds=_GOODBYE_SECONDS,
            failure="the expiry of credentials cannot be checked",
            activity="checking the expiry of credentials",
        )
        self._store = store
        self._observers = observers
        self._clock = clock

    def _work(self) -> None:
        self._store.forget_former_secrets()
        observers = self._observers
        observers = installed_observers() if observers is None else observers
        tell_of_expiry(self._store, observers, self._clock())
