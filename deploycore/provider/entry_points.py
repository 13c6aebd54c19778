"""The installed entry points of plugins, and the distributions that they come from.

importlib.metadata opens a file of every distribution that is installed, whichever group is asked
for. So all groups are read at once, and again only if something was installed since.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import Distribution, EntryPoint, entry_points
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from deploycore.errors import PluginError
from deploycore.provider.search_path import kept_while_unchanged

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints, SelectableGroups

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

_UNKNOWN = "an unknown distribution"
_named: WeakKeyDictionary[Distribution, tuple[str, str]] = WeakKeyDictionary()
"""The names and versions of distributions."""


def normalise_kind(kind: str) -> str:
    """Normalize a kind like a distribution name (PEP 503): ``Git_Hub`` and ``git.hub`` become
    ``git-hub``."""
    return re.sub(r"[-_.]+", "-", kind.strip()).lower()


def entry_points_by_name(group: str) -> Mapping[str, tuple[EntryPoint, ...]]:
    """The installed entry points of a group by normalised name, each distribution once."""
    found: dict[str, list[EntryPoint]] = {}
    for point in _installed().select(group=group):
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
def _installed() -> EntryPoints | SelectableGroups:
    return entry_points()


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
    """Return what tells an entry point from those of other installations and versions."""
    return (*key_of(point), distribution_of(point)[1])


def key_of(point: EntryPoint) -> tuple[str, str, str, str]:
    """Return what tells an entry point from those of other installations."""
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
