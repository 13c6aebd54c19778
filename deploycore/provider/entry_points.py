"""The installed entry points of plugins, and the distributions that they come from.

A file of every distribution that is installed must be opened, whichever group is asked for. So all
groups are read at once, and again only if something was installed since. importlib.metadata parses
each of these files, which takes five times as long as to see which of them name deploycore.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from importlib.machinery import PathFinder
from importlib.metadata import Distribution, EntryPoint, entry_points
from typing import Any
from weakref import WeakKeyDictionary

from deploycore.errors import PluginError
from deploycore.provider.search_path import kept_while_unchanged

__all__ = [
    "CONTRACT_GROUP",
    "OBSERVER_GROUP",
    "PROVIDER_GROUP",
    "SANDBOX_GROUP",
    "distribution_name",
    "distribution_of",
    "entry_points_by_name",
    "identity_of",
    "key_of",
    "label_of",
    "normalise_kind",
    "only_one",
]

PROVIDER_GROUP = "deploycore.providers"
OBSERVER_GROUP = "deploycore.observers"
SANDBOX_GROUP = "deploycore.sandboxes"
CONTRACT_GROUP = "deploycore.contracts"

_GROUPS = (PROVIDER_GROUP, OBSERVER_GROUP, SANDBOX_GROUP, CONTRACT_GROUP)
_BEGINNING = b"deploycore."
"""The beginning of the names of all groups."""
_METADATA = ("dist-info", "egg-info")
_UNKNOWN = "an unknown distribution"
_named: WeakKeyDictionary[Distribution, tuple[str, str]] = WeakKeyDictionary()
"""The names and versions of distributions."""


def normalise_kind(kind: str) -> str:
    """Normalize a kind like a distribution name (PEP 503): ``Git_Hub`` and ``git.hub`` become
    ``git-hub``."""
    return _normalise(kind.strip())


def entry_points_by_name(group: str) -> Mapping[str, tuple[EntryPoint, ...]]:
    """The installed entry points of a group by normalised name, each distribution once."""
    found: dict[str, list[EntryPoint]] = {}
    for point in _installed().get(group, ()):
        found.setdefault(normalise_kind(point.name), []).append(point)
    return {name: _each_once(found[name]) for name in sorted(found)}


def _each_once(points: list[EntryPoint]) -> tuple[EntryPoint, ...]:
    # A distribution can be on sys.path twice, as an installation and as its source tree.
    if len(points) == 1:
        return tuple(points)
    found: dict[tuple[str, str], EntryPoint] = {}
    for each in points:
        found.setdefault((distribution_name(each), each.value), each)
    return tuple(found.values())


@kept_while_unchanged
def _installed() -> Mapping[str, list[EntryPoint]]:
    """The entry points of all groups of deploycore, by group."""
    if _are_found_otherwise():
        return {group: list(entry_points(group=group)) for group in _GROUPS}
    found: dict[str, list[EntryPoint]] = {}
    for distribution in _candidates():
        for point in distribution.entry_points:
            found.setdefault(point.group, []).append(point)
    return found


def _are_found_otherwise() -> bool:
    """Whether a finder of its own finds distributions, such as that of an embedding program."""
    return any(
        hasattr(each, "find_distributions") for each in sys.meta_path if each is not PathFinder
    )


def _candidates() -> Iterator[Distribution]:
    """The distributions on ``sys.path`` that may have entry points of deploycore, without those
    that an earlier place on ``sys.path`` hides."""
    seen: set[str] = set()
    for place in sys.path:
        try:
            names = [] if place.lower().endswith(".egg") else os.listdir(place or os.curdir)
        except OSError:
            names = []
        for name in names:
            stem, _, kind = name.rpartition(".")
            if kind.lower() not in _METADATA:
                continue
            distribution = _normalise(stem.partition("-")[0])
            if distribution in seen:
                continue
            seen.add(distribution)
            path = os.path.join(place, name)
            if _names_deploycore(os.path.join(path, "entry_points.txt")):
                yield Distribution.at(path)
        for found in () if names else Distribution.discover(path=[place]):  # such as an archive's
            distribution = _normalise(found.metadata["Name"] or "")
            if distribution not in seen:
                seen.add(distribution)
                yield found


def _names_deploycore(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return _BEGINNING in file.read()
    except OSError:
        return False


def _normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def only_one(kind: str, points: tuple[EntryPoint, ...]) -> EntryPoint:
    """Return the entry point of a kind, if exactly one distribution has it.

    Raises:
        PluginError: Several distributions have it. The message names them.
    """
    if len(points) > 1:
        rivals = " and ".join(sorted(label_of(point) for point in points))
        raise PluginError(
            f"The kind {kind!r} is provided by {rivals}; deploycore cannot choose between them.",
            hint="Uninstall all but one of them.",
            kind=kind,
        )
    return points[0]


def label_of(point: EntryPoint) -> str:
    """Return the name and version of an entry point's plugin, for errors."""
    return " ".join(distribution_of(point)).strip()


def identity_of(point: EntryPoint) -> tuple[str, ...]:
    """Return a value that distinguishes an entry point from those of other installations and
    versions."""
    return (*key_of(point), distribution_of(point)[1])


def key_of(point: EntryPoint) -> tuple[str, str, str, str]:
    """Return a value that distinguishes an entry point from those of other installations."""
    place = str(point.dist.locate_file("")) if point.dist else ""
    return point.group, point.name, point.value, place


def distribution_name(point: EntryPoint) -> str:
    """Return the name of an entry point's distribution."""
    return distribution_of(point)[0]


def distribution_of(point: EntryPoint) -> tuple[str, str]:
    """Return the name and version of an entry point's distribution, the version empty if unknown.

    The metadata is read once: each reading parses all of it, with the description. An installation
    that was cut off may have none.
    """
    if point.dist is None:
        return _UNKNOWN, ""
    if point.dist not in _named:
        metadata: Any = point.dist.metadata or {}  # ``None`` in some versions of Python
        _named[point.dist] = metadata.get("Name", _UNKNOWN), metadata.get("Version", "")
    return _named[point.dist]
