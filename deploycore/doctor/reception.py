"""Deliveries of webhooks that may be missed, and repositories that are not what they were."""

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
"""Checks are done within a minute where there are not very many."""


def look_at_reception(found: Inspection) -> Iterator[Finding]:
    """Whether a server receives deliveries, and what was missed meanwhile has been looked for."""
    seconds = found.server_seconds
    if found.webhooks and (seconds is None or seconds > RECEIVES_SECONDS):
        for_how_long = "" if seconds is None else f" for {seconds:.0f} s"
        seen = f"No server was seen{for_how_long}"
        yield warning(
            "webhooks",
            f"{seen}: deliveries for {found.webhooks} applications are lost.",
            "Start the server: deploycore serve",
        )
    elif found.webhooks:
        yield fine("webhooks", f"A server was seen {seconds:.0f} s ago.")
    if not found.unchecked:
        return
    what = (
        f"Deliveries may have been missed {found.unchecked_seconds:.0f} s ago, and"
        f" {found.unchecked} applications are still to be checked for pushes"
    )
    if found.unchecked_seconds <= _CHECKED_SECONDS:
        yield fine("missed deliveries", f"{what}.")
    else:
        yield warning(
            "missed deliveries",
            f"{what}.",
            "Start a worker, or see a running worker's log: deploycore worker",
        )


def look_at_repositories(found: Inspection) -> Iterator[Finding]:
    """Whether each application's repository is still the one that it was deployed from."""
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
            f"{repository} is another repository now than the one that was deployed.",
            "Change the application's repository. If it is to be deployed from this one:"
            f" deploycore app accept-repository {name}",
            kind=RepositoryReplaced,
        )
    elif known.ignored_name is not None and known.ignored_at is not None:
        yield warning(
            subject,
            f"A delivery about {known.ignored_name} was ignored at"
            f" {for_people(known.ignored_at)}, since {repository} is deployed.",
            "If the repository was renamed, change the application's repository. Otherwise remove"
            f" the webhook from {known.ignored_name}.",
        )
    if known.renamed_at is not None and known.former_names:
        yield fine(
            subject,
            f"Its repository {known.former_names[0]} was renamed {repository} at the host, as was"
            f" learned at {for_people(known.renamed_at)}. Write the new name where the"
            " application is declared.",
        )
