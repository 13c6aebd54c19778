"""Run all checks, causes before effects. A check that fails does not stop the others.

Each check imports what it needs when it runs, because modules may be missing from a broken
installation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from deploycore.distribution import report_hint
from deploycore.doctor.finding import Finding, problem
from deploycore.errors import DeploycoreError
from deploycore.provider.background import BackgroundCall
from deploycore.settings import Settings

__all__ = ["diagnose"]

LOOK_SECONDS = 60.0
"""Maximum time for one check of files: a network file system may never answer."""


def diagnose(
    read_settings: Callable[[], Settings] = Settings.from_environment, *, offline: bool = False
) -> Iterator[Finding]:
    """Check everything that an installation needs, without changing anything.

    Args:
        read_settings: Reads the settings (default: from the environment).
        offline: Whether to skip checks that need the network.

    Returns:
        The findings, as they are made; those of one subject are together.
    """
    from deploycore.doctor.machine import look_at_software

    yield from _attempt("deploycore", look_at_software)
    yield from _attempt("plugins", _plugins)
    try:
        settings = read_settings()
    except DeploycoreError as error:
        yield problem("settings", error)
        return
    yield from _attempt("installation", lambda: _look_at(settings, offline=offline))


def _plugins() -> Iterator[Finding]:
    from deploycore.doctor.plugins import look_at_plugins

    yield from look_at_plugins()


def _look_at(settings: Settings, *, offline: bool) -> Iterator[Finding]:
    from deploycore.doctor import (
        applications,
        database,
        leftovers,
        machine,
        providers,
        reception,
        workers,
    )
    from deploycore.store.inspection import Inspection

    yield from _in_time("data directory", lambda: machine.look_at_home(settings))
    found = Inspection("", None, is_there=False)
    try:
        found = database.inspected(settings)
    except DeploycoreError as error:
        yield problem("database", error)
    except Exception as error:
        yield _unforeseen("database", error)
    else:
        yield from _in_time("database", lambda: database.look_at_database(settings, found))
    targets = [each.definition.target for each in found.applications]
    yield from _in_time("disk", lambda: machine.look_at_disks(settings, targets))
    yield from _in_time("locks", lambda: applications.look_at_locks(settings))
    yield from _in_time("key", lambda: database.look_at_secrets(settings, found))
    yield from _attempt(
        "providers",
        lambda: providers.look_at_providers(settings, found.providers, offline=offline),
    )
    yield from _in_time("applications", lambda: applications.look_at_targets(found))
    yield from _in_time("leftovers", lambda: leftovers.look_at_leftovers(settings, found))
    yield from _in_time("repositories", lambda: reception.look_at_repositories(found))
    yield from _in_time("webhooks", lambda: reception.look_at_reception(found))
    yield from _in_time("workers", lambda: workers.look_at_workers(found))
    yield from _in_time("clock", lambda: workers.look_at_clock(found))
    yield from _in_time("deployments", lambda: applications.look_at_deployments(settings, found))


def _attempt(subject: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except DeploycoreError as error:
        yield problem(subject, error)
    except Exception as error:
        yield _unforeseen(subject, error)


def _in_time(subject: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Run a check that has no time limit of its own."""
    found: list[Finding] = []
    call = BackgroundCall(lambda: found.extend(_attempt(subject, look)))
    done = call.wait(LOOK_SECONDS)
    yield from tuple(found)
    if done:
        call.result()
        return
    call.leave(lambda result: None)
    yield problem(
        subject,
        f"The check did not end within {LOOK_SECONDS:g} s.",
        "Check the disks and the network file systems of this machine.",
    )


def _unforeseen(subject: str, error: Exception) -> Finding:
    """Describe an unexpected error by its type. Its text may contain a secret."""
    return problem(
        subject,
        f"The check failed because of an unexpected error: {type(error).__name__}.",
        report_hint(),
        kind=DeploycoreError,
    )
