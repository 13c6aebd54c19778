"""A cache of applications and their webhooks, so that most deliveries need no database query.

Requests with guessed names cost almost nothing. An entry is read again when it is needed and is a
few seconds old, which costs the same for any number of applications. Before the server answers that
an application is unknown or a signature is wrong, it reads one row of the database: hosts do not
send a delivery again, and another process may have just registered the webhook or replaced its
secret.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import SecretStr

from deploycore.configuration import NAME_PATTERN
from deploycore.errors import DeploycoreError, with_next_step
from deploycore.installation import Installation
from deploycore.provider import Provider
from deploycore.store import ApplicationRecord, ProviderRecord, RepositoryRecord, WebhookRecord

__all__ = ["Directory", "Entry"]

logger = logging.getLogger(__name__)

_FRESH_SECONDS = 5.0
_NAME = re.compile(NAME_PATTERN)


@dataclass(frozen=True)
class Entry:
    """An application that has a webhook.

    Attributes:
        provider: The configured provider of the application.
        repository: The record of its repository at the host, if there is one.
    """

    application: ApplicationRecord
    webhook: WebhookRecord
    provider: ProviderRecord
    repository: RepositoryRecord | None = None


@dataclass(frozen=True)
class _Opened:
    """An open provider, or the error why it could not be opened, and the record that it was opened
    from."""

    record: ProviderRecord
    at: float
    handle: Provider | None
    error: DeploycoreError | None = None


@dataclass(frozen=True)
class _Known:
    """An entry, the time at which it was read, and the number of this process's changes at that
    time."""

    entry: Entry
    at: float
    changes: int


@dataclass(frozen=True)
class _Secrets:
    stored: tuple[str, str | None]
    revealed: tuple[SecretStr, ...] = field(repr=False)


class Directory:
    """The applications that have webhooks, by name.

    Args:
        clock: Returns the seconds of a monotonic clock.
    """

    def __init__(
        self, installation: Installation, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._installation = installation
        self._clock = clock
        self._opening: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._known: dict[str, _Known] = {}
        self._changes = 0
        self._opened: dict[str, _Opened] = {}
        self._secrets: dict[str, _Secrets] = {}

    def is_known(self, name: str) -> bool:
        """Whether the application existed when the database was last read."""
        return name in self._known

    def find(self, name: str) -> Entry | None:
        """Return the entry of an application. An old entry is read again.

        Raises:
            StoreError: The database cannot be used.
        """
        known = self._known.get(name)
        if known is None or known.changes != self._changes or self._age(known) >= _FRESH_SECONDS:
            return self.read_anew(name)
        return known.entry

    def warm_up(self) -> None:
        """Open plugins before the first delivery needs them. Errors are raised only when a delivery
        needs the plugin."""
        try:
            self._read_all()
            needed = {each.entry.provider.name: each.entry.provider for each in self._all()}
            # The applications without a webhook are last: a webhook may be registered while the
            # server runs.
            others = {each.name: each for each in self._installation.store.list_providers()}
        except DeploycoreError as error:
            logger.warning(
                "webhook deliveries cannot be checked for now: %s", with_next_step(error)
            )
            return
        for known in self._all():
            with suppress(DeploycoreError):
                self.secrets(known.entry)
        for record in (needed | others).values():
            with suppress(DeploycoreError):
                self._handle(record)

    def look_again(self, name: str) -> None:
        """Read an application again, if its webhook in the database differs from the entry.

        Raises:
            StoreError: The database cannot be used.
        """
        if _NAME.fullmatch(name) is None:
            return
        stored, known = self._installation.store.webhooks.find(name), self._known.get(name)
        if _proof(stored) != _proof(known.entry.webhook if known else None):
            self.read_anew(name)

    def read_anew(self, name: str) -> Entry | None:
        """Read an application again, even if its entry is new.

        Raises:
            StoreError: The database cannot be used.
        """
        if _NAME.fullmatch(name) is None:
            return None
        at, changes = self._clock(), self._changes
        found = self._installation.store.find_webhook(name)
        if found is None:
            self._known.pop(name, None)
            self._secrets.pop(name, None)
            return None
        entry = Entry(*found)
        self._known[name] = _Known(entry, at, changes)
        return entry

    def invalidate(self) -> None:
        """Treat all entries as old, because something was changed in this process."""
        self._changes += 1

    def secrets(self, entry: Entry) -> tuple[SecretStr, ...]:
        """Return the secrets of a webhook that are valid now.

        Raises:
            StoreError: The key cannot be used.
        """
        now, webhook = datetime.now(UTC), entry.webhook
        held = webhook.former_until is None or now < webhook.former_until
        stored = (webhook.secret, webhook.former if held else None)
        known = self._secrets.get(webhook.application)
        if known is None or known.stored != stored:
            known = _Secrets(stored, self._installation.webhooks.secrets(webhook, at=now))
            self._secrets[webhook.application] = known
        return known.revealed

    def is_open(self, name: str) -> bool:
        """Whether a delivery for an application does not have to wait until its provider is opened.
        This is fast."""
        known = self._known.get(name)
        if known is None:
            return True
        entry = known.entry
        opened = self._opened.get(entry.provider.name)
        return opened is not None and self._still_holds(opened, entry.provider)

    def provider(self, entry: Entry) -> Provider:
        """Return the provider of an entry. It is opened once; an error is kept for a while.

        Raises:
            DeploycoreError: It cannot be opened.
        """
        return self._handle(entry.provider)

    def close(self) -> None:
        """Close the providers, after the last delivery."""
        while self._opened:
            self._close(self._opened.popitem()[1])

    def _handle(self, record: ProviderRecord) -> Provider:
        name = record.name
        known = self._opened.get(name)
        if known is None or not self._still_holds(known, record):
            with self._opening[name]:
                known = self._opened.get(name)
                if known is None or not self._still_holds(known, record):
                    self._close(known)
                    known = self._opened[name] = self._open(record)
        if known.handle is None:
            raise known.error or AssertionError
        return known.handle

    def _age(self, known: _Known) -> float:
        return self._clock() - known.at

    def _all(self) -> tuple[_Known, ...]:
        return tuple(self._known.values())

    def _read_all(self) -> None:
        at, changes, store = self._clock(), self._changes, self._installation.store
        webhooks = store.webhooks.list()
        applications = store.find_applications({each.application for each in webhooks})
        providers = {each.name: each for each in store.list_providers()}
        repositories = {each.application: each for each in store.repositories.list()}
        for webhook in webhooks:
            name, application = webhook.application, applications.get(webhook.application)
            if application is not None and application.definition.provider in providers:
                repository = _valid(repositories.get(name), application)
                provider = providers[application.definition.provider]
                entry = Entry(application, webhook, provider, repository)
                self._known.setdefault(name, _Known(entry, at, changes))

    def _still_holds(self, opened: _Opened, record: ProviderRecord) -> bool:
        if opened.record != record:
            return False
        return opened.error is None or self._clock() - opened.at < _FRESH_SECONDS

    def _open(self, record: ProviderRecord) -> _Opened:
        try:
            handle = self._installation.open_provider(record.name)
        except DeploycoreError as error:
            return _Opened(record, self._clock(), None, error)
        return _Opened(record, self._clock(), handle)

    def _close(self, opened: _Opened | None) -> None:
        if opened is not None and opened.handle is not None:
            opened.handle.close()


def _valid(
    known: RepositoryRecord | None, application: ApplicationRecord
) -> RepositoryRecord | None:
    """Return the record of a repository, if the application still deploys that repository."""
    return known if known is not None and known.is_of(application.definition) else None


def _proof(webhook: WebhookRecord | None) -> tuple[str, str | None, datetime | None] | None:
    """Return the values that decide which signatures are valid."""
    return (webhook.secret, webhook.former, webhook.former_until) if webhook else None
