"""Record who did what in the audit log."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from deploycore.configuration import NAME_PATTERN
from deploycore.errors import DeploycoreError
from deploycore.server.callers import Caller
from deploycore.server.edge import client_address, request_id
from deploycore.server.quiet import QuietLogger
from deploycore.store import Store
from deploycore.store.audit import DONE, Entry

__all__ = ["Auditor"]

logger = logging.getLogger(__name__)

_SECONDS = 60.0
_REFUSALS_MOST = 30
_KEYS_MOST = 1000


class Auditor:
    """Adds entries to the audit log. A failure is only logged, because the operation cannot be
    undone.

    Refusals are limited to 30 a minute for each caller, and for all others together, so that they
    cannot push other entries out of the log.

    Args:
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._quiet = QuietLogger(logger)
        self._minute = -1
        self._refusals: dict[str, int] = {}
        self._lock = threading.Lock()

    def note(
        self,
        caller: Caller | None,
        operation: str,
        *,
        kind: str = "",
        subject: str = "",
        outcome: str = DONE,
    ) -> None:
        """Record an operation. Call it in a thread.

        Args:
            caller: Who requested it; ``None`` if this is unknown.
            operation: The name of the operation.
            kind: The kind of its subject, such as ``application``.
            subject: The name or number of its subject.
            outcome: ``done``, or the code of the error.
        """
        actor = caller.actor if caller else ""
        if outcome != DONE and not self._has_room(actor):
            self._quiet.warn("refusals", "the audit log leaves out failures of %s", actor or "-")
            return
        entry = Entry(
            actor, operation, kind, subject, outcome, request_id.get(), client_address.get()
        )
        try:
            self._store.audit.add(entry)
        except DeploycoreError as error:
            self._quiet.warn("audit", "an entry of the audit log was lost: %s", error)

    def note_operation(
        self,
        caller: Caller | None,
        operation: str,
        path: str,
        *,
        parameters: Mapping[str, str],
        body: Mapping[str, Any],
        outcome: str = DONE,
    ) -> None:
        """Record an operation of the REST API, with its subject.

        Args:
            path: The path, with its parameters in braces.
            parameters: The values of the path's parameters.
            body: The body. Only its ``name`` is used, if the path has no parameter.
        """
        kind, subject = _subject_of(path, parameters, body)
        if not subject and caller is not None and "/account" in path:
            kind, subject = caller.kind, caller.name
        self.note(caller, operation, kind=kind, subject=subject, outcome=outcome)

    def _has_room(self, actor: str) -> bool:
        with self._lock:
            minute = int(self._clock() // _SECONDS)
            if minute != self._minute or len(self._refusals) > _KEYS_MOST:
                self._minute, self._refusals = minute, {}
            count = self._refusals[actor] = self._refusals.get(actor, 0) + 1
        return count <= _REFUSALS_MOST


def _subject_of(
    path: str, parameters: Mapping[str, str], body: Mapping[str, Any]
) -> tuple[str, str]:
    """Return the subject of an operation: the first parameter of its path, or the name in the
    body."""
    named = re.findall(r"{(\w+)}", path)
    if named:
        return named[0], str(parameters.get(named[0], ""))
    name = body.get("name")
    if not isinstance(name, str) or not re.fullmatch(NAME_PATTERN, name):
        name = ""
    return path.rpartition("/")[2].removesuffix("s"), name
