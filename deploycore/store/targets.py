"""Keep targets separate: no application's target is the same as another one, or inside it.

Targets are compared as written, and as resolved on the machine that stored them, in linear time.
Links can change later, so the engine compares again when a deployment starts
(``deploy.ownership``).
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from deploycore.applications.application import Application
from deploycore.errors import ConfigurationError
from deploycore.store.named import Row, Statements

__all__ = [
    "Places",
    "lock_targets",
    "newest_target",
    "places_of",
    "refuse_common_targets",
    "stored_targets",
]

_FEW = 10
_LOCK = 7023648103  # the number that this lock has in PostgreSQL
_DOUBLE = "//"  # a path may begin with this; it has the same meaning as one slash


class Places(NamedTuple):
    """The directories that a target refers to.

    Attributes:
        written: The target as written; ``None`` if the stored value cannot be read.
        resolved: The resolved target when it was stored; ``None`` if it is unknown.
    """

    written: Path | None
    resolved: Path | None


def places_of(definitions: Iterable[Application]) -> dict[str, Places]:
    """Return the places of each application's target. Call it before a transaction.

    A path that does not exist on this machine is used as written.
    """
    return {
        each.name: Places(each.target, Path(os.path.realpath(each.target))) for each in definitions
    }


def lock_targets(statements: Statements) -> None:
    """Let no other transaction compare targets until this one ends. Otherwise, two new targets
    could be stored of which each was compared before the other was there. Call it first in a
    transaction."""
    statements.lock(_LOCK)


def stored_targets(
    statements: Statements, wanted: Mapping[str, Places] | None = None
) -> dict[str, Places]:
    """Return the stored targets, by application.

    Args:
        wanted: Return only targets that could collide with these; the result may contain others. If
            there are few, the database searches for them.
    """
    if wanted is None or len(wanted) > _FEW:
        rows = iter(statements.run("targets").rows)
    else:
        rows = _near(statements, wanted)
    return {
        row["name"]: Places(_readable(row["target"]), _readable(row["resolved_target"]))
        for row in rows
        if isinstance(row["name"], str)
    }


def newest_target(statements: Statements) -> Path | None:
    """Return the target of the application that was added last, without previews; ``None`` if there
    is none, or it cannot be read."""
    return _readable(statements.run("newest target").value)


def _readable(path: object) -> Path | None:
    return path if isinstance(path, Path) else None


def refuse_common_targets(wanted: Mapping[str, Places], stored: Mapping[str, Places]) -> None:
    """Raise an error if two applications would have the same target, or one inside the other.

    Args:
        wanted: The new targets, by application.
        stored: The stored targets, by application.

    Raises:
        ConfigurationError: There is a collision. The message names the other application.
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


def _near(statements: Statements, wanted: Mapping[str, Places]) -> Iterator[Row]:
    """Return the applications with some names, and those whose targets are equal to these, are
    inside them, or contain them."""
    yield from statements.run("targets of applications", names=list(wanted)).rows
    keys = {key for each in wanted.values() for key in _keys(each)}
    above = sorted({place for key in keys for place in _and_above(key)})
    for noun in ("targets", "resolved targets"):
        yield from statements.run(f"{noun} at", places=above).rows
        for prefix in (_DOUBLE, *(f"{key.rstrip('/')}/" for key in keys)):
            end = prefix[:-1] + chr(ord("/") + 1)
            yield from statements.run(f"{noun} within", first=prefix, end=end).rows


def _keys(places: Places) -> set[str]:
    """Return keys that are the same for all spellings of a target. Targets are compared by them."""
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
