"""The kinds of providers that can be added, with the fields of each way to sign in.

The dashboard and the REST API create their forms from this module's results, which come from the
plugins' ``Config``. So a plugin needs no code for its form.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import EntryPoint
from typing import Any

from deploycore.configuration import (
    ConfigField,
    ProviderConfig,
    config_fields,
    discriminator_of,
    members,
)
from deploycore.errors import PluginError
from deploycore.provider.core_fields import core_fields
from deploycore.provider.display import mode_label, mode_summary, name_from
from deploycore.provider.registry import (
    PROVIDER_GROUP,
    Plugin,
    entry_points_by_name,
    examine_each,
    identity_of,
    label_of,
    load_plugin,
    only_one,
)

__all__ = ["Kind", "Mode", "host_in", "installed_kinds", "kind_of", "modes_of"]


@dataclass(frozen=True)
class Mode:
    """One way to sign in.

    Attributes:
        name: The value of the discriminator; empty if there is only one way.
        label: Its name for people; empty if there is only one way.
        summary: One sentence that helps people choose it; may be empty.
        needs_ssh_key: Whether an SSH key, or the agent, is required.
        signs_in: Whether a person may have to sign in after the provider was added.
        fields: The fields of the plugin for this way, without the discriminator.
        core_fields: The fields of the core.
    """

    name: str
    label: str
    summary: str
    needs_ssh_key: bool
    signs_in: bool
    fields: Sequence[ConfigField]
    core_fields: Sequence[ConfigField]


@dataclass(frozen=True)
class Kind:
    """An installed kind of providers.

    Attributes:
        kind: The kind.
        display_name: Its name for people.
        label: The name and version of the plugin's distribution.
        discriminator: The name of the field that chooses the way to sign in; ``None`` if there is
            only one way.
        modes: The ways to sign in; empty if the plugin cannot be used.
        summary: Which hosts it is for, in one sentence; may be empty.
        problem: The reason why it cannot be used; ``None`` if it can.
    """

    kind: str
    display_name: str
    label: str
    discriminator: str | None
    modes: Sequence[Mode]
    summary: str = ""
    problem: PluginError | None = None


def installed_kinds(only: Collection[str] | None = None) -> list[Kind]:
    """Return installed kinds, by name. A plugin that cannot be used has a ``problem``.

    What was found about a plugin is remembered, because it stays imported in this process.

    Args:
        only: The kinds to return (default: all).
    """
    installed = {
        kind: points
        for kind, points in entry_points_by_name(PROVIDER_GROUP).items()
        if only is None or kind in only
    }
    keys = {kind: tuple(map(identity_of, points)) for kind, points in installed.items()}
    unknown = [kind for kind in installed if keys[kind] not in _known]
    examinations = [
        (installed[kind][0], partial(_examined, kind, installed[kind])) for kind in unknown
    ]
    for kind, found in zip(unknown, examine_each(examinations), strict=True):
        if isinstance(found, PluginError):
            name, label = name_from(kind), label_of(installed[kind][0])
            found = Kind(kind, name, label, None, (), problem=found)
        _known[keys[kind]] = found
    return [_known[keys[kind]] for kind in installed]


_known: dict[tuple[tuple[str, ...], ...], Kind] = {}


def kind_of(plugin: Plugin) -> Kind:
    """Return the kind of a plugin that was loaded."""
    config_type = plugin.config_type
    return Kind(
        plugin.kind,
        plugin.display_name,
        plugin.label,
        discriminator_of(config_type),
        modes_of(config_type),
        plugin.summary,
    )


def modes_of(config_type: Any) -> tuple[Mode, ...]:
    """Return the ways to sign in of a plugin's ``Config``."""
    discriminator = discriminator_of(config_type)
    own = core_fields(config_type)
    return tuple(
        Mode(
            tag,
            label=mode_label(member, tag, tags),
            summary=mode_summary(member),
            needs_ssh_key=member.NEEDS_SSH_KEY,
            signs_in=member.sign_in is not ProviderConfig.sign_in,
            fields=_without(fields, discriminator),
            core_fields=own,
        )
        for member in members(config_type)
        for fields in [config_fields(member)]
        for tags in [_tags(fields, discriminator)]
        for tag in tags
    )


def host_in(fields: Sequence[ConfigField], settings: Mapping[str, str]) -> str:
    """Return the address of a provider's host, of its settings or the fields' defaults; empty if
    it has none."""
    values = (settings.get(each.name) or each.default or "" for each in fields)
    return next((each for each in values if each.startswith(("https://", "http://", "ssh://"))), "")


def _examined(kind: str, points: tuple[EntryPoint, ...]) -> Kind:
    only_one(kind, points)
    plugin = load_plugin(kind)
    for each in members(plugin.config_type):
        each.model_rebuild()  # a field's type that pydantic does not support is found here
    return kind_of(plugin)


def _tags(fields: Sequence[ConfigField], discriminator: str | None) -> Sequence[str]:
    if discriminator is None:
        return ("",)
    return next(each.choices for each in fields if each.name == discriminator)


def _without(fields: Sequence[ConfigField], name: str | None) -> tuple[ConfigField, ...]:
    return tuple(each for each in fields if each.name != name)
