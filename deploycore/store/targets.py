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
    owners: dict[str, str] = {}
    for name in (*(each for each in targets if each not in wanted), *wanted):
        other = owners.setdefault(keys[name], name)
        if other != name and name in wanted:
            raise _common(other, f"has the target {shown[other]}")
    inside = {above: name for name, key in keys.items() for above in _above(key)}
    for name in wanted:
        above = (owners[each] for each in _above(keys[name]) if each in owners)
        found = inside.get(keys[name]) or next(above, None)
        if found is not None:
            raise _common(
                found, f"has the target {shown[found]}, which is not apart from {shown[name]}"
            )


def _above(key: str) -> Iterator[str]:
    while key not in ("/", ""):
        key = posixpath.dirname(key)
        yield key


def _common(name: str, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"The application {name!r} already {what}.",
        hint="Give each application a directory of its own.",
        application=name,
    )
