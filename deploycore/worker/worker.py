"""The worker: it claims applications that have triggers, and deploys them in its threads.

The triggers are in the store. A worker queries the store when it starts, when its process adds a
trigger, when another machine sends a notification, when a retry is due, and regularly. So nothing
is lost if a notification is lost.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Self

from deploycore.errors import DeploycoreError, StoreError, with_next_step
from deploycore.installation import Installation
from deploycore.store import PendingApplication
from deploycore.worker.comparison import PreviewComparison
from deploycore.worker.events import WorkerEvent, WorkerListener, no_listener
from deploycore.worker.expiry import ExpiryWatch
from deploycore.worker.notifications import Notifications, open_notifications
from deploycore.worker.polling import Poller
from deploycore.worker.processing import Slot, process_application
from deploycore.worker.pruning import Pruner
from deploycore.worker.reporting import Reporter
from deploycore.worker.shares import Shares
from deploycore.worker.upkeep import Upkeep

__all__ = ["LEASE_SECONDS", "Worker"]

logger = logging.getLogger(__name__)

LEASE_SECONDS = 30.0
_BEATS = 6  # heartbeats in one lease
# share of the lease after which a worker that cannot renew its claims considers them lost
_SHARE_OF_LEASE = 0.8
_SWEEP_SECONDS = 2.0
_NOTIFIED_SWEEP_SECONDS = 15.0
_PAUSE_SECONDS = 1.0  # seconds after a failure of the store
_MORE_CANDIDATES = 8  # more than there are slots, because other workers claim too
_LEAST_WAIT = 0.02
_LOST_WAIT = 0.02


class Worker:
    """Deploys the applications of an installation that have triggers, in threads of this process.

    Use it as a context manager, or ``start`` and ``stop`` it.

    Args:
        threads: Maximum number of applications that it deploys at once.
        drain: Seconds that running deployments get when it stops.
        lease: Seconds without a heartbeat after which it is considered dead (default: 30). Use
            one value for all workers.
        sweep: Seconds between two checks of the queue when nothing wakes it (default: 2, or 15
            if workers notify each other).
        per_provider: Maximum number of applications of one provider, and of one git host, that it
            deploys at once (default: half of its threads, or all but one while nothing else is
            queued).
        listener: Called with each event, in several threads.

    Attributes:
        id: A random identifier, under which the store knows the worker.
    """

    def __init__(
        self,
        installation: Installation,
        *,
        threads: int = 2,
        drain: float = 60.0,
        lease: float | None = None,
        sweep: float | None = None,
        per_provider: int | None = None,
        listener: WorkerListener = no_listener,
    ) -> None:
        self.id = str(uuid.uuid4())
        self._installation = installation
        self._threads = threads
        self._shares = Shares(threads, per_provider, installation.store.list_providers)
        self._drain = drain
        self._lease = LEASE_SECONDS if lease is None else lease
        self._sweep = sweep
        self._listener = listener
        self._host, self._process = socket.gethostname(), os.getpid()
        # Protects all attributes below, and wakes threads that wait for a change of them.
        self._changed = threading.Condition()
        self._slots: dict[str, Slot] = {}
        self._woken = True
        self._lost = ""  # the application whose claim another worker got in the last round
        self._is_idle = False
        self._stopping = False
        self._ended = threading.Event()
        self._beaten = time.monotonic()
        self._running: list[threading.Thread] = []
        self._notifications: Notifications | None = None
        self._reporter = Reporter(installation)
        self._poller = Poller(installation)
        self._upkeep = Upkeep(installation)
        self._comparison = PreviewComparison(installation, self.id)
        self._pruner = Pruner(installation.store)
        self._expiry = ExpiryWatch(installation.store)
        self._cleanup = ExitStack()

    @property
    def threads(self) -> int:
        """The maximum number of applications that it deploys at once."""
        return self._threads

    @property
    def is_well(self) -> bool:
        """Whether it was started, was not stopped, and all its own threads are running."""
        return bool(self._running) and all(each.is_alive() for each in self._running)

    def start(self) -> None:
        """Recover the deployments of this machine's dead processes, then work until ``stop``.

        Raises:
            StoreError: The database cannot be used.
        """
        self._register()
        self._recover()
        self._reporter.start()
        self._cleanup.callback(self._reporter.close)
        triggers = self._installation.store.triggers
        self._cleanup.callback(triggers.subscribe(lambda application: self.wake()))
        self._notifications = open_notifications(self._installation)
        if self._notifications is not None:
            self._cleanup.callback(self._notifications.close)
            self._cleanup.callback(triggers.subscribe(self._notifications.send))
            self._notifications.listen(
                self.check_application, host=self._host, threads=self._threads
            )
        if self._sweep is None:
            self._sweep = _SWEEP_SECONDS if self._notifications is None else _NOTIFIED_SWEEP_SECONDS
        self._poller.start()
        self._cleanup.callback(self._poller.stop)
        self._upkeep.start()
        self._cleanup.callback(self._upkeep.stop)
        self._comparison.start()
        self._cleanup.callback(self._comparison.stop)
        self._pruner.start()
        self._cleanup.callback(self._pruner.stop)
        self._expiry.start()
        self._cleanup.callback(self._expiry.stop)
        for name, run in (
            ("dispatch", self._dispatch),
            ("beat", self._beat_on),
            ("guard", self._guard),
        ):
            thread = threading.Thread(target=run, name=f"deploycore-worker-{name}", daemon=True)
            self._running.append(thread)
            thread.start()

    def wake(self) -> None:
        """Query the store now. This is safe from any thread."""
        with self._changed:
            self._woken, self._is_idle = True, False
            self._changed.notify_all()

    def check_application(self, application: str) -> None:
        """Process one application in this thread, as soon as a slot is free.

        Does nothing if the application has no triggers, another worker has it, or the worker stops.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or len(self._slots) < self._threads)
        try:
            pending = self._installation.store.triggers.queue(self._host, application, limit=1)
            is_allowed = pending and not self._is_full_for(pending[0], alone=False)
            slot = self._taken(pending[0]) if is_allowed else None
            if pending and slot is None:
                # the trigger may be visible only a moment later, and no other notification follows
                self.wake()
        except StoreError as error:
            logger.warning("%s cannot be checked: %s", application, error)
            return
        if slot is not None:
            self._hold(application, slot)

    def wait_until_idle(self, timeout: float | None = None) -> bool:
        """Wait until no more triggers can be processed now. Retries that are due later do not
        count.

        Returns:
            Whether this was reached; ``False`` after ``timeout`` seconds, or if the worker stops.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_idle or self._stopping, timeout)
            return self._is_idle

    def stop(self, drain: float | None = None) -> None:
        """Claim no more applications, let running deployments finish, and release all claims.

        Deployments that take longer than the drain time are cancelled. Their triggers are left to
        another worker, or to the next start. You can call this twice.

        Args:
            drain: The drain time in seconds (default: that of the worker).
        """
        drain = self._drain if drain is None else drain
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._notifications is not None:
            self._notifications.end_listening()
        with self._changed:
            self._changed.wait_for(lambda: not self._slots, drain)
        self.interrupt()
        with self._changed:
            self._changed.wait_for(lambda: not self._slots)
        self._ended.set()
        for thread in self._running:
            thread.join()
        self._cleanup.close()
        try:
            self._installation.store.claims.retire(self.id)
        except StoreError as error:
            logger.warning("the worker's claims could not be released, and will expire: %s", error)

    def interrupt(self) -> None:
        """Cancel running deployments now, without waiting for the drain time."""
        with self._changed:
            self._stopping = True
            slots = list(self._slots.values())
        for slot in slots:
            slot.interrupt()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _register(self) -> None:
        claims = self._installation.store.claims
        claims.register(self.id, host=self._host, process=self._process)
        self._beaten = time.monotonic()

    def _recover(self) -> None:
        try:
            self._installation.recover(listener=self._reporter.listen)
        except StoreError:
            raise
        except DeploycoreError as error:
            # The database failed for some applications. Others must still be deployed.
            logger.warning("%s Next: %s", error, error.hint or "deploycore recover")

    def _dispatch(self) -> None:
        while not self._stopping:
            wait = _PAUSE_SECONDS
            try:
                wait = self._look()
            except StoreError as error:
                logger.warning("the worker cannot read the store: %s", with_next_step(error))
            except Exception as error:
                logger.error("unexpected error in the worker: %s", type(error).__name__)
            with self._changed:
                self._changed.wait_for(lambda: self._woken or self._stopping, wait)

    def _look(self) -> float:
        """Start as many applications as slots are free; return the seconds until the next query."""
        sweep = self._sweep or _SWEEP_SECONDS
        with self._changed:
            self._woken = False
            free = self._threads - len(self._slots)
        if not free:
            return sweep  # a slot that becomes free wakes it
        # Compute this before the list: a trigger that becomes due between the two would otherwise
        # be in neither, and wait for the next sweep.
        soon = self._installation.store.triggers.seconds_to_next()
        pending, alone = self._queue(free + _MORE_CANDIDATES)
        started = self._start_slots(pending, alone=alone)
        if started and started == len(pending):
            return _LEAST_WAIT  # there may be more triggers
        with self._changed:
            if pending and len(self._slots) < self._threads:
                return _LOST_WAIT  # other workers were faster, and there may be more triggers
            self._is_idle = not (self._slots or self._woken or started)
            self._changed.notify_all()
        return sweep if soon is None else max(_LEAST_WAIT, min(sweep, soon))

    def _queue(self, limit: int) -> tuple[Sequence[PendingApplication], bool]:
        """Return the applications that may start, and whether nothing else waits."""
        triggers, alone = self._installation.store.triggers, False
        while True:
            held = self._held()
            full = self._shares.full_providers(held, alone=alone)
            retries = not self._shares.is_full_of_retries(held, alone=alone)
            found = triggers.queue(self._host, limit=limit, without=full, retries=retries)
            if found or alone or (retries and not full):
                return found, alone
            alone = True

    def _held(self) -> list[PendingApplication]:
        with self._changed:
            return [slot.pending for slot in self._slots.values()]

    def _is_full_for(self, wanted: PendingApplication, *, alone: bool) -> bool:
        return self._shares.is_full_for(wanted, self._held(), alone=alone)

    def _start_slots(self, pending: Sequence[PendingApplication], *, alone: bool) -> int:
        """Start the first applications; return the number of started ones.

        If another worker already has one of them, the rest of the list is probably out of date too.
        Then the store is queried again, without that application.
        """
        lost, self._lost = self._lost, ""
        started = 0
        for each in pending:
            if each.application == lost or self._is_full_for(each, alone=alone):
                continue
            if not self._start_slot(each):
                with self._changed:
                    self._lost = each.application if len(self._slots) < self._threads else ""
                break
            started += 1
        return started

    def _start_slot(self, pending: PendingApplication) -> bool:
        slot = self._taken(pending)
        if slot is None:
            return False
        threading.Thread(
            target=self._hold,
            args=(pending.application, slot),
            name=f"deploycore-worker-{pending.application}",
            daemon=True,
        ).start()
        return True

    def _taken(self, pending: PendingApplication) -> Slot | None:
        """Return a slot with the application's claim; ``None`` if the claim cannot be taken."""
        application, slot = pending.application, Slot(pending)
        with self._changed:
            is_full = len(self._slots) >= self._threads
            if self._stopping or is_full or application in self._slots:
                return None
            self._slots[application], self._is_idle = slot, False
        claim = None
        before = time.monotonic()
        try:
            claim = self._installation.store.claims.take(application, self.id, lease=self._lease)
        finally:
            if claim is None:
                self._let_go(application, wake=False)
        if claim is None:
            return None
        slot.claimed = before
        if claim.taken_from:
            logger.warning(
                "%s now belongs to this worker; worker %s has stopped responding",
                application,
                claim.taken_from,
            )
        self._tell(
            WorkerEvent(
                "claimed", application, datetime.now(UTC), taken_from=claim.taken_from or None
            )
        )
        return slot

    def _hold(self, application: str, slot: Slot) -> None:
        try:
            process_application(
                self._installation, application, slot, self._tell, self._reporter.listen
            )
        except StoreError as error:
            logger.warning("%s will be checked again: %s", application, error)
            self._ended.wait(_PAUSE_SECONDS)
        except Exception as error:
            logger.error("unexpected error in %s: %s", application, type(error).__name__)
            self._ended.wait(_PAUSE_SECONDS)
        finally:
            slot.claimed = None  # so that a claim that was released is not considered lost
            try:
                self._installation.store.claims.release(application, self.id)
            except StoreError as error:
                logger.warning(
                    "the claim on %s could not be released, and will expire: %s", application, error
                )
            if self._stopping and self._notifications is not None:
                self._notifications.send(application)  # for the other workers
            self._let_go(application, wake=True)

    def _let_go(self, application: str, *, wake: bool) -> None:
        with self._changed:
            del self._slots[application]
            self._woken |= wake
            self._changed.notify_all()

    def _tell(self, event: WorkerEvent) -> None:
        try:
            self._listener(event)
        except Exception as error:
            # For example a closed terminal. A listener must not affect deployments.
            logger.warning("a listener failed: %s", type(error).__name__)

    def _beat_on(self) -> None:
        """Send heartbeats until the end: claims must also hold while deployments finish."""
        while not self._ended.wait(self._lease / _BEATS):
            try:
                self._beat()
            except StoreError as error:
                logger.warning("the worker's heartbeat could not be stored: %s", error)
            except Exception as error:
                logger.error("unexpected error in the worker: %s", type(error).__name__)

    def _beat(self) -> None:
        before = time.monotonic()
        with self._changed:
            held = list(self._slots)
            # A claim that is being stored now may be missing in what the heartbeat finds.
            stored = {application: slot.claimed for application, slot in self._slots.items()}
        kept = self._installation.store.claims.beat(
            self.id, host=self._host, process=self._process, lease=self._lease, held=held
        )
        self._beaten = before
        self._interrupt(
            lambda application, claimed: (
                stored.get(application) == claimed and application not in kept
            ),
            "another worker took it over",
        )

    def _guard(self) -> None:
        """Interrupt deployments whose claims may have expired.

        This thread does not use the database, since a connection may hang.
        """
        longest = self._lease * _SHARE_OF_LEASE

        def is_lost(application: str, claimed: float) -> bool:
            return time.monotonic() - max(claimed, self._beaten) > longest

        while not self._ended.wait(self._lease / 20):
            self._interrupt(is_lost, "the worker's heartbeat could not be stored for too long")

    def _interrupt(self, is_lost: Callable[[str, float], bool], why: str) -> None:
        with self._changed:
            lost = [
                (application, slot)
                for application, slot in self._slots.items()
                # Read once: the thread of the slot sets it to None when its claim is released.
                if (claimed := slot.claimed) is not None
                and not slot.interrupted
                and is_lost(application, claimed)
            ]
        for application, slot in lost:
            logger.warning("the claim on %s is lost: %s", application, why)
            slot.interrupt()
