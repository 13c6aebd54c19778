"""What the server knows of applications and their webhooks without asking the database each time.

A copy in memory, so that strangers who guess cost next to nothing. It is read again when it is
some seconds old. Before anybody is told that an application is unknown or a signature wrong, one
row of the database is looked at: hosts do not send again, and another process may have registered
the webhook, or replaced its secret, a moment ago.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import SecretStr

from deploycore.configuration import NAME_PATTERN
from deploycore.errors import DeploycoreError
from deploycore.installation import Installation
from deploycore.provider import Provider
from deploycore.store import ApplicationRecord, ProviderRecord, RepositoryRecord, WebhookRecord

__all__ = ["Directory", "Entry"]

logger = logging.getLogger(__name__)

_FRESH_SECONDS = 5.0
_OLD_SECONDS = 10.0
_NAME = re.compile(NAME_PATTERN)


@dataclass(frozen=True)
class Entry:
    """An application that has a webhook.

    Attributes:
        provider: The configured provider that it is deployed from.
        repository: What is known of its repository at the host, if anything is.
    """

    application: ApplicationRecord
    webhook: WebhookRecord
    provider: ProviderRecord
    repository: RepositoryRecord | None = None


@dataclass(frozen=True)
class _Opened:
    """A provider's handle, or why there is none, and what it was opened from."""

    record: ProviderRecord
    at: float
    handle: Provider | None
    error: DeploycoreError | None = None


@dataclass(frozen=True)
class _Secrets:
    stored: tuple[str, str | None]
    revealed: tuple[SecretStr, ...] = field(repr=False)


class Directory:
    """The applications that have webhooks, by name.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(
        self, installation: Installation, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._installation = installation
        self._clock = clock
        self._reading = threading.Lock()
        self._opening: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._entries: Mapping[str, Entry] = {}
        self._read_at = -float("inf")
        self._opened: dict[str, _Opened] = {}
        self._secrets: dict[str, _Secrets] = {}

    def is_known(self, name: str) -> bool:
        """Whether there was such an application when the database was last asked."""
        return name in self._entries

    def find(self, name: str) -> Entry | None:
        """The entry of an application; asks the database where what is known is old.

        Raises:
            StoreError: The database can't be used.
        """
        # While somebody reads it anew, what is known goes for a little longer.
        if not (self._reading.locked() and self._age() < _OLD_SECONDS):
            self._refresh(_FRESH_SECONDS)
        if name not in self._entries:
            self.look_again(name)
        return self._entries.get(name)

    def warm_up(self) -> None:
        """Do now what the first deliveries would wait for; what fails is told when it is needed."""
        try:
            self._refresh(_FRESH_SECONDS)
            needed = {each.provider.name: each.provider for each in self._entries.values()}
            # The others last: webhooks are registered while the server runs.
            others = {each.name: each for each in self._installation.store.list_providers()}
        except DeploycoreError as error:
            logger.warning("webhooks can't be judged for now: %s", error)
            return
        for entry in self._entries.values():
            with suppress(DeploycoreError):
                self.secrets(entry)
        for record in (needed | others).values():
            with suppress(DeploycoreError):
                self._handle(record)

    def look_again(self, name: str) -> None:
        """Read anew, if the webhook of an application is not as it is known.

        Raises:
            StoreError: The database can't be used.
        """
        if _NAME.fullmatch(name) is None:
            return
        stored, known = self._installation.store.webhooks.find(name), self._entries.get(name)
        if _proof(stored) != _proof(known.webhook if known else None):
            self.read_anew()

    def read_anew(self) -> None:
        """Read anew, however old it is.

        Raises:
            StoreError: The database can't be used.
        """
        self._refresh(0)

    def invalidate(self) -> None:
        """Forget how old it is: something was changed here."""
        self._read_at = -float("inf")

    def secrets(self, entry: Entry) -> tuple[SecretStr, ...]:
        """The secrets of a webhook that hold now.

        Raises:
            StoreError: The key can't be used.
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
        """Whether the provider of an application, if it is known, need not be opened; quick."""
        entry = self._entries.get(name)
        if entry is None:
            return True
        opened = self._opened.get(entry.provider.name)
        return opened is not None and self._still_holds(opened, entry.provider)

    def provider(self, entry: Entry) -> Provider:
        """The handle of an entry's provider, opened once; that it can't be is kept for a while.

        Raises:
            DeploycoreError: It can't be opened.
        """
        return self._handle(entry.provider)

    def close(self) -> None:
        """Close the providers, when no delivery is judged any longer."""
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

    def _age(self) -> float:
        return self._clock() - self._read_at

    def _refresh(self, seconds: float) -> None:
        came_at = self._clock()
        if self._age() < seconds:
            return
        with self._reading:
            if self._read_at > came_at or self._age() < seconds:
                return  # another thread has just read it
            at = self._clock()
            store = self._installation.store
            webhooks = store.webhooks.list()
            applications = {each.name: each for each in store.list_applications()}
            providers = {each.name: each for each in store.list_providers()}
            known = {each.application: each for each in store.repositories.list()}
            self._entries = {
                each.application: Entry(
                    applications[each.application],
                    each,
                    provider,
                    _valid(known.get(each.application), applications[each.application]),
                )
                for each in webhooks
                if each.application in applications
                and (provider := providers.get(applications[each.application].definition.provider))
            }
            for gone in self._secrets.keys() - self._entries.keys():
                self._secrets.pop(gone, None)
            self._read_at = at

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
    """What is known of a repository, if it is the one that the application deploys now."""
    return known if known is not None and known.is_of(application.definition) else None


def _proof(webhook: WebhookRecord | None) -> tuple[str, str | None, datetime | None] | None:
    """What decides which signatures are right."""
    return (webhook.secret, webhook.former, webhook.former_until) if webhook else None
