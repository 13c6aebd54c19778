"""Check webhook deliveries: reject, ignore, or store each as one row.

Nothing of a delivery is parsed before its signature was verified. A delivery is only a hint: the
deployment asks the host which commit to deploy when it starts.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from deploycore.errors import DeploycoreError, StoreError, UnexpectedAnswer, with_next_step
from deploycore.events import (
    Delivered,
    PullRequestEvent,
    PushEvent,
    RefChange,
    WebhookDelivery,
    WebhookEvent,
)
from deploycore.installation import Installation
from deploycore.server.identity import Identity
from deploycore.server.known_webhooks import Directory, Entry
from deploycore.server.quiet import QuietLogger
from deploycore.server.reception import Missed
from deploycore.server.storage_locks import StorageLocks
from deploycore.server.verdicts import (
    ANOTHER_REPOSITORY,
    BAD_SIGNATURE,
    MALFORMED,
    PULL_REQUEST,
    STALE,
    UNAVAILABLE,
    UNKNOWN_APPLICATION,
    Subject,
    Verdict,
)
from deploycore.worker.previews import handle

__all__ = ["UNAVAILABLE", "UNKNOWN_APPLICATION", "Acceptor", "Verdict"]

logger = logging.getLogger(__name__)

_CAUSE = "push"
_PREFIXES = {"branch": "refs/heads/", "tag": "refs/tags/"}
_DELIVERY_LENGTH = 200
_NOTED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True)
class _Source:
    """Facts about a delivery besides its events: the host's identifier, the body's digest, and the
    time since which it has waited, by the monotonic clock."""

    delivery: str
    digest: str
    came_at: float


class Acceptor:
    """Checks deliveries. Call it in threads, because it waits for the database.

    Args:
        replay_window: The maximum difference between a delivery's own time and now.
        now: Returns the current time.
    """

    def __init__(
        self,
        installation: Installation,
        directory: Directory,
        *,
        replay_window: timedelta,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._installation = installation
        self._directory = directory
        self._replay_window = replay_window
        self._now = now
        self._locks = StorageLocks(installation.store)
        self._noted: dict[str, datetime] = {}
        self._quiet = QuietLogger(logger)
        self._identity = Identity(installation)
        self._missed = Missed()

    def accept(
        self, name: str, delivery: WebhookDelivery, *, came_at: float | None = None
    ) -> Verdict:
        """Check a delivery for an application. If it is accepted, its trigger is on the disk.

        Args:
            came_at: When it started to wait, by ``time.monotonic()`` (default: now).
        """
        try:
            return self._judged(name, delivery, time.monotonic() if came_at is None else came_at)
        except UnexpectedAnswer as error:
            said = error.message, error.hint
            self._quiet.warn(name, "a webhook delivery for %s was rejected: %s %s", name, *said)
            return replace(MALFORMED, message=error.message, hint=error.hint)
        except DeploycoreError as error:
            # The error may be deploycore's or the plugin's, so the host may send the delivery
            # again.
            self._quiet.warn(
                name,
                "a webhook delivery for %s could not be checked: %s",
                name,
                with_next_step(error),
            )
            self.miss(name)
            return UNAVAILABLE

    def miss(self, name: str) -> None:
        """Record that a delivery was rejected. The host may never send it again."""
        if self._directory.is_known(name):
            self._missed.add(name)

    def take_missed(self) -> set[str]:
        """Return the applications whose deliveries were rejected since the last call."""
        return self._missed.take()

    def _judged(self, name: str, delivery: WebhookDelivery, came_at: float) -> Verdict:
        if self._installation.store.is_exhausted:
            raise StoreError(
                "All connections to the database are in use.",
                hint="Send the delivery again in a minute. If it happens again, find what keeps"
                " transactions of the database waiting.",
            )
        entry = self._directory.find(name)
        if entry is None:
            return UNKNOWN_APPLICATION
        if not self._is_signed(entry, delivery):
            # The secret or the provider may be newer than the entry that was used.
            self._directory.look_again(name)
            again = self._directory.find(name)
            if again is None or again == entry or not self._is_signed(again, delivery):
                return BAD_SIGNATURE
            entry = again
        delivered = self._directory.provider(entry).parse_webhook(delivery)
        if self._is_stale(delivered):
            return STALE
        digest = hashlib.sha256(delivery.body).hexdigest()
        source = _Source(delivered.delivery, digest, came_at)
        verdict = self._verdict(entry, delivered, source)
        if verdict.outcome == "ignored":
            # The host does not send the delivery again, and the application may have changed since
            # its entry was read.
            again = self._directory.read_anew(name)
            if again is not None and again != entry:
                verdict = self._verdict(again, delivered, source)
        return verdict

    def _verdict(self, entry: Entry, delivered: Delivered, source: _Source) -> Verdict:
        """Return the verdict for a delivery with several events: the best one of their verdicts."""
        order = ("accepted", "known", "ignored")
        best, told = _ignored("no_event"), None
        for event in delivered.events:
            found = self._taken(entry, event, source)
            if told is None or order.index(found.outcome) < order.index(best.outcome):
                best, told = found, event
        ref = entry.application.definition.ref
        return replace(best, subject=_subject_of(told, ref, delivered.delivery))

    def _is_signed(self, entry: Entry, delivery: WebhookDelivery) -> bool:
        provider = self._directory.provider(entry)
        return provider.verify_webhook(delivery, self._directory.secrets(entry))

    def _is_stale(self, delivered: Delivered) -> bool:
        sent_at = delivered.sent_at
        return sent_at is not None and abs(self._now() - sent_at) > self._replay_window

    def _taken(self, entry: Entry, event: WebhookEvent, source: _Source) -> Verdict:
        definition = entry.application.definition
        if not self._identity.is_meant(entry, event):
            return ANOTHER_REPOSITORY
        if isinstance(event, PullRequestEvent):
            with self._locks.take(entry.application.name, source.came_at):
                return self._pull_request(entry, event, source.digest)
        if definition.auto_deploy is None or not definition.auto_deploy.push:
            return _ignored("auto_deploy_is_off")
        change = _change_of(event, definition.ref)
        is_unresolved = any(definition.ref in _names_of(each) for each in event.unresolved)
        if change is None and not (event.truncated or is_unresolved):
            return _ignored("another_ref")
        if change is not None and change.after is None:
            return _ignored("deleted")
        return self._kept(entry, event, change, source)

    def _kept(
        self, entry: Entry, event: PushEvent, change: RefChange | None, source: _Source
    ) -> Verdict:
        name, ref = entry.application.name, entry.application.definition.ref
        triggers = self._installation.store.triggers

        def add(told: str) -> int | None:
            record = triggers.add(
                name,
                cause=_CAUSE,
                ref=ref,
                commit=change.after if change else None,
                actor=event.actor,
                delivery=_bounded(source.delivery),
                digest=told,
            )
            return record.id if record else None

        with self._locks.take(name, source.came_at):
            trigger = add(source.digest)
            if trigger is None and change is not None:
                # A known body is a replay, unless the ref has since been moved back to where this
                # push began: if two pushes move a ref to and fro, the same delivery can occur
                # twice.
                newest = triggers.newest(name, ref)
                if newest is not None and _may_begin_at(newest.commit, change):
                    trigger = add(
                        hashlib.sha256(f"{source.digest} {newest.id}".encode()).hexdigest()
                    )
        return _known(name) if trigger is None else Verdict(202, "accepted", trigger=trigger)

    def _pull_request(self, entry: Entry, event: PullRequestEvent, digest: str) -> Verdict:
        name, triggers = entry.application.name, self._installation.store.triggers
        # One delivery may have several events.
        told = hashlib.sha256(f"{digest} {event.number}".encode()).hexdigest()
        if triggers.is_known(name, told):
            return _known(name)
        if handle(self._installation, entry.application, event) == "ignored":
            return _ignored("no_previews")
        # Store this after the work: a delivery that fails is sent again, and must not be known
        # then.
        triggers.add(name, cause="pull_request", digest=told, settled=True)
        return Verdict(202, "accepted", PULL_REQUEST)

    def is_to_be_noted(self, name: str) -> bool:
        """Whether a delivery for an application should be recorded: once a minute.

        It is fast, and only for the event loop's thread.
        """
        now, noted = self._now(), self._noted.get(name)
        # the clock may have been set back
        if noted is not None and abs(now - noted) < _NOTED_EVERY:
            return False
        self._noted[name] = now
        return True

    def note_delivery(self, name: str) -> None:
        """Record that the host's webhook works, after the response was sent. A failure is only
        logged."""
        try:
            with self._locks.take(name, time.monotonic()):
                self._installation.store.webhooks.note_delivery(name)
        except StoreError as error:
            logger.warning("the time of a delivery for %s could not be recorded: %s", name, error)


def _ignored(reason: str) -> Verdict:
    return Verdict(202, "ignored", reason)


def _known(name: str) -> Verdict:
    return Verdict(
        200,
        "known",
        message="A delivery with this identifier or this body was accepted before. To deploy again,"
        f" run: deploycore deploy {name}",
    )


def _subject_of(event: WebhookEvent | None, ref: str, delivery: str) -> Subject:
    """Return the subject of a delivery: an event, and for a push with several changes the change of
    the ref."""
    if isinstance(event, PullRequestEvent):
        return Subject(PULL_REQUEST, event.source_branch, event.commit, event.actor, delivery)
    if event is None:
        return Subject(delivery=delivery)
    change = _change_of(event, ref) or next(iter(event.changes), None)
    if change is None:
        return Subject(_CAUSE, "", None, event.actor, delivery)
    return Subject(_CAUSE, change.name, change.after, event.actor, delivery)


def _names_of(full: str) -> tuple[str, str]:
    """Return the names that an application can use for a ref: the full name and the short name."""
    kind = next((prefix for prefix in _PREFIXES.values() if full.startswith(prefix)), "")
    return full, full.removeprefix(kind)


def _change_of(event: PushEvent, ref: str) -> RefChange | None:
    """Return the change of a ref. If a branch and a tag have the name, return the change of the one
    that exists."""
    found = [
        change
        for change in event.changes
        if ref in (change.name, f"{_PREFIXES[change.kind]}{change.name}")
    ]
    return max(found, key=lambda change: change.after is not None, default=None)


def _may_begin_at(commit: str | None, change: RefChange) -> bool:
    """Whether a push may begin at the commit that a ref had according to its last trigger."""
    if change.before is None:  # the ref was created again; its deletion was not stored
        return commit != change.after
    return commit == change.before


def _bounded(delivery: str) -> str | None:
    if len(delivery) <= _DELIVERY_LENGTH:
        return delivery or None
    return hashlib.sha256(delivery.encode("utf-8", "replace")).hexdigest()
