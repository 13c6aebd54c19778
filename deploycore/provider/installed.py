"""Report the installed providers, observers and sandboxes, their hooks and their problems.

All plugins are imported for this. A plugin that is broken or hangs does not affect the others.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import Distribution, EntryPoint
from inspect import getattr_static, isclass
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

from deploycore.errors import ConfigurationError, PluginError
from deploycore.provider.display import display_name_of, name_from, summary_of
from deploycore.provider.entry_points import (
    OBSERVER_GROUP,
    PROVIDER_GROUP,
    SANDBOX_GROUP,
    distribution_of,
    entry_points_by_name,
)
from deploycore.provider.observer_settings import configured, read_observer_settings
from deploycore.provider.observers import observer_hooks
from deploycore.provider.registry import (
    check_provider_class,
    examine_each,
    implemented_hooks,
    imported,
    label_of,
    only_one,
)
from deploycore.sandbox import ProviderSandbox
from deploycore.settings import home_directory

__all__ = ["Origin", "PluginReport", "PluginType", "location_of", "plugin_reports"]

PluginType = Literal["provider", "observer", "sandbox"]

_SHOWN_CHARACTERS = 40


@dataclass(frozen=True)
class Origin:
    """The distribution of a plugin.

    Attributes:
        distribution: The name of the distribution.
        version: Its version.
        entry_point: The value of the entry point: ``module:attribute``.
        location: The directory that contains the distribution; empty if it is unknown.
        is_editable: Whether it is an editable installation of a source tree.
    """

    distribution: str
    version: str
    entry_point: str
    location: str
    is_editable: bool

    @property
    def label(self) -> str:
        """How errors name the plugin."""
        return f"{self.distribution} {self.version}".strip()


@dataclass(frozen=True)
class PluginReport:
    """An installed plugin.

    Attributes:
        type: Provider, observer or sandbox.
        kind: The kind of a provider or sandbox, or the name of an observer.
        origins: The distributions. There are several if they have the same kind.
        contract_version: The contract version that a provider states; ``None`` if it has none, or
            if it cannot be read.
        hooks: The hooks that it implements.
        problem: The reason why it cannot be used; ``None`` if it can.
        display_name: Its name for people.
        summary: What it is for, in one sentence; may be empty.
    """

    type: PluginType
    kind: str
    origins: tuple[Origin, ...]
    contract_version: int | str | None
    hooks: tuple[str, ...]
    problem: PluginError | None
    display_name: str = ""
    summary: str = ""


@dataclass(frozen=True)
class _Seen:
    """The visible properties of a plugin that could be imported."""

    contract_version: int | str | None = None
    hooks: tuple[str, ...] = ()
    problem: PluginError | None = None
    plugin_class: object = None


def plugin_reports() -> tuple[PluginReport, ...]:
    """Return a report for every installed plugin. Broken plugins and those that hang are
    included."""
    reports: list[PluginReport | None] = []
    examinations: list[tuple[EntryPoint, Callable[[], _Seen]]] = []
    places: list[tuple[PluginType, str]] = []
    for kind, points in entry_points_by_name(PROVIDER_GROUP).items():
        reports.append(_rivals("provider", kind, points))
        if reports[-1] is None:
            examinations.append((points[0], partial(_provider, points[0])))
            places.append(("provider", kind))
    for name, points in entry_points_by_name(OBSERVER_GROUP).items():
        for point in points:  # all of them are reported
            reports.append(None)
            examinations.append((point, partial(_observer, name, point)))
            places.append(("observer", name))
    for kind, points in entry_points_by_name(SANDBOX_GROUP).items():
        reports.append(_rivals("sandbox", kind, points))
        if reports[-1] is None:
            examinations.append((points[0], partial(_sandbox, points[0])))
            places.append(("sandbox", kind))
    outcomes = examine_each(examinations)
    seen = iter(
        _report(type_, kind, point, outcome)
        for (type_, kind), (point, _), outcome in zip(places, examinations, outcomes, strict=True)
    )
    return tuple(next(seen) if report is None else report for report in reports)


def location_of(distribution: Distribution) -> tuple[str, bool]:
    """Return the directory that contains a distribution, and whether it is an editable
    installation.

    Source: the "Direct URL Origin" specification of PyPA, ``direct_url.json``.
    """
    try:
        direct = json.loads(distribution.read_text("direct_url.json") or "{}")
        if direct.get("dir_info", {}).get("editable"):
            return url2pathname(urlsplit(direct["url"]).path), True
    except (ValueError, KeyError, AttributeError, TypeError, OSError):
        pass  # then it is unknown from where it was installed, but not where it is
    return str(distribution.locate_file("")), False


def _rivals(type_: PluginType, kind: str, points: tuple[EntryPoint, ...]) -> PluginReport | None:
    try:
        only_one(kind, points)
    except PluginError as error:
        origins = tuple(map(_origin, points))
        return PluginReport(type_, kind, origins, None, (), error, name_from(kind))
    return None


def _report(
    type_: PluginType, kind: str, point: EntryPoint, outcome: _Seen | PluginError
) -> PluginReport:
    seen = _Seen(problem=outcome) if isinstance(outcome, PluginError) else outcome
    origins = (_origin(point),)
    return PluginReport(
        type_,
        kind,
        origins,
        seen.contract_version,
        seen.hooks,
        seen.problem,
        display_name_of(seen.plugin_class, kind),
        summary_of(seen.plugin_class),
    )


def _origin(point: EntryPoint) -> Origin:
    location, is_editable = location_of(point.dist) if point.dist else ("", False)
    name, version = distribution_of(point)
    return Origin(name, version, point.value, location, is_editable)


def _provider(point: EntryPoint) -> _Seen:
    candidate = imported(point)
    problem = None
    try:
        check_provider_class(candidate, plugin=label_of(point))
    except PluginError as error:
        problem = error
    version = _version(getattr(candidate, "API_VERSION", None))
    return _Seen(version, implemented_hooks(candidate), problem, candidate)


def _version(value: Any) -> int | str | None:
    if value is None or type(value) is int:
        return value
    return repr(value)[:_SHOWN_CHARACTERS]


def _observer(name: str, point: EntryPoint) -> _Seen:
    candidate = imported(point)
    try:
        hooks = observer_hooks(name, candidate)
    except PluginError as error:
        return _Seen(problem=_unusable(point, error.message))
    try:
        configured(candidate, name, read_observer_settings(home_directory()).get(name, {}))
    except ConfigurationError as error:  # the plugin itself can be used
        problem = PluginError(error.message, hint=error.hint, plugin=label_of(point))
        return _Seen(hooks=hooks, problem=problem, plugin_class=candidate)
    except PluginError as error:
        problem = _unusable(point, error.message)
        return _Seen(hooks=hooks, problem=problem, plugin_class=candidate)
    return _Seen(hooks=hooks, plugin_class=candidate)


def _sandbox(point: EntryPoint) -> _Seen:
    candidate = imported(point)
    wanted = [name for name in vars(ProviderSandbox) if not name.startswith("_")]
    if not isclass(candidate):
        return _Seen(problem=_unusable(point, "It is no class."))
    missing = [name for name in wanted if getattr_static(candidate, name, None) is None]
    if missing:
        return _Seen(problem=_unusable(point, f"It has no {', '.join(missing)}."))
    return _Seen()


def _unusable(point: EntryPoint, reason: str) -> PluginError:
    return PluginError(
        f"The plugin {label_of(point)} cannot be used: {reason}",
        hint="Upgrade the plugin. If that does not help, report this to its author.",
        plugin=label_of(point),
    )
