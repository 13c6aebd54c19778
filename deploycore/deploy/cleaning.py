"""What is removed from a target before a deployment, and after its end is on record.

Nothing here can change how a deployment ended: what is refused is told, and tried again by the
next deployment, or by ``deploycore recover``. A release is removed only if the store knows that
deploycore made it; whatever else is among the releases is told and left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploycore.deploy.releases import Releases, is_release_name
from deploycore.deploy.selection import surplus_releases
from deploycore.disk.removal import Remains, shown
from deploycore.errors import DeploycoreError
from deploycore.store import DeploymentRecord, Store

__all__ = ["Cleaning", "strangers_told"]

_SHOWN = 5


class Cleaning:
    """Cleans the target of one application; for the holder of its lock.

    Args:
        application: Its name.
        note: Told of what was removed, and of what could not be.
    """

    def __init__(
        self, releases: Releases, application: str, store: Store, note: Callable[[str], None]
    ) -> None:
        self._releases = releases
        self._application = application
        self._store = store
        self._note = note

    def before(self) -> None:
        """Remove what killed processes left, what could not be removed before, and releases of
        deployments that failed."""
        with self._told():
            for left in self._releases.clear():
                self._note(f"{left.path.name} could not be removed: {left}")
            for name, made_by in self._made().items():
                # Its process was killed between the end of the deployment and its clean-up.
                is_dead = made_by.is_finished and made_by.state != "healthy"
                if is_dead and is_release_name(name):
                    self._discard(name)

    def after(self, record: DeploymentRecord, keep: int) -> None:
        """Remove what is no longer needed once a deployment has ended.

        Args:
            record: The deployment's. While its end is not on record, a release that was being
                activated is left to who settles it.
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
        names = self._releases.names()
        history = self._store.deployments.release_history(self._application, names)
        surplus = surplus_releases(
            names, live=record.release, previous=record.previous, keep=keep, history=history
        )
        for name in surplus:
            left = self._releases.discard(self._releases.directory / name)
            if left is None:
                self._note(f"release {name} is removed; {keep} are kept")
            else:
                self._tell(name, left)
        strangers = self._releases.strangers(history.made)
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
            self._note(f"release {name} could not be removed, and is still there: {left}")
        else:
            self._note(
                f"release {name} could not be removed completely; what is left is in"
                f" {left.path.name}, and removal is tried again: {left}"
            )

    def _made(self) -> dict[str, DeploymentRecord]:
        """The deployments that made the releases that are there, by the release's name."""
        return self._store.deployments.of_releases(self._application, self._releases.names())

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            # Whatever it is, the deployment has ended as is on record.
            what = error.message if isinstance(error, DeploycoreError) else type(error).__name__
            self._note(f"the target was not cleaned completely: {what}")


def strangers_told(directory: Path, names: Sequence[str]) -> str:
    """A sentence on what is among the releases, and is none of deploycore's.

    Args:
        directory: Where the releases are.
        names: At least one.
    """
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    listed = ", ".join(shown(Path(name)) for name in names[:_SHOWN])
    return f"{directory} holds what deploycore did not make there; it is left alone: {listed}{more}"
