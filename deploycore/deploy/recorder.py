"""Record, log and report what happens to one deployment, in this order, in one place."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr

from deploycore.deploy.events import DeployEvent, DeployListener, EventKind, no_listener
from deploycore.deploy.lifecycle import Lifecycle
from deploycore.deploy.locks import refuse_ended
from deploycore.deploy.operator_log import log_end, log_start
from deploycore.errors import Cancelled, DeploycoreError, StoreError
from deploycore.git import Progress
from deploycore.redaction import Redactor
from deploycore.store import DeploymentRecord, DeploymentState, Store
from deploycore.text.storable import is_storable_text

__all__ = ["Recorder"]

logger = logging.getLogger(__name__)


class Recorder:
    """Moves a deployment's record from state to state, and notifies listeners and observers.

    Args:
        record: The record as it is in the store.
        listeners: Called with each event; the log is one of them. A listener that raises is not
            called again.
        description: Further fields of the record for observers, as for ``describe``.
        write_hint: Called with the hint of the error that ended the deployment, to write it to the
            log. Listeners get the error itself.

    Attributes:
        record: The current record.
    """

    def __init__(
        self,
        record: DeploymentRecord,
        store: Store,
        lifecycle: Lifecycle,
        listeners: Iterable[DeployListener],
        description: Mapping[str, Any] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        write_hint: DeployListener = no_listener,
    ) -> None:
        self.record = record
        self._store = store
        self._lifecycle = lifecycle
        self._listeners = list(listeners)
        self._write_hint = write_hint
        self._clock = clock
        self._entered = clock()
        self._seconds: dict[str, float] = dict(record.seconds)
        self._hidden: list[Callable[[], Iterable[SecretStr]]] = []
        self._redactor = Redactor()
        self._known: dict[str, Any] = {}
        self._description: dict[str, Any] = dict(description or {})

    def hide(self, secrets: Callable[[], Iterable[SecretStr]]) -> None:
        """Mask these secrets in all later texts. The function is called each time, since providers
        may get new secrets."""
        self._hidden.append(secrets)

    @property
    def redactor(self) -> Redactor:
        """Return a redactor for all secrets that are known now."""
        secrets = tuple(secret for hidden in self._hidden for secret in hidden())
        if secrets != self._redactor.secrets:
            self._redactor = Redactor(secrets)
        return self._redactor

    def begin(self) -> None:
        """Send the event that the deployment is queued."""
        self._tell("state", "")

    def start(self) -> None:
        """Log that the deployment starts, and tell observers."""
        log_start(self.record)
        self._lifecycle.started(self._described())

    def veto(self, commit: str) -> str | None:
        """Ask the observers about a commit; return the reason of one that objects, if any."""
        return self._lifecycle.veto(self._described(replace(self.record, commit=commit)))

    def know(self, **fields: Any) -> None:
        """Record these fields together with the next state."""
        self._known |= fields

    def describe(self, **fields: Any) -> None:
        """Set fields that the record has for observers only.

        Args:
            fields: By name. ``commit_url`` has ``{commit}`` in place of the hash.
        """
        self._description |= fields

    def enter(self, state: DeploymentState, **fields: Any) -> None:
        """Record that the deployment enters a state, then notify listeners and observers.

        Raises:
            Superseded, Cancelled: The deployment was ended while it was queued.
            StoreError: The state cannot be recorded, or cannot follow the one before.
        """
        try:
            self._advance(state, None, **fields)
        except StoreError:
            refuse_ended(self.record, self._store)
            raise
        self._tell("state", "")
        self._lifecycle.changed(self._described())

    def note_error(self, error: DeploycoreError) -> None:
        """Record why a release is going to be taken back. A failure to record it is only logged."""
        self._mask(error)
        if self.record.error_code:
            return
        try:
            self.record = self._store.deployments.note_error(self.record.id, error)
        except StoreError as failure:
            logger.warning("deployment %s: %s", self.record.id, failure)

    def finish(self, state: DeploymentState, error: DeploycoreError | None = None) -> None:
        """Record how the deployment ended, then notify listeners and observers.

        Raises:
            StoreError: The end cannot be recorded, and ``error`` is ``None``.
        """
        if error is not None:
            self._mask(error)
        try:
            self._advance(state, error)
        except StoreError as failure:
            if error is None:
                raise
            self._look_again(failure)
        log_end(self.record, error, self.redactor)
        self._tell("state", error.message if error else "")
        if error is not None and error.hint:
            self._write_hint(self._event("hint", self.redactor.mask(error.hint)))
        self._lifecycle.changed(self._described())
        self._lifecycle.finished(self._described(), error)

    def end(self, error: DeploycoreError) -> None:
        """Record the error that ended the deployment, unless its end is already recorded.

        During activation, only the link shows what happened, so recovery records the end.
        """
        if self.record.is_finished:
            return
        if self.record.state == "activating":
            logger.warning(
                "deployment %s stopped during activation and will be recovered: %s",
                self.record.id,
                error,
            )
            return
        self.finish("cancelled" if isinstance(error, Cancelled) else "failed", error)

    def _described(self, record: DeploymentRecord | None = None) -> DeploymentRecord:
        """The record as observers receive it."""
        record = record or self.record
        fields = dict(self._description)
        if (pattern := fields.get("commit_url")) is not None:
            commit = record.commit
            fields["commit_url"] = pattern.replace("{commit}", commit) if commit else None
        return replace(record, **fields)

    def _mask(self, error: DeploycoreError) -> None:
        error.message = self.redactor.mask(error.message)
        error.args = (error.message,)

    def _look_again(self, failure: StoreError) -> None:
        """Read the record again: another process may have superseded or cancelled it."""
        with suppress(DeploycoreError):
            self.record = self._store.deployments.get(self.record.id)
        if not self.record.is_finished:
            # The deployment's own error matters more; the next deployment repairs the record.
            logger.warning(
                "the end of deployment %s could not be recorded: %s", self.record.id, failure
            )

    def note(self, text: str) -> None:
        """Send a sentence from deploycore to the log and the listeners."""
        self._tell("note", self.redactor.mask(text))

    def output(self, text: str) -> None:
        """Send a line that a step printed; it is already masked."""
        self._tell("output", text)

    def progress(self, git: Progress) -> None:
        """Send git's progress to the listeners."""
        self._tell("progress", "", git)

    def _advance(
        self, state: DeploymentState, error: DeploycoreError | None, **fields: Any
    ) -> None:
        now = self._clock()
        before = self.record.state
        self._seconds[before] = round(self._seconds.get(before, 0.0) + now - self._entered, 6)
        self._entered = now
        known, self._known = self._known | fields, {}
        if (commit := known.get("commit")) and (pattern := self._description.get("commit_url")):
            address = pattern.replace("{commit}", commit)
            if is_storable_text(address):  # a plugin's text must not fail a deployment
                known["commit_url"] = address
        noted = None if self.record.error_code else error
        self.record = self._store.deployments.advance(
            self.record.id, state, error=noted, seconds=self._seconds, **known
        )

    def _event(self, kind: EventKind, text: str, git: Progress | None = None) -> DeployEvent:
        record, at = self.record, datetime.now(UTC)
        return DeployEvent(record.id, record.application, at, kind, record.state, text, git)

    def _tell(self, kind: EventKind, text: str, git: Progress | None = None) -> None:
        event = self._event(kind, text, git)
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception as error:
                # For example a closed terminal. A listener must not affect the deployment.
                self._listeners.remove(listener)
                logger.warning(
                    "a listener failed and gets no more events: %s", type(error).__name__
                )
