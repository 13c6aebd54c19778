"""Locks: one deployment of an application runs at a time, and the newest request wins.

There are two locks of the operating system, which are released when their process ends:

* the target's lock (see ``Releases``), held by the deployment that runs;
* the application's presence lock in the data directory, shared by all deployments that run or
  wait. A process that gets it exclusively knows that all of them are dead.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from deploycore.deploy.releases import Releases
from deploycore.disk.durable import closed_in_forks, is_held, make_private_directory
from deploycore.errors import Cancelled, DeployError, Locked, Superseded
from deploycore.git import Cancellation
from deploycore.store import DeploymentRecord, Store

__all__ = ["Presence", "refuse_ended", "wait_for_lock"]

_POLL_SECONDS = 0.05
_LOOK_SECONDS = 1.0


class Presence:
    """The presence locks of this machine: whether deployments of an application run or wait.

    Args:
        directory: The directory of the locks; created when it is needed.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextmanager
    def present(
        self, application: str, cancellation: Cancellation, *, wait: bool
    ) -> Iterator[None]:
        """Hold the presence lock as a deployment that runs or waits.

        Raises:
            Cancelled: The deployment was asked to stop.
            Locked: The application is being recovered, and ``wait`` is false.
            DeployError: The lock file cannot be used.
        """
        with ExitStack() as held:
            while not self._has(application, fcntl.LOCK_SH, held):
                if not wait:
                    raise Locked(
                        f"The application {application!r} is being recovered.",
                        hint="Wait until the recovery ends, then try again.",
                        application=application,
                    )
                cancellation.raise_if_cancelled()
                time.sleep(_POLL_SECONDS)
            yield

    @contextmanager
    def alone(self, application: str) -> Iterator[bool]:
        """Try to hold the presence lock exclusively, and yield whether that succeeded.

        While it is held, no deployment of the application can begin.

        Raises:
            DeployError: The lock file cannot be used.
        """
        with ExitStack() as held:
            yield self._has(application, fcntl.LOCK_EX, held)

    def is_anybody_present(self, application: str) -> bool:
        """Whether deployments run or wait. Unlike ``alone``, this creates no file."""
        return is_held(self._directory / f"{application}.lock")

    def _has(self, application: str, how: int, held: ExitStack) -> bool:
        try:
            make_private_directory(self._directory)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            descriptor = os.open(self._directory / f"{application}.lock", flags, 0o600)
            with ExitStack() as opened:  # a lock that is not free leaves no descriptor open
                opened.enter_context(closed_in_forks(descriptor))
                fcntl.flock(descriptor, how | fcntl.LOCK_NB)
                held.enter_context(opened.pop_all())
        except BlockingIOError:
            return False
        except OSError as error:
            raise DeployError(
                f"The lock of {application} cannot be taken: {error.strerror or error}.",
                hint=f"Check the permissions of {self._directory} and the free space on its disk,"
                f" and that {application}.lock in it is a file.",
            ) from error
        return True


@contextmanager
def wait_for_lock(
    releases: Releases, record: DeploymentRecord, store: Store, cancellation: Cancellation
) -> Iterator[bool]:
    """Wait for the target's lock, hold it, and yield whether there was a wait.

    Raises:
        Superseded: A newer deployment of the application was requested.
        Cancelled: This deployment was asked to stop.
        DeployError: The lock file cannot be used.
    """
    with ExitStack() as held:
        looked, waited = time.monotonic(), False
        while not _has_turn(releases, held):
            waited = True
            if time.monotonic() - looked > _LOOK_SECONDS:
                looked = time.monotonic()
                refuse_ended(record, store)
            cancellation.raise_if_cancelled()
            time.sleep(_POLL_SECONDS)
        if waited:
            refuse_ended(record, store)
        yield waited


def _has_turn(releases: Releases, held: ExitStack) -> bool:
    try:
        held.enter_context(releases.locked())
    except Locked:
        return False
    return True


def refuse_ended(record: DeploymentRecord, store: Store) -> None:
    """Stop a deployment that waits if another process has recorded its end.

    Raises:
        Superseded: A newer deployment was requested.
        Cancelled: The deployment was cancelled.
    """
    now = store.deployments.get(record.id)
    if now.state == "superseded":
        raise Superseded(
            now.error or "A newer deployment was requested.",
            hint=f"See the newer deployment: deploycore deployments {record.application}",
            deployment=record.id,
        )
    if now.state == "cancelled":
        raise Cancelled(now.error or "The deployment was canceled.", deployment=record.id)
