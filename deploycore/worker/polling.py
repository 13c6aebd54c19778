"""Asking git hosts for news, where no webhook brings it.

What is found becomes a trigger, as what a webhook tells does, so that a push that is seen both
ways deploys once. The git server is asked for the one ref, not the host's API: that costs one
small request, holds for tags too, and hosts limit it less. Applications that deploy the same ref
of the same repository share the answer.
"""

from __future__ import annotations

import logging
import random
import socket
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from deploycore.application import Application, AutoDeploy
from deploycore.deploy import InterruptibleProvider, confirm_repository, fetch_hint
from deploycore.errors import (
    Cancelled,
    ConfigurationError,
    DeploycoreError,
    GitError,
    ProviderError,
    RemoteRefused,
    StoreError,
)
from deploycore.git import Cancellation, resolve
from deploycore.installation import Installation
from deploycore.models import is_commit_hash
from deploycore.store import PollRecord
from deploycore.worker.catch_up import request_checks
from deploycore.worker.retries import seconds_until_allowed

__all__ = ["Poller", "interval_after", "is_polled"]

logger = logging.getLogger(__name__)

FIRST_SECONDS = 60.0
MOST_SECONDS = 900.0
LONGEST_PAUSE = 3600.0
WEBHOOK_IS_WELL = timedelta(hours=6)
_GROWTH = 1.5
_JITTER = 0.1
_LEASE_SECONDS = 300.0
_CALL_SECONDS = 30.0
_LOOK_SECONDS = 5.0
_GOODBYE_SECONDS = 10.0
_CAUSE = "poll"


@dataclass(frozen=True)
class _Question:
    """What one request answers."""

    provider: str
    repository: str
    ref: str


class Poller:
    """Polls the applications of an installation, in one thread. To be started, and stopped.

    Args:
        look_seconds: How often it is looked whether something is due.
    """

    def __init__(self, installation: Installation, *, look_seconds: float = _LOOK_SECONDS) -> None:
        self._installation = installation
        self._look_seconds = look_seconds
        self._stopped = threading.Event()
        self._cancellation = Cancellation()
        self._thread: threading.Thread | None = None
        self._failing: set[str] = set()

    def start(self) -> None:
        """Begin to poll, in a thread.

        Raises:
            StoreError: The database can't be used.
        """
        if self._installation.store.reception.is_interrupted():
            request_checks(self._installation)
        self._thread = threading.Thread(
            target=self._run, name="deploycore-worker-poll", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Ask nobody any more; a question under way that can't be ended is left behind."""
        self._stopped.set()
        self._cancellation.cancel()
        if self._thread is not None:
            self._thread.join(_GOODBYE_SECONDS)

    def look(self) -> int:
        """Poll what is due, in this thread.

        Returns:
            How many requests that took.

        Raises:
            StoreError: The database can't be used.
        """
        asked = 0
        unwell: set[str] = set()
        for question, applications in self._due().items():
            if self._stopped.is_set():
                break
            if question.provider in unwell:
                continue  # at the next look: other hosts don't wait for one that hangs
            by_name = {each.name: each for each in applications}
            taken = self._installation.store.polls.take(list(by_name), lease=_LEASE_SECONDS)
            if taken:
                asked += 1
                if not self._poll([(by_name[each.application], each) for each in taken]):
                    unwell.add(question.provider)
        return asked

    def _run(self) -> None:
        while not self._stopped.wait(self._look_seconds):
            try:
                self.look()
            except StoreError as error:
                logger.warning("git hosts are not polled for now: %s", error)
            except Exception as error:
                logger.error("polling met something unforeseen: %s", type(error).__name__)

    def _due(self) -> Mapping[_Question, list[Application]]:
        """What is to be asked now, with all that the answer is good for, due or not."""
        store, here = self._installation.store, socket.gethostname()
        heard = {each.application: each.delivered_at for each in store.webhooks.list()}
        if store.reception.is_interrupted():
            heard = {}  # no server runs: that a webhook delivered before says nothing of now
        due, requested, now = store.polls.due(), store.polls.requested(), datetime.now(UTC)
        found: dict[_Question, list[Application]] = defaultdict(list)
        to_ask = set()
        for each in store.list_applications():
            definition = each.definition
            if definition.host not in (None, here):
                continue
            if each.name in requested or is_polled(definition, heard.get(each.name), now):
                question = _Question(definition.provider, definition.repository, definition.ref)
                found[question].append(definition)
                if due.get(each.name, True):
                    to_ask.add(question)
        return {question: found[question] for question in to_ask}

    def _poll(self, applications: Sequence[tuple[Application, PollRecord]]) -> bool:
        """Ask for what these applications share, and note it; whether the host has told."""
        error: DeploycoreError | None = None
        commit: str | None = None
        try:
            commit = self._ask(applications[0][0])
        except Cancelled:
            return False  # the worker stops; the lease lapses
        except DeploycoreError as raised:
            error = raised
        except Exception as raised:  # whatever it is, it must not keep the others
            error = DeploycoreError(f"This is a bug in deploycore: {type(raised).__name__}.")
        for definition, record in applications:
            self._tell_failure(definition.name, error)
            if commit is not None:
                with suppress(ConfigurationError):  # it is gone meanwhile
                    self._trigger(definition, commit)
            self._note(definition, record, commit, error)
        return error is None

    def _note(
        self,
        definition: Application,
        record: PollRecord,
        commit: str | None,
        error: DeploycoreError | None,
    ) -> None:
        """Note what was answered, and when to ask again."""
        seconds = interval_after(
            _poll_of(definition),
            record.seconds,
            is_new=commit is not None and commit != record.commit,
            failed=error is not None,
        )
        after = seconds * (1 - _JITTER + 2 * _JITTER * random.random())  # noqa: S311
        wait = None if error is None else seconds_until_allowed(error, datetime.now(UTC))
        is_answer = error is None or (isinstance(error, GitError) and "ref" in error.details)
        self._installation.store.polls.note(
            definition.name,
            after=max(after, wait or 0.0),
            seconds=seconds,
            commit=commit,
            checked=record if is_answer else None,
            not_before=wait,
        )

    def _ask(self, definition: Application) -> str:
        """The commit that the ref of an application points to now.

        A repository that git does not find under its name may have been renamed: the host's API
        tells, and follows.
        """
        with InterruptibleProvider(
            definition.provider,
            lambda: self._installation.open_provider(definition.provider),
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

    def _resolve(self, provider: InterruptibleProvider, definition: Application) -> str:
        return resolve(
            provider.clone_url(definition.repository_id),
            definition.ref,
            cache=self._installation.git_cache,
            cancellation=self._cancellation,
            settings=replace(self._installation.git_settings, total_timeout=_CALL_SECONDS),
        )

    def _present(
        self, provider: InterruptibleProvider, definition: Application
    ) -> Application | None:
        """An application whose repository has another name by now; ``None`` where it has not."""
        store = self._installation.store
        try:
            record = store.get_application(definition.name)
            found = confirm_repository(store, provider, record).definition
        except (ConfigurationError, ProviderError):
            return None  # what git said is what is told
        return None if found.repository == definition.repository else found

    def _trigger(self, definition: Application, commit: str) -> None:
        """Have a commit deployed, unless somebody said so before, or it is what was deployed."""
        store, name, ref = self._installation.store, definition.name, definition.ref
        newest = store.triggers.newest(name, ref)
        if newest is not None and newest.commit == commit:
            return
        # Not a rollback, which went back from what is asked about here.
        deployed = store.deployments.list(name, kind="deploy", state="healthy", limit=1)
        if deployed and deployed[0].commit == commit:
            return
        delivery = f"{_CAUSE}:{ref}:{commit}"
        if store.triggers.add(name, cause=_CAUSE, ref=ref, commit=commit, delivery=delivery):
            return
        # Known from before: the ref has been elsewhere since, and is back.
        before = newest.id if newest is not None else 0
        store.triggers.add(
            name, cause=_CAUSE, ref=ref, commit=commit, delivery=f"{delivery}:{before}"
        )

    def _tell_failure(self, name: str, error: DeploycoreError | None) -> None:
        """Log what fails once, until it is well again."""
        if error is None:
            self._failing.discard(name)
        elif name not in self._failing:
            self._failing.add(name)
            logger.warning("%s can't be polled for now: %s", name, error.message)


def is_polled(definition: Application, heard_at: datetime | None, now: datetime) -> bool:
    """Whether the git host is to be asked for news of an application at all.

    Args:
        heard_at: When its webhook last delivered; ``None`` for never.
    """
    auto = definition.auto_deploy
    if auto is None or auto.poll == "off" or is_commit_hash(definition.ref):
        return False
    return auto.poll != "auto" or heard_at is None or now - heard_at > WEBHOOK_IS_WELL


def interval_after(
    poll: float | str, before: float, *, is_new: bool = False, failed: bool = False
) -> float:
    """How long to wait until the next time.

    Args:
        poll: What the application says: ``auto``, or seconds.
        before: The present interval; 0 for the first time.
        is_new: Whether the ref was found to have moved.
        failed: Whether the host could not be asked, or refused.
    """
    usual = FIRST_SECONDS if isinstance(poll, str) else poll
    if failed:
        return min(max(LONGEST_PAUSE, usual), max(before, usual) * 2)
    if not isinstance(poll, str) or is_new or not before:
        return usual
    return min(MOST_SECONDS, before * _GROWTH)


def _poll_of(definition: Application) -> float | str:
    return (definition.auto_deploy or AutoDeploy()).poll
