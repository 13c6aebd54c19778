"""Cleaning of a target, before a deployment and after its end is recorded.

Cleaning cannot change how a deployment ended. What cannot be removed is noted in the log, and the
next deployment, or ``deploycore recover``, tries again. A release is removed only if the store
knows that deploycore made it. Anything else among the releases is noted and kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploycore.deploy.log import Logs
from deploycore.deploy.releases import Releases, is_release_name
from deploycore.deploy.selection import surplus_releases
from deploycore.disk.removal import Remains, shown
from deploycore.errors import DeploycoreError
from deploycore.store import ApplicationRecord, DeploymentRecord, Store

__all__ = ["Cleaning", "forget_old", "strangers_told"]

logger = logging.getLogger(__name__)

_SHOWN = 5


class Cleaning:
    """Cleans the target of one application. The caller holds the target's lock.

    Args:
        application: The application's name.
        note: Called with a sentence on each release that was removed or could not be.
    """

    def __init__(
        self, releases: Releases, application: str, store: Store, note: Callable[[str], None]
    ) -> None:
        self._releases = releases
        self._application = application
        self._store = store
        self._note = note

    def before(self) -> None:
        """Remove three things: what killed processes left, what could not be removed before, and
        releases of failed deployments."""
        with self._told():
            for left in self._releases.clear():
                self._note(f"{left.path.name} could not be removed: {left}")
            for name, made_by in self._made().items():
                # Its process was killed after the deployment ended, before it cleaned up.
                is_dead = made_by.is_finished and made_by.state != "healthy"
                if is_dead and is_release_name(name):
                    self._discard(name)

    def after(self, record: DeploymentRecord, keep: int) -> None:
        """Remove what is no longer needed once a deployment has ended.

        Args:
            record: The deployment's record. While its end is not recorded, a release that was
                being activated is left to recovery.
            keep: How many releases stay; see ``selection``.
        """
        if record.kind != "deploy":
            return
        with self._told():
            if record.state == "healthy":
                self._prune(record, keep)
            elif record.release and record.state != "activating":
                self._discard(record.release)

    def _prune(self, record: DeploymentRecord, keep: int) -> None:
        made: Mapping[str, DeploymentRecord]
        names = self._releases.names()
        if len(names) <= keep:
            made = self._store.deployments.of_releases(self._application, names)
        else:
            history = self._store.deployments.release_history(self._application, names)
            made = history.made
            surplus = surplus_releases(
                names, live=record.release, previous=record.previous, keep=keep, history=history
            )
            for name in surplus:
                left = self._releases.discard(self._releases.directory / name)
                if left is None:
                    self._note(f"release {name} was removed; {keep} releases are kept")
                else:
                    self._tell(name, left)
        strangers = self._releases.strangers(made)
        if strangers:
            self._note(strangers_told(self._releases.directory, strangers))

    def _discard(self, name: str) -> None:
        release = self._releases.directory / name
        if release == self._releases.current:
            return
        left = self._releases.discard(release)
        if left is not None:
            self._tell(name, left)

    def _tell(self, name: str, left: Remains) -> None:
        if left.path.name == name:
            self._note(f"release {name} could not be removed: {left}")
        else:
            self._note(
                f"release {name} could not be removed completely; the rest is in {left.path.name},"
                f" and the next deployment tries again: {left}"
            )

    def _made(self) -> dict[str, DeploymentRecord]:
        """Map the names of releases on disk to the deployments that made them."""
        return self._store.deployments.of_releases(self._application, self._releases.names())

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            # The deployment has already ended, so no error here may change that.
            what = error.message if isinstance(error, DeploycoreError) else type(error).__name__
            self._note(f"the target was not cleaned completely: {what}")


def strangers_told(directory: Path, names: Sequence[str]) -> str:
    """Describe entries among the releases that deploycore did not create.

    Args:
        directory: The directory of the releases.
        names: The names of the entries; at least one.
    """
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    listed = ", ".join(shown(Path(name)) for name in names[:_SHOWN])
    return (
        f"{directory} has entries that deploycore did not create; they are left alone:"
        f" {listed}{more}"
    )


def forget_old(
    store: Store, logs: Logs, application: ApplicationRecord, newest: DeploymentRecord
) -> None:
    """Remove old deployments from the history, with their logs. A failure here is only logged.

    Args:
        newest: The deployment that has just ended. It and later ones stay.
    """
    try:
        gone = store.deployments.forget(
            application.name,
            days=application.definition.history_days,
            before=newest.id,
            but=Releases(application.definition.target).names(),
        )
    except DeploycoreError as error:
        logger.warning(
            "old deployments of %s could not be removed from the history: %s",
            application.name,
            error,
        )
    else:
        logs.remove(application.name, gone)
