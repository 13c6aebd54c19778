"""Poll git hosts for new commits where no webhook reports them.

A new commit becomes a trigger, as with a webhook. So a push that is noticed in both ways is
deployed once. A poll asks the git server for one ref and does not use the host's API: it is one
small request, works for tags too, and hosts limit it less. Applications with the same ref of the
same repository share the response.
"""

from __future__ import annotations

import logging
import random
import socket
import threading
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from deploycore.applications.application import Application, AutoDeploy, parse_application
from deploycore.deploy import InterruptibleProvider, confirm_repository, fetch_hint
from deploycore.deploy.activation import typed_error
from deploycore.errors import (
    Cancelled,
    ConfigurationError,
    DeploycoreError,
    GitError,
    ProviderError,
    RemoteRefused,
    StoreError,
    with_next_step,
)
from deploycore.git import Cancellation, resolve
from deploycore.installation import Installation
from deploycore.provider import Provider
from deploycore.store import PollRecord
from deploycore.store.polls import Polled, Wait
from deploycore.worker.catch_up import request_checks
from deploycore.worker.retries import seconds_until_allowed

__all__ = ["Poller", "interval_after", "is_polled"]

logger = logging.getLogger(__name__)

FIRST_SECONDS = 60.0
MOST_SECONDS = 900.0
LONGEST_PAUSE = 3600.0
WEBHOOK_IS_WELL = timedelta(hours=6)
_CLOCKS_DIFFER = timedelta(minutes=1)
_GROWTH = 1.5
_JITTER = 0.1
_LEASE_SECONDS = 300.0
_CALL_SECONDS = 30.0
_LOOK_SECONDS = 5.0
_GOODBYE_SECONDS = 10.0
_CAUSE = "poll"


@dataclass(frozen=True)
class _Asked:
    """An application that is polled.

    Attributes:
        has_webhook: Whether its webhook delivers, or has delivered.
    """

    definition: Application
    has_webhook: bool


class Poller:
    """Polls the applications of an installation in one thread. Call ``start`` and ``stop``.

    Args:
        look_seconds: Seconds between two checks whether a poll is due.
    """

    def __init__(self, installation: Installation, *, look_seconds: float = _LOOK_SECONDS) -> None:
        self._installation = installation
        self._look_seconds = look_seconds
        self._stopped = threading.Event()
        self._cancellation = Cancellation()
        self._thread: threading.Thread | None = None
        self._failing: set[str] = set()
        self._is_interrupted = False

    def start(self) -> None:
        """Start the thread.

        Raises:
            StoreError: The database cannot be used.
        """
        self._look_at_reception()
        self._thread = threading.Thread(
            target=self._run, name="deploycore-worker-poll", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop polling. A running request that cannot be interrupted is abandoned."""
        self._stopped.set()
        self._cancellation.cancel()
        if self._thread is not None:
            self._thread.join(_GOODBYE_SECONDS)

    def look(self) -> int:
        """Run the polls that are due, in this thread.

        Returns:
            The number of requests.

        Raises:
            StoreError: The database cannot be used.
        """
        asked = 0
        unwell: set[str] = set()
        self._look_at_reception()
        for applications in self._due():
            if self._stopped.is_set():
                break
            provider = applications[0].definition.provider
            if provider in unwell:
                continue  # done in the next round: other hosts do not wait for one that hangs
            by_name = {each.definition.name: each for each in applications}
            taken = self._installation.store.polls.take(list(by_name), lease=_LEASE_SECONDS)
            if taken:
                asked += 1
                if not self._poll([(by_name[each.application], each) for each in taken]):
                    unwell.add(provider)
        return asked

    def _run(self) -> None:
        while not self._stopped.wait(self._look_seconds):
            try:
                self.look()
            except StoreError as error:
                logger.warning("git hosts could not be polled: %s", with_next_step(error))
            except Exception as error:
                logger.error("unexpected error while polling: %s", type(error).__name__)

    def _look_at_reception(self) -> None:
        """Request checks of all applications if no server receives deliveries any more.

        Applications whose webhooks delivered were not polled until then.
        """
        is_interrupted = self._installation.store.reception.is_interrupted()
        if is_interrupted and not self._is_interrupted:
            request_checks(self._installation)
        self._is_interrupted = is_interrupted

    def _due(self) -> list[list[_Asked]]:
        """Return the applications to poll now, by request, with all that share the response."""
        store, now = self._installation.store, datetime.now(UTC)
        found: dict[str, list[_Asked]] = defaultdict(list)
        to_ask: dict[str, None] = {}
        paused: dict[str, float] = {}
        for each in store.polls.due(host=socket.gethostname()):
            definition = self._definition(each)
            # If no server runs, earlier deliveries of the webhook do not show that it works now.
            heard_at = None if self._is_interrupted else each.heard_at
            if definition is None:
                continue
            if each.is_requested or is_polled(definition, heard_at, now):
                found[each.question].append(_Asked(definition, each.heard_at is not None))
                if each.is_due:
                    to_ask[each.question] = None
            elif each.is_due:  # otherwise only after its webhook has been silent for too long
                silent = now - (heard_at or now)
                paused[each.name] = max(FIRST_SECONDS, (WEBHOOK_IS_WELL - silent).total_seconds())
        if paused:
            store.polls.pause(paused)
        return [found[question] for question in to_ask]

    def _definition(self, polled: Polled) -> Application | None:
        """Return the definition of an application; ``None``, and not due for a while, if it cannot
        be read."""
        try:
            if polled.definition is not None:
                return parse_application(polled.definition)
        except ConfigurationError as error:
            self._tell_failure(polled.name, error)
        if polled.is_due:
            wait = LONGEST_PAUSE
            self._installation.store.polls.note(polled.name, after=wait, seconds=wait)
        return None

    def _poll(self, applications: Sequence[tuple[_Asked, PollRecord]]) -> bool:
        """Poll what these applications share, and store the result; return whether the host
        responded."""
        error: DeploycoreError | None = None
        commit: str | None = None
        try:
            commit = self._ask(applications[0][0].definition)
        except Cancelled:
            return False  # the worker stops, and the lease of the poll expires
        except DeploycoreError as raised:
            error = raised
        except Exception as raised:  # no error may affect the other applications
            error = typed_error(raised)
        waits = []
        for asked, record in applications:
            self._tell_failure(asked.definition.name, error)
            is_new = commit is not None and commit != record.commit
            # A webhook may have reported other commits since. Then the ref has moved back.
            if commit is not None and (is_new or asked.has_webhook or record.requested_at):
                with suppress(ConfigurationError):  # the application was removed in the meantime
                    self._trigger(asked.definition, commit)
            waits.append(_wait(asked.definition, record, error, is_new=is_new))
        not_before = None if error is None else seconds_until_allowed(error, datetime.now(UTC))
        self._installation.store.polls.note_all(waits, commit=commit, not_before=not_before)
        return error is None

    def _ask(self, definition: Application) -> str:
        """Return the commit that the ref of an application points to now.

        If git does not find the repository under its name, it may be renamed. Then its new name is
        requested from the host's API.
        """
        with InterruptibleProvider(
            definition.provider,
            lambda: self._installation.open_application_provider(definition),
            seconds=_CALL_SECONDS,
            look=self._cancellation.raise_if_cancelled,
        ) as provider:
            try:
                return self._resolve(provider, definition)
            except GitError as error:
                if isinstance(error, RemoteRefused) and "ref" not in error.details:
                    present = self._present(provider, definition)
                    if present is not None:
                        return self._resolve(provider, present)
                fetch_hint(provider, error)
                raise

    def _resolve(self, provider: Provider, definition: Application) -> str:
        return resolve(
            provider.clone_url(definition.repository_id),
            definition.ref,
            cache=self._installation.git_cache,
            cancellation=self._cancellation,
            settings=replace(
                provider.git_settings(self._installation.git_settings), total_timeout=_CALL_SECONDS
            ),
            renew=provider.renew_credential(definition.repository_id),
        )

    def _present(self, provider: Provider, definition: Application) -> Application | None:
        """Return the application with the new name of its repository; ``None`` if it was not
        renamed."""
        store = self._installation.store
        try:
            record = store.get_application(definition.name)
            found = confirm_repository(store, provider, record).definition
        except (ConfigurationError, ProviderError):
            return None  # git's error is the one to report
        return None if found.repository == definition.repository else found

    def _trigger(self, definition: Application, commit: str) -> None:
        """Add a trigger for a commit, unless there is one already or the commit is the deployed
        one."""
        store, name, ref = self._installation.store, definition.name, definition.ref
        newest = store.triggers.newest(name, ref)
        if newest is not None and newest.commit == commit:
            return
        # Rollbacks do not count: a rollback went back from the commit that is compared here.
        deployed = store.deployments.list(name, kind="deploy", state="healthy", limit=1)
        if deployed and deployed[0].commit == commit:
            return
        delivery = f"{_CAUSE}:{ref}:{commit}"
        if store.triggers.add(name, cause=_CAUSE, ref=ref, commit=commit, delivery=delivery):
            return
        # The commit is known: the ref was moved away since, and has moved back.
        before = newest.id if newest is not None else 0
        store.triggers.add(
            name, cause=_CAUSE, ref=ref, commit=commit, delivery=f"{delivery}:{before}"
        )

    def _tell_failure(self, name: str, error: DeploycoreError | None) -> None:
        """Log the first of several failures in a row."""
        if error is None:
            self._failing.discard(name)
        elif name not in self._failing:
            self._failing.add(name)
            logger.warning("%s could not be polled: %s", name, with_next_step(error))


def is_polled(definition: Application, heard_at: datetime | None, now: datetime) -> bool:
    """Whether an application is polled at all.

    Args:
        heard_at: The time of its webhook's last delivery; ``None`` for never.
    """
    if not definition.is_polled:
        return False
    if _poll_of(definition) != "auto" or heard_at is None:
        return True
    # A time in the future comes from a clock that was ahead. How long ago it was is unknown.
    return not -_CLOCKS_DIFFER < now - heard_at <= WEBHOOK_IS_WELL


def interval_after(
    poll: float | str, before: float, *, is_new: bool = False, failed: bool = False
) -> float:
    """Return the interval until the next poll.

    Args:
        poll: The application's setting: ``auto``, or seconds.
        before: The current interval; 0 before the first poll.
        is_new: Whether the ref has changed.
        failed: Whether the poll failed.
    """
    usual = FIRST_SECONDS if isinstance(poll, str) else poll
    if failed:
        return min(max(LONGEST_PAUSE, usual), max(before, usual) * 2)
    if not isinstance(poll, str) or is_new or not before:
        return usual
    return min(MOST_SECONDS, before * _GROWTH)


def _poll_of(definition: Application) -> float | str:
    return (definition.auto_deploy or AutoDeploy()).poll


def _wait(
    definition: Application, record: PollRecord, error: DeploycoreError | None, *, is_new: bool
) -> Wait:
    """Return when to poll an application again, after a response or an error."""
    seconds = interval_after(
        _poll_of(definition), record.seconds, is_new=is_new, failed=error is not None
    )
    after = seconds * (1 - _JITTER + 2 * _JITTER * random.random())  # noqa: S311
    if error is not None:
        after = max(after, seconds_until_allowed(error, datetime.now(UTC)) or 0.0)
    is_answer = error is None or (isinstance(error, GitError) and "ref" in error.details)
    return Wait(definition.name, after, seconds, record if is_answer else None)
