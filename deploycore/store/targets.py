"""Whether applications have targets of their own, none within another's, in linear time."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, Text, select, type_coerce

from deploycore.application import Application
from deploycore.errors import ConfigurationError
from deploycore.store.tables import applications

__all__ = ["refuse_common_targets", "stored_targets", "target_key"]

_FEW = 10
_DOUBLE = "//"  # what a path may begin with that means the same


def target_key(target: str) -> str:
    """What two spellings of one target have in common: targets are compared by it alone."""
    return posixpath.normpath(f"/{target.lstrip('/')}")


def stored_targets(
    connection: Connection, definitions: Sequence[Application] | None = None
) -> dict[str, str]:
    """The targets of applications, as they are written, by the applications' names.

    Args:
        definitions: Only what these may replace or collide with; some others may be among it. Where
            there are few, the database looks them up.
    """
    name, target = applications.c.name, type_coerce(applications.c.target, Text)
    query = select(name, target)
    if definitions is None or len(definitions) > _FEW:
        return {row[0]: row[1] for row in connection.execute(query)}
    keys = [target_key(str(each.target)) for each in definitions]
    conditions: list[ColumnElement[bool]] = [
        name.in_([each.name for each in definitions]),
        target.in_({place for key in keys for place in _and_above(key)}),
    ]
    exact: ColumnElement[str] = target
    if connection.dialect.name == "postgresql":
        exact = exact.collate("C")  # others put '/' elsewhere, or leave it out
    for prefix in (_DOUBLE, *(f"{key.rstrip('/')}/" for key in keys)):
        conditions.append((exact >= prefix) & (exact < prefix[:-1] + chr(ord("/") + 1)))
    found: dict[str, str] = {}
    for condition in conditions:
        found |= {row[0]: row[1] for row in connection.execute(query.where(condition))}
    return found


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
