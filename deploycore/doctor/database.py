"""Checks of the database and of the secrets in it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from deploycore.applications.application import SecretSource
from deploycore.doctor.finding import Finding, fine, problem, warning
from deploycore.errors import ConfigurationError, DeploycoreError, StoreError
from deploycore.provider.background import Unanswered, call_within
from deploycore.secrets import SecretBox, is_sealed
from deploycore.settings import DATABASE_URL, HOME, Settings
from deploycore.store.inspection import Inspection, inspect_database
from deploycore.store.records import ApplicationRecord

__all__ = ["inspected", "look_at_database", "look_at_secrets"]

DATABASE_SECONDS = 60.0
_STORED = "stored"


def inspected(settings: Settings) -> Inspection:
    """Inspect the database, within a time limit.

    Raises:
        StoreError: The database cannot be opened or read, or does not answer.
    """
    try:
        return call_within(lambda: inspect_database(settings), DATABASE_SECONDS)
    except Unanswered:
        pass
    raise StoreError(
        f"The database did not answer within {DATABASE_SECONDS:g} s.",
        hint=f"Check that {DATABASE_URL} names the right server, that the server is running, and"
        " that this machine can reach it.",
    )


def look_at_database(settings: Settings, found: Inspection) -> Iterator[Finding]:
    """Check that the database is intact, up to date and writable."""
    subject = "database"
    if not found.is_there:
        if found.path is not None and settings.secret_key_file.exists():
            yield _lost(settings, found, found.path)
            return
        yield fine(subject, f"{found.name} does not exist yet; it is created when it is needed.")
        return
    if found.damage:
        yield problem(
            subject,
            f"{found.name} is damaged: {'; '.join(found.damage)}",
            "Copy the damaged database, then restore a backup.",
        )
        return
    if not found.is_known:
        yield problem(
            subject,
            f"{found.name} was written by a newer deploycore (database version {found.revision}).",
            "Upgrade deploycore.",
        )
    elif not found.is_current:
        yield warning(
            subject,
            f"{found.name} was written by an older deploycore. Its content was not checked.",
            "Back it up. Then migrate it by running any command that uses it, such as:"
            " deploycore provider list",
        )
    if found.is_busy:
        yield problem(
            subject,
            f"{found.name} is locked by another process.",
            f"Find the process: fuser {found.path}",
        )
    elif found.path is not None and not os.access(found.path, os.W_OK):
        yield problem(
            subject,
            f"You cannot write to {found.name}.",
            "Run deploycore as the file's owner, or make the file writable for this user.",
        )
    elif (mode := _mode_for_others(found)) is not None:
        said = f"{found.name} can be read by other users of this machine (mode {mode:04o})."
        yield warning(subject, said, f"Restrict access: chmod 600 {found.path}")
    elif found.is_current and not found.damaged:
        yield fine(subject, f"{found.name} is intact and up to date.")
    for error in found.damaged:
        yield problem(subject, error)


def _lost(settings: Settings, found: Inspection, path: Path) -> Finding:
    """Report a missing database. The key exists, so secrets were stored in a database before."""
    key = settings.secret_key_file
    if path.exists():
        said = f"{found.name} is empty, but the key of stored secrets exists: {key}."
        return problem("database", said, "Restore a backup: the database's content is lost.")
    said = f"{found.name} does not exist, but the key of stored secrets exists: {key}."
    return warning(
        "database",
        said,
        f"Check {DATABASE_URL} and {HOME}, or restore a backup. Otherwise deploycore creates a"
        " new database.",
    )


def _mode_for_others(found: Inspection) -> int | None:
    mode = stat.S_IMODE(found.path.stat().st_mode) if found.path is not None else 0
    return mode if mode & 0o077 else None


def look_at_secrets(settings: Settings, found: Inspection) -> Iterator[Finding]:
    """Check that the key and every secret can be read, without printing any."""
    box = SecretBox(settings)
    failures: dict[str, tuple[DeploycoreError, list[str]]] = {}
    try:
        has_key = box.has_key()
    except StoreError as error:
        failures[error.message] = (error, [])
        has_key = True
    secrets = list(_secrets(found))
    elsewhere = [(place, stored) for place, stored in secrets if box.is_elsewhere(stored)]
    for place, stored in secrets:
        if (place, stored) in elsewhere:
            continue
        try:
            _reveal(box, place, stored)
        except DeploycoreError as error:
            failures.setdefault(error.message, (error, []))[1].append(place)
    yield from _open_files(box, secrets)
    yield from _elsewhere(box, elsewhere)
    for failure, places in failures.values():
        needed = f" Needed by: {', '.join(places)}." if places else ""
        subject = "key" if isinstance(failure, StoreError) else "secrets"
        yield problem(subject, failure.message + needed, failure.hint, kind=type(failure))
    if failures:
        return
    if not has_key and not any(is_sealed(stored) for _, stored in secrets):
        yield fine("key", "There is no key yet; it is created when the first secret is stored.")
    else:
        yield fine("key", "The key exists, and only you can read it.")
    if secrets and not elsewhere:
        yield fine("secrets", f"All secrets can be read: {len(secrets)}.")
    elif len(secrets) > len(elsewhere):
        yield fine("secrets", f"All other secrets can be read: {len(secrets) - len(elsewhere)}.")


def _elsewhere(box: SecretBox, secrets: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    """Warn about environment variables that are not set here. A worker or server may have them."""
    places: dict[str, list[str]] = {}
    for place, stored in secrets:
        places.setdefault(box.variable_of(stored) or "", []).append(place)
    for variable, needed in places.items():
        yield warning(
            "secrets",
            f"The environment variable {variable} is not set, or is empty, in this shell. Its"
            f" secret was not checked. Needed by: {', '.join(needed)}.",
            f"Set {variable} for each process that deploys, for example with Environment= in the"
            " worker's service file. To check the secret, run doctor where the variable is set.",
        )


def _open_files(box: SecretBox, secrets: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    """Warn about files with secrets that all users can read."""
    places: dict[Path, list[str]] = {}
    for place, stored in secrets:
        if (path := box.file_of(stored)) is not None:
            places.setdefault(path, []).append(place)
    for path, needed in places.items():
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except OSError:
            continue  # the check that reads the file reports it
        if mode & 0o004:
            said = f"All users of this machine can read the secret in {path} (mode {mode:04o})."
            needed_by = f" Needed by: {', '.join(needed)}."
            yield warning("secrets", said + needed_by, f"Restrict access: chmod o-rwx {path}")


def _secrets(found: Inspection) -> Iterator[tuple[str, str]]:
    """Return each secret's place and stored value; the value is empty if it is missing."""
    for provider in found.providers:
        for field, stored in provider.secrets.items():
            yield f"provider {provider.name} ({field})", stored
    for application in found.applications:
        for name, stored in _secrets_of(application):
            yield f"application {application.name} ({name})", stored


def _secrets_of(application: ApplicationRecord) -> Iterator[tuple[str, str]]:
    for name, value in application.definition.environment.items():
        if isinstance(value, SecretSource):
            is_here = value.secret == _STORED
            yield name, application.secrets.get(name, "") if is_here else value.secret


def _reveal(box: SecretBox, place: str, stored: str) -> None:
    if not stored:
        raise ConfigurationError(
            "A secret of an application is not stored.",
            hint="Store it: deploycore app secret APPLICATION NAME",
        )
    box.reveal(stored if is_sealed(stored) else box.keep_reference(stored))
