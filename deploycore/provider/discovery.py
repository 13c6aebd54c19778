"""Find the installed plugins by their entry points, without importing them or the contract."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points

__all__ = [
    "CONTRACT_GROUP",
    "OBSERVER_GROUP",
    "PROVIDER_GROUP",
    "SANDBOX_GROUP",
    "distribution_name",
    "entry_points_by_name",
    "normalise_kind",
]

PROVIDER_GROUP = "deploycore.providers"
OBSERVER_GROUP = "deploycore.observers"
SANDBOX_GROUP = "deploycore.sandboxes"
CONTRACT_GROUP = "deploycore.contracts"


def normalise_kind(kind: str) -> str:
    """Normalize a kind like a distribution name (PEP 503): ``Git_Hub`` and ``git.hub`` become
    ``git-hub``."""
    return re.sub(r"[-_.]+", "-", kind.strip()).lower()


def entry_points_by_name(group: str) -> Mapping[str, tuple[EntryPoint, ...]]:
    """The installed entry points of a group by normalised name, each distribution once."""
    found: dict[str, dict[tuple[str, str], EntryPoint]] = {}
    for point in entry_points(group=group):
        # A distribution can be on sys.path twice, as an installation and as its source tree.
        identity = (distribution_name(point), point.value)
        found.setdefault(normalise_kind(point.name), {}).setdefault(identity, point)
    return {name: tuple(found[name].values()) for name in sorted(found)}


def distribution_name(point: EntryPoint) -> str:
    """The name of the distribution that an entry point belongs to."""
    return point.dist.name if point.dist else "an unknown distribution"
