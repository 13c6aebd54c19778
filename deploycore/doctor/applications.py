"""The applications: whether their targets can be used, and deployments have come to an end."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

from deploycore.deploy.locks import Presence
from deploycore.deploy.releases import Releases
from deploycore.disk.durable import is_held
from deploycore.doctor.finding import Finding, fine, problem, warning
from deploycore.doctor.machine import nearest_directory
from deploycore.errors import DeploycoreError, DeployError
from deploycore.settings import Settings
from deploycore.store.inspection import Inspection, inspect_database
from deploycore.store.records import ApplicationRecord, DeploymentRecord

__all__ = ["look_at_deployments", "look_at_locks", "look_at_targets"]


def look_at_targets(found: Inspection) -> Iterator[Finding]:
    """Every application's target, and what is live there."""
    for application in found.applications:
        yield _target(application)


def _target(application: ApplicationRecord) -> Finding:
    subject, target = f"application {application.name}", application.definition.target
    releases = Releases(target)
    try:
        releases.refuse_unusable()
        current = releases.current
    except DeploycoreError as error:
        return problem(subject, error)
    directory = nearest_directory(target)
    if directory is None or not os.access(directory, os.W_OK | os.X_OK):
        what = "be made" if directory != target else "be written by you"
        return problem(
            subject,
            f"The target {target} cannot {what}.",
            f"Give {directory or target} to the user that deploys.",
            kind=DeployError,
        )
    if current is not None and not current.is_dir():
        return problem(
            subject,
            f"What is live in {target} is gone: {current.name}.",
            f"Deploy again: deploycore deploy {application.name}",
            kind=DeployError,
        )
    live = f"live is {current.name}" if current else "nothing is live yet"
    return fine(subject, f"The target {target} can be used; {live}.")


def look_at_deployments(settings: Settings, found: Inspection) -> Iterator[Finding]:
    """Those without an end on record: whether they run, or their process has died."""
    targets = {each.name: each.definition.target for each in found.applications}
    abandoned = []
    for record in found.unfinished:
        subject = f"deployment {record.id}"
        if record.host not in ("", socket.gethostname()):
            yield warning(
                subject,
                f"It has no end on record, and was begun on {record.host}: its state is not"
                " known on this machine.",
                f"Look there: deploycore doctor; or: deploycore recover on {record.host}",
            )
        elif _runs(settings, record, targets.get(record.application)):
            yield fine(subject, f"It is {record.state}, for {record.application}.")
        else:
            abandoned.append(record)
    if not abandoned:
        return
    # It may have come to its end between the look at the record and that at the lock.
    still = {record.id for record in inspect_database(settings).unfinished}
    for record in abandoned:
        if record.id in still:
            yield problem(
                f"deployment {record.id}",
                f"That of {record.application} is {record.state}, but its process has died.",
                "Bring it to its end: deploycore recover",
                kind=DeployError,
            )


def _runs(settings: Settings, record: DeploymentRecord, target: Path | None) -> bool:
    if record.state == "queued":
        home = Path(record.home) if record.home else settings.home
        return Presence(home / "locks").is_anybody_present(record.application)
    return target is not None and Releases(target).is_locked()


def look_at_locks(settings: Settings) -> Iterator[Finding]:
    """The one lock that keeps everybody away: that of setting up the database."""
    lock = settings.home / "database.lock"
    if lock.exists() and not lock.is_file():
        yield problem(
            "locks",
            f"{lock} is no regular file.",
            "Move it away; a new one is made when it is needed.",
        )
    elif is_held(lock):
        yield warning(
            "locks",
            "Another process is setting up the database, or cannot be told not to.",
            f"If that takes long, find out which one, and end it: fuser {lock}",
        )
    else:
        yield fine("locks", "The database is not locked.")
