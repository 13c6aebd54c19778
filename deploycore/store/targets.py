"""Whether applications have targets of their own, none within another's, in linear time."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping

from deploycore.application import Application
from deploycore.errors import ConfigurationError

__all__ = ["refuse_common_targets", "target_key"]


def target_key(target: str) -> str:
    """What two spellings of one target have in common: targets are compared by it alone."""
    return posixpath.normpath(f"/{target.lstrip('/')}")


def refuse_common_targets(definitions: Iterable[Application], targets: Mapping[str, str]) -> None:
    """Refuse what would leave two applications with one target, or with one in the other's.

    Args:
        definitions: What is to be stored.
        targets: The targets of what is stored, by the application's name.

    Raises:
        ConfigurationError: Says which application has the target already.
    """
    wanted = {each.name: str(each.target) for each in definitions}
    shown = {**targets, **wanted}
    keys = {name: target_key(target) for name, target in shown.items()}
    owners: dict[str, list[str]] = {}
    for name, key in keys.items():
        owners.setdefault(key, []).append(name)
    for name, key in keys.items():
        for other in (each for place in _and_above(key) for each in owners.get(place, ())):
            if other != name and name in wanted:
                raise _common(other, shown[other], shown[name])
            if other != name and other in wanted:
                raise _common(name, shown[name], shown[other])


def _and_above(key: str) -> Iterator[str]:
    yield key
    while (above := posixpath.dirname(key)) != key:
        yield (key := above)


def _common(name: str, target: str, wanted: str) -> ConfigurationError:
    apart = "" if target == wanted else f", which is not apart from {wanted}"
    return ConfigurationError(
        f"The application {name!r} already has the target {target}{apart}.",
        hint="Give each application a directory of its own.",
        application=name,
    )
