"""Checks of applications: targets, unfinished deployments and locks."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

from deploycore.deploy.locks import Presence
from deploycore.deploy.releases import Releases
from deploycore.deployment_records import state_name
from deploycore.disk.durable import is_held
from deploycore.doctor.finding import Finding, fine, problem, warning
from deploycore.doctor.machine import failure_to_write, nearest_directory
from deploycore.errors import DeploycoreError, DeployError
from deploycore.settings import Settings
from deploycore.store.inspection import Inspection, inspect_database
from deploycore.store.records import ApplicationRecord, DeploymentRecord

__all__ = ["look_at_deployments", "look_at_locks", "look_at_targets"]


def look_at_targets(found: Inspection) -> Iterator[Finding]:
    """Check every application's target and live release."""
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
        what = "create" if directory != target else "write to"
        return problem(
            subject,
            f"You cannot {what} the target {target}.",
            f"Make {directory or target} writable for the user that deploys.",
            kind=DeployError,
        )
    if failure := failure_to_write(directory):
        return problem(subject, releases.unusable(failure))
    if current is not None and not current.is_dir():
        return problem(
            subject,
            f"The live release of {target} is missing: {current.name}.",
            f"Deploy again: deploycore deploy {application.name}",
            kind=DeployError,
        )
    live = f"{current.name} is live" if current else "no release is live yet"
    return fine(subject, f"The target {target} can be used; {live}.")


def look_at_deployments(settings: Settings, found: Inspection) -> Iterator[Finding]:
    """Check unfinished deployments: whether they are running, or their process has died."""
    targets = {each.name: each.definition.target for each in found.applications}
    abandoned = []
    for record in found.unfinished:
        subject = f"deployment {record.id}"
        if record.host not in ("", socket.gethostname()):
            yield warning(
                subject,
                f"The deployment is unfinished. It started on {record.host}, so this machine does"
                " not know whether it is running.",
                f"On {record.host}, run: deploycore doctor. If its process has died, run there:"
                " deploycore recover",
            )
        elif _runs(settings, record, targets.get(record.application)):
            state = state_name(record.state)
            yield fine(subject, f"The deployment of {record.application} is {state}.")
        else:
            abandoned.append(record)
    if not abandoned:
        return
    # A deployment may have ended after its record was read and before its lock was checked.
    still = {record.id for record in inspect_database(settings).unfinished}
    for record in abandoned:
        if record.id in still:
            yield problem(
                f"deployment {record.id}",
                f"The deployment of {record.application} is {state_name(record.state)}, but its"
                " process has died.",
                "Recover it: deploycore recover",
                kind=DeployError,
            )


def _runs(settings: Settings, record: DeploymentRecord, target: Path | None) -> bool:
    if record.state == "queued":
        home = Path(record.home) if record.home else settings.home
        return Presence(home / "locks").is_anybody_present(record.application)
    return target is not None and Releases(target).is_locked()


def look_at_locks(settings: Settings) -> Iterator[Finding]:
    """Check the lock that is held while the database is set up, which blocks every command."""
    lock = settings.home / "database.lock"
    if lock.exists() and not lock.is_file():
        yield problem(
            "locks",
            f"{lock} is not a regular file.",
            "Move it away. deploycore creates a new one when it needs it.",
        )
    elif is_held(lock):
        yield warning(
            "locks",
            "Another process is setting up the database, or holds the lock for that.",
            f"If it takes long, find the process and end it: fuser {lock}",
        )
    else:
        yield fine("locks", "The database is not locked.")
