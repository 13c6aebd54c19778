"""Record the results of webhook deliveries, without delaying the requests that brought them.

A request only appends to a list in memory. About once a second, a thread writes this list in one
transaction. So many deliveries cost no more writes than a few: for each application, the last ones
are written one by one, and all others are only counted.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Self

from deploycore.errors import StoreError, with_next_step
from deploycore.server.verdicts import Verdict
from deploycore.store import DeliveryOutcome, DeliveryRecord, Store
from deploycore.store.deliveries import DELIVERIES_MOST
from deploycore.text.printable import printable

__all__ = ["Recorder"]

logger = logging.getLogger(__name__)

_SECONDS = 1.0
_PATIENCE_SECONDS = 2.0
_GOODBYE_SECONDS = 5.0
_APPLICATIONS_MOST = 1000
_COUNTS_MOST = 1000
_ROWS_AT_ONCE = 500
_COUNTS_AT_ONCE = 100
_LENGTH = 300
_TOO_MANY = "too_many"


@dataclass(frozen=True)
class _Judged:
    verdict: Verdict
    sender: str
    at: datetime


@dataclass
class _Counted:
    verdict: Verdict
    sender: str
    first_at: datetime
    at: datetime
    count: int = 1


_ByApplication = dict[str, deque[_Judged]]
_ByReason = dict[tuple[str, DeliveryOutcome, str], _Counted]


class Recorder:
    """Collects deliveries, and writes them to the store. Use it as a context manager.

    Args:
        now: Returns the current time.
    """

    def __init__(
        self, store: Store, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._store = store
        self._now = now
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._judged: _ByApplication = {}
        self._counted: _ByReason = {}
        self._is_failing = False
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def note(self, application: str, verdict: Verdict, sender: str) -> None:
        """Record a delivery. This is fast, and safe from any thread.

        Args:
            application: An application that exists.
            sender: The network address of the sender.
        """
        at = self._now()
        with self._lock:
            if verdict.outcome == "refused":
                self._count(application, "refused", verdict.reason, _Judged(verdict, sender, at))
                return
            judged = self._judged.get(application)
            if judged is None and len(self._judged) < _APPLICATIONS_MOST:
                judged = self._judged[application] = deque()
            if judged is not None:
                judged.append(_Judged(verdict, sender, at))
                if len(judged) <= DELIVERIES_MOST:
                    return
                oldest = judged.popleft()
            else:
                oldest = _Judged(verdict, sender, at)
            self._count(application, "dropped", _TOO_MANY, oldest)

    def flush(self) -> None:
        """Write the collected deliveries. If the database cannot be written, they are kept for the
        next time.

        Very many deliveries are written in several transactions, so that none of these blocks other
        writers for long.
        """
        with self._writing:
            with self._lock:
                judged, counted = self._taken()
            if not (judged or counted):
                return
            try:
                records = (*_records_of(judged), *_records_of_counted(counted))
                self._store.deliveries.add(records, patience=_PATIENCE_SECONDS)
            except StoreError as error:
                self._keep(judged, counted)
                if not self._is_failing:
                    logger.warning(
                        "webhook deliveries cannot be recorded: %s", with_next_step(error)
                    )
                self._is_failing = True
            else:
                self._is_failing = False

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(
            target=self._run, name="deploycore-server-recorder", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, which writes the last deliveries first."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(_GOODBYE_SECONDS)

    def _taken(self) -> tuple[_ByApplication, _ByReason]:
        """Take the deliveries to write next; the caller holds the lock."""
        judged: _ByApplication = {}
        rows = 0
        for name, deliveries in self._judged.items():
            if rows >= _ROWS_AT_ONCE:
                break
            judged[name] = deliveries
            rows += len(deliveries)
        counted = dict(list(self._counted.items())[:_COUNTS_AT_ONCE])
        for name in judged:
            del self._judged[name]
        for key in counted:
            del self._counted[key]
        return judged, counted

    def _count(
        self, application: str, outcome: DeliveryOutcome, reason: str, judged: _Judged
    ) -> None:
        key = application, outcome, reason
        counted = self._counted.get(key)
        if counted is not None:
            counted.count += 1
            counted.verdict, counted.sender, counted.at = judged.verdict, judged.sender, judged.at
        elif len(self._counted) < _COUNTS_MOST:
            self._counted[key] = _Counted(judged.verdict, judged.sender, judged.at, judged.at)

    def _keep(self, judged: _ByApplication, counted: _ByReason) -> None:
        """Put back deliveries that could not be written, before those that have arrived since."""
        with self._lock:
            for key, former in counted.items():
                newer = self._counted.get(key)
                if newer is None:
                    self._counted[key] = former
                else:
                    newer.count += former.count
                    newer.first_at = former.first_at
            for name, former_ones in judged.items():
                former_ones.extend(self._judged.get(name, ()))
                while len(former_ones) > DELIVERIES_MOST:
                    self._count(name, "dropped", _TOO_MANY, former_ones.popleft())
                self._judged[name] = former_ones

    def _run(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._stopped.wait(_SECONDS)
            try:
                self.flush()
            except Exception as error:
                logger.error("recording webhook deliveries failed: %s", type(error).__name__)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


def _records_of(judged: _ByApplication) -> Iterator[DeliveryRecord]:
    for application, deliveries in judged.items():
        for each in deliveries:
            yield _record(application, each.verdict.outcome, each.verdict.reason, each)


def _records_of_counted(counted: _ByReason) -> Iterator[DeliveryRecord]:
    for (application, outcome, reason), each in counted.items():
        record = _record(application, outcome, reason, _Judged(each.verdict, each.sender, each.at))
        message = "" if outcome == "dropped" else record.message
        yield replace(record, count=each.count, first_at=each.first_at, message=message)


def _record(
    application: str, outcome: DeliveryOutcome, reason: str, judged: _Judged
) -> DeliveryRecord:
    """Return the record of a delivery. Its texts are made printable and short, because a person
    reads them."""
    verdict, subject = judged.verdict, judged.verdict.subject
    return DeliveryRecord(
        application=application,
        outcome=outcome,
        reason=reason,
        message=_short(verdict.message),
        event=subject.event,
        ref=_short(subject.ref),
        commit=_short(subject.commit) if subject.commit else None,
        actor=_short(subject.actor),
        sender=_short(judged.sender),
        delivery=_short(subject.delivery),
        trigger=verdict.trigger,
        received_at=judged.at,
        first_at=judged.at,
    )


def _short(text: str) -> str:
    return printable(text[:_LENGTH])[:_LENGTH]
