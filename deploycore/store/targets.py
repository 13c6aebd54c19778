"""Targets are apart: no two applications have one, nor one that is within another's.

Compared as they are written, and as they resolve on the machine that wrote them; in linear time.
Links change later, so the engine compares again when a deployment's turn comes
(``deploy.ownership``).
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, Text, select, type_coerce

from deploycore.applications.application import Application
from deploycore.errors import ConfigurationError
from deploycore.store.tables import applications

__all__ = ["Places", "places_of", "refuse_common_targets", "stored_targets"]

_FEW = 10
_DOUBLE = "//"  # what a path may begin with that means the same


class Places(NamedTuple):
    """The directories that a target names.

    Attributes:
        written: The target as it is written; ``None`` where the stored one cannot be read.
        resolved: What it led to when it was written; ``None`` where that is not known.
    """

    written: Path | None
    resolved: Path | None


def places_of(definitions: Iterable[Application]) -> dict[str, Places]:
    """What each application's target is, and resolves to now; to be asked for before a transaction.

    What does not exist on this machine stays as it is written.
    """
    return {
        each.name: Places(each.target, Path(os.path.realpath(each.target))) for each in definitions
    }


def stored_targets(
    connection: Connection, wanted: Mapping[str, Places] | None = None
) -> dict[str, Places]:
    """The targets of applications, by the applications' names.

    Args:
        wanted: Only what these may replace or collide with; some others may be among it. Where
            there are few, the database looks them up.
    """
    c = applications.c
    query = select(c.name, c.target, c.resolved_target)
    queries = [query]
    if wanted is not None and len(wanted) <= _FEW:
        is_postgresql = connection.dialect.name == "postgresql"
        queries = [query.where(each) for each in _near(wanted, is_postgresql=is_postgresql)]
    return {
        row.name: Places(*(each if isinstance(each, Path) else None for each in row[1:]))
        for each in queries
        for row in connection.execute(each)
        if isinstance(row.name, str)
    }


def refuse_common_targets(wanted: Mapping[str, Places], stored: Mapping[str, Places]) -> None:
    """Refuse what would leave two applications with one target, or with one in the other's.

    Args:
        wanted: The targets of what is to be stored, by the application's name.
        stored: The targets of what is stored.

    Raises:
        ConfigurationError: Says which application has the target already.
    """
    places = {**stored, **wanted}
    keys = {name: _keys(each) for name, each in places.items()}
    owners: dict[str, list[str]] = {}
    for name, own in keys.items():
        for key in own:
            owners.setdefault(key, []).append(name)
    for name, own in keys.items():
        for place in (place for key in own for place in _and_above(key)):
            for other in owners.get(place, ()):
                if other != name and name in wanted:
                    raise _common(other, places[other], places[name])
                if other != name and other in wanted:
                    raise _common(name, places[name], places[other])


def _near(wanted: Mapping[str, Places], *, is_postgresql: bool) -> Iterator[ColumnElement[bool]]:
    """Conditions for the applications of some names, and for those whose targets are, or are
    within, or hold, these."""
    yield applications.c.name.in_(wanted)
    keys = {key for each in wanted.values() for key in _keys(each)}
    above = {place for key in keys for place in _and_above(key)}
    for column in (applications.c.target, applications.c.resolved_target):
        place: ColumnElement[str] = type_coerce(column, Text)
        yield place.in_(above)
        # Other collations put '/' elsewhere, or leave it out.
        exact = place.collate("C") if is_postgresql else place
        for prefix in (_DOUBLE, *(f"{key.rstrip('/')}/" for key in keys)):
            yield (exact >= prefix) & (exact < prefix[:-1] + chr(ord("/") + 1))


def _keys(places: Places) -> set[str]:
    """What two spellings of one target have in common: targets are compared by it alone."""
    return {posixpath.normpath(f"/{str(each).lstrip('/')}") for each in places if each is not None}


def _and_above(key: str) -> Iterator[str]:
    yield key
    while (above := posixpath.dirname(key)) != key:
        yield (key := above)


def _common(name: str, places: Places, wanted: Places) -> ConfigurationError:
    target, other = places.written or places.resolved, wanted.written or wanted.resolved
    apart = "" if target == other else f", which is not apart from {other}"
    return ConfigurationError(
        f"The application {name!r} already has the target {target}{apart}.",
        hint="Give each application a directory of its own.",
        application=name,
    )
