"""Checks for files that could not be removed, and for files among releases that others created."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator
from contextlib import suppress

from deploycore.deploy.cleaning import strangers_told
from deploycore.deploy.releases import Releases
from deploycore.disk.removal import Remains, shown
from deploycore.doctor.finding import Finding, warning
from deploycore.errors import DeployError
from deploycore.git import RepositoryCache
from deploycore.settings import Settings
from deploycore.store.inspection import Inspection, known_releases
from deploycore.store.records import ApplicationRecord

__all__ = ["look_at_leftovers"]

_MIB = 1024 * 1024
_SHOWN = 3
_FIXED = 3


def look_at_leftovers(settings: Settings, found: Inspection) -> Iterator[Finding]:
    """Check for files of applications, previews and the cache that could not be removed."""
    here = [each for each in found.applications if _is_here(each.definition.host)]
    for application in here:
        releases = Releases(application.definition.target)
        if not releases.is_locked():  # a running deployment may be about to remove them
            yield from _told(
                f"application {application.name}",
                releases.leftovers(),
                "The next deployment and deploycore recover try again.",
            )
    for preview in found.ended_previews:
        if _is_here(preview.host):
            left = Releases(preview.target).leftovers_beside()
            yield from _told(f"preview {preview.name}", left, "The worker tries again.")
    cache = RepositoryCache(settings.git_cache).leftovers()
    yield from _told("cache", cache, "The next deployment tries again.")
    yield from _strangers(settings, here)


def _told(subject: str, left: list[Remains], again: str) -> Iterator[Finding]:
    if not left:
        return
    listed = ", ".join(shown(each.path) for each in left[:_SHOWN])
    more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
    entries, size = sum(each.entries for each in left), sum(each.bytes for each in left) / _MIB
    yield warning(
        subject,
        f"{entries} files and directories ({size:.1f} MiB) could not be removed: {listed}{more}.",
        f"They may be owned by another user, immutable, or mounted. Make them removable, or remove"
        f" them yourself. {again}",
    )


def _strangers(settings: Settings, applications: list[ApplicationRecord]) -> Iterator[Finding]:
    wanted: dict[str, list[str]] = {}
    for application in applications:
        with suppress(DeployError):  # the check of the target reports it
            wanted[application.name] = Releases(application.definition.target).strangers(())
    if not any(wanted.values()):
        return
    known = known_releases(settings, wanted)
    for application in applications:
        name = application.name
        if name in known:
            yield from _surplus(application, known[name])
        strange = [each for each in wanted.get(name, ()) if each not in known[name]]
        if strange:
            directory = Releases(application.definition.target).directory
            yield warning(
                f"application {name}",
                f"{strangers_told(directory, strange)}.",
                f"Move it out of {directory}, or remove it if it is not needed.",
            )


def _surplus(application: ApplicationRecord, known: Collection[str]) -> Iterator[Finding]:
    """Find releases that could not even be renamed for their removal, for example because a file
    system is mounted there."""
    releases, keep = Releases(application.definition.target), application.definition.keep
    made = [each for each in releases.names() if each in known]
    # The live release, the previous one, and the one that a rollback goes to stay in any case.
    if len(made) > max(keep, _FIXED) and not releases.is_locked():
        yield warning(
            f"application {application.name}",
            f"{releases.directory} has {len(made)} releases, although {keep} are to be kept.",
            "The next deployment removes the others. If they stay, its log says why: deploycore"
            f" logs {application.name}",
        )


def _is_here(host: str | None) -> bool:
    return host in (None, socket.gethostname())
