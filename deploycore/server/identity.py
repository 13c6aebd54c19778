"""Decide whether a delivery is about the repository that an application deploys.

The host's identifier decides if it is known, and otherwise the name. Only signed deliveries are
compared. A new name is recorded, but used only after a deployment has asked the host for it.
"""

from __future__ import annotations

import logging
import threading
import time

from deploycore.deploy import is_same_name
from deploycore.events import WebhookEvent
from deploycore.installation import Installation
from deploycore.server.known_webhooks import Entry
from deploycore.server.quiet import QuietLogger
from deploycore.worker import request_checks

__all__ = ["Identity"]

logger = logging.getLogger(__name__)

_CHECKED_EVERY = 60.0
_NAME_LENGTH = 1000


class Identity:
    """Compares deliveries with the known repositories of applications."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._quiet = QuietLogger(logger)
        self._lock = threading.Lock()
        self._checked: dict[str, float] = {}

    def is_meant(self, entry: Entry, event: WebhookEvent) -> bool:
        """Whether an event is about the repository that an application deploys.

        Raises:
            StoreError: The result cannot be recorded.
        """
        if not _can_be_stored(event):
            return False
        definition, known = entry.application.definition, entry.repository
        is_same = is_same_name(event.repository, definition.repository_id)
        ours, theirs = known.host_id if known else None, event.repository_host_id
        if ours is None or theirs is None:
            if not is_same:
                self._check(entry, event)
            return is_same
        if ours != theirs:
            if is_same:
                self._note_other(entry, theirs)
            return False
        if not is_same:
            self._note_new_name(entry, event)
        return True

    def _note_new_name(self, entry: Entry, event: WebhookEvent) -> None:
        name = str(event.repository)
        if entry.repository is not None and entry.repository.told_name != name:
            definition = entry.application.definition
            self._installation.store.repositories.note_told_name(definition, name)
            request_checks(self._installation, [definition.name])

    def _note_other(self, entry: Entry, host_id: str) -> None:
        definition = entry.application.definition
        self._quiet.warn(
            definition.name,
            "%s: a delivery was ignored, because another repository is named %s now",
            definition.name,
            definition.repository,
        )
        if entry.repository is not None and entry.repository.other_host_id != host_id:
            self._installation.store.repositories.note_other(definition, host_id)

    def _check(self, entry: Entry, event: WebhookEvent) -> None:
        """Request that a worker asks the host, at most once a minute: the repository may be the
        application's under another name."""
        definition, now = entry.application.definition, time.monotonic()
        with self._lock:
            checked = self._checked.get(definition.name)
            if checked is not None and now - checked < _CHECKED_EVERY:
                return
            self._checked[definition.name] = now
        name = str(event.repository)
        self._quiet.warn(
            definition.name, "%s: a delivery about %s was ignored", definition.name, name
        )
        self._installation.store.repositories.note_ignored(definition, name)
        request_checks(self._installation, [definition.name])


def _can_be_stored(event: WebhookEvent) -> bool:
    """Whether both databases can store a name, and logs show it unchanged."""
    name = str(event.repository)
    return name.isprintable() and len(name) <= _NAME_LENGTH
