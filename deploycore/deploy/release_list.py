"""The releases of an application that are on disk, with the deployments that made them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deploycore.deploy.releases import Releases
from deploycore.deployment_records import DeploymentRecord
from deploycore.records import record

__all__ = ["Release", "list_releases"]


@record
class Release:
    """A release that is on disk.

    Attributes:
        path: Its directory.
        is_live: Whether ``current`` leads to it.
        deployment: The deployment that made it; ``None`` if that is no longer known.
    """

    name: str
    path: Path
    is_live: bool
    deployment: DeploymentRecord | None


def list_releases(
    on_disk: Releases, find_makers: Callable[[Sequence[str]], Mapping[str, DeploymentRecord]]
) -> list[Release]:
    """The releases of a target, the newest first.

    Args:
        find_makers: Returns the deployments that made some releases, by the release's name.
    """
    names, current = on_disk.names(), on_disk.current
    known = find_makers(names)
    found = [
        Release(name, path, path == current, known.get(name))
        for name, path in ((name, on_disk.directory / name) for name in names)
    ]
    return sorted(found, key=lambda each: (_order(each), each.name), reverse=True)


def _order(release: Release) -> int:
    """Return the sort key for the order in which releases were made; a release without a record is
    the oldest."""
    return release.deployment.id if release.deployment else 0
