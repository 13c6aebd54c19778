"""Targets are apart: no two applications have one, nor one that is within another's.

Compared as they are written, and as they resolve on the machine that wrote them. Links change
later, so the engine compares again when a deployment's turn comes (``deploy.ownership``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from sqlalchemy import Connection, select

from deploycore.application import Application
from deploycore.errors import ConfigurationError
from deploycore.store.tables import applications

__all__ = ["refuse_common_targets", "resolve_targets"]


def resolve_targets(definitions: Iterable[Application]) -> dict[str, Path]:
    """What each application's target resolves to now; to be asked for before a transaction.

    What does not exist on this machine stays as it is written.
    """
    return {each.name: Path(os.path.realpath(each.target)) for each in definitions}


def refuse_common_targets(
    connection: Connection, definitions: Iterable[Application], resolved: Mapping[str, Path]
) -> None:
    """Refuse what would leave two applications with one target, or with one in the other's.

    Args:
        definitions: The applications that are about to be written.
        resolved: What ``resolve_targets`` gave for them.

    Raises:
        ConfigurationError: The targets of two applications are not apart.
    """
    c = applications.c
    known = connection.execute(select(c.name, c.target, c.resolved_target))
    targets = {
        row.name: (str(row.target), str(row.resolved_target or ""))
        for row in known
        if isinstance(row.target, Path)  # damaged otherwise
    }
    new = {each.name: (str(each.target), str(resolved[each.name])) for each in definitions}
    targets |= new
    owners: dict[str, list[str]] = {}
    for name, places in targets.items():
        for place in filter(None, set(places)):
            owners.setdefault(place, []).append(name)
    for name, places in targets.items():
        for other in {other for each in places for other in _owners_of(each, owners)} - {name}:
            if name in new:
                raise _common_target(other, targets[other][0], targets[name][0])
            if other in new:
                raise _common_target(name, targets[name][0], targets[other][0])


def _owners_of(place: str, owners: Mapping[str, Iterable[str]]) -> Iterator[str]:
    for each in _and_above(place) if place else ():
        yield from owners.get(each, ())


def _and_above(place: str) -> Iterator[str]:
    yield place
    while (above := os.path.dirname(place)) != place:
        yield (place := above)


def _common_target(name: str, target: str, wanted: str) -> ConfigurationError:
    apart = "" if target == wanted else f", which is not apart from {wanted}"
    return ConfigurationError(
        f"The application {name!r} already has the target {target}{apart}.",
        hint="Give each application a directory of its own.",
        application=name,
    )
