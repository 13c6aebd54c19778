"""Whose turn it is: one deployment of an application at a time, and the newest request wins.

Two locks of the operating system, which end with the process that holds them:

* the target's (see ``Releases``), held by the deployment that runs;
* one for each application in the data directory, shared by all who run or wait. Who gets it
  for himself alone knows that every process that ran or waited is dead.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from deploycore.deploy.releases import Releases
from deploycore.disk.durable import is_held, make_private_directory
from deploycore.errors import Cancelled, DeployError, Locked, Superseded
from deploycore.git import Cancellation
from deploycore.store import DeploymentRecord, Store

__all__ = ["Presence", "refuse_ended", "wait_for_lock"]

_POLL_SECONDS = 0.05
_LOOK_SECONDS = 1.0


class Presence:
    """Who runs or waits for an application's deployments, on this machine.

    Args:
        directory: Of the locks; made when it is needed.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextmanager
    def present(
        self, application: str, cancellation: Cancellation, *, wait: bool
    ) -> Iterator[None]:
        """Count as one who runs or waits.

        Raises:
            Cancelled: Somebody asked to stop.
            Locked: Somebody recovers the application, and this one is not to wait.
            DeployError: The lock can't be had.
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
        """Whether nobody runs or waits; if so, nobody begins to meanwhile.

        Raises:
            DeployError: The lock can't be had.
        """
        with ExitStack() as held:
            yield self._has(application, fcntl.LOCK_EX, held)

    def is_anybody_present(self, application: str) -> bool:
        """Whether anybody runs or waits; makes no file, unlike ``alone``."""
        return is_held(self._directory / f"{application}.lock")

    def _has(self, application: str, how: int, held: ExitStack) -> bool:
        try:
            make_private_directory(self._directory)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            descriptor = os.open(self._directory / f"{application}.lock", flags, 0o600)
            held.callback(os.close, descriptor)
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            raise DeployError(
                f"The lock of {application} cannot be taken: {error.strerror or error}.",
                hint=f"Check the permissions of {self._directory}, and the free space on its disk.",
            ) from error
        return True


@contextmanager
def wait_for_lock(
    releases: Releases, record: DeploymentRecord, store: Store, cancellation: Cancellation
) -> Iterator[bool]:
    """Hold the target for a deployment that is queued, as soon as nobody else does.

    Gives whether it had to be waited for.

    Raises:
        Superseded: A newer deployment of the application was asked for.
        Cancelled: Somebody asked for this one to stop.
        DeployError: The lock can't be had.
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
    """Go on only while nobody has ended a deployment that waits.

    Raises:
        Superseded: A newer one was asked for.
        Cancelled: It was cancelled.
    """
    now = store.deployments.get(record.id)
    if now.state == "superseded":
        raise Superseded(
            now.error or "A newer deployment was asked for.",
            hint=f"See the newer deployment: deploycore deployments {record.application}",
            deployment=record.id,
        )
    if now.state == "cancelled":
        raise Cancelled(now.error or "The deployment was cancelled.", deployment=record.id)
