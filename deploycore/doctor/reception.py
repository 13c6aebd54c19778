"""Checks for missed webhook deliveries, and for repositories that were renamed or replaced."""

from __future__ import annotations

from collections.abc import Iterator

from deploycore.doctor.finding import Finding, fine, problem, warning
from deploycore.errors import RepositoryReplaced
from deploycore.store.inspection import Inspection
from deploycore.store.reception import RECEIVES_SECONDS
from deploycore.store.records import ApplicationRecord, RepositoryRecord
from deploycore.times import for_people

__all__ = ["look_at_reception", "look_at_repositories"]

_CHECKED_SECONDS = 300.0
"""Workers normally finish these checks within a minute, unless there are very many."""


def look_at_reception(found: Inspection) -> Iterator[Finding]:
    """Check that a server receives deliveries, and that workers have checked for missed pushes."""
    seconds = found.server_seconds
    if found.webhooks and (seconds is None or seconds > RECEIVES_SECONDS):
        for_how_long = "" if seconds is None else f" for {seconds:.0f} s"
        seen = f"No server has been running{for_how_long}"
        yield warning(
            "webhooks",
            f"{seen}: webhook deliveries for {found.webhooks} applications are lost.",
            "Start the server: deploycore serve",
        )
    elif found.webhooks:
        yield fine("webhooks", f"A server sent a heartbeat {seconds:.0f} s ago.")
    if not found.unchecked:
        return
    what = (
        f"Deliveries may have been missed {found.unchecked_seconds:.0f} s ago. Workers still have"
        f" to check {found.unchecked} applications for pushes"
    )
    if found.unchecked_seconds <= _CHECKED_SECONDS:
        yield fine("missed deliveries", f"{what}.")
    else:
        yield warning(
            "missed deliveries",
            f"{what}.",
            "If no worker is running, start one: deploycore worker. Otherwise read its log.",
        )


def look_at_repositories(found: Inspection) -> Iterator[Finding]:
    """Check that each application's repository is still the one that it was deployed from."""
    applications = {each.name: each for each in found.applications}
    for each in found.repositories:
        application = applications.get(each.application)
        if application is not None and each.is_of(application.definition):
            yield from _repository(application, each)


def _repository(application: ApplicationRecord, known: RepositoryRecord) -> Iterator[Finding]:
    name, repository = application.name, application.definition.repository
    subject = f"application {name}"
    if known.other_host_id is not None:
        yield problem(
            subject,
            f"Another repository is named {repository} now. It is not the one that was deployed.",
            "Change the application's repository. To deploy from this one instead, run:"
            f" deploycore app accept-repository {name}",
            kind=RepositoryReplaced,
        )
    elif known.ignored_name is not None and known.ignored_at is not None:
        yield warning(
            subject,
            f"A delivery for {known.ignored_name} was ignored at {for_people(known.ignored_at)},"
            f" because the application deploys {repository}.",
            "If the repository was renamed, change the application's repository. Otherwise remove"
            f" the webhook from {known.ignored_name}.",
        )
    if known.renamed_at is not None and known.former_names:
        yield fine(
            subject,
            f"Its repository {known.former_names[0]} was renamed to {repository} at the host"
            f" (noticed at {for_people(known.renamed_at)}). Write the new name into the"
            " application's file.",
        )
