"""The address of a repository that a person pastes into ``deploycore provider add``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from deploycore.cli.output import say_aside
from deploycore.cli.usage import UsageError
from deploycore.provider.entry_points import PROVIDER_GROUP, entry_points_by_name
from deploycore.provider.recognition import (
    acceptances,
    clean_address,
    fields_by,
    is_address,
    recognitions,
)
from deploycore.provider.registry import Plugin, load_plugin

__all__ = [
    "ambiguous",
    "of_another_kind",
    "pasted_address",
    "plugin_for",
    "say_fields",
    "say_recognized",
]


def pasted_address(name: str | None, arguments: list[str]) -> str | None:
    """Take the address from the arguments after the name; return ``None`` if the first one is not
    an address.

    Raises:
        UsageError: The address is in the place of the name.
        ConfigurationError: It is not the address of a repository, or contains a password.
    """
    if name is not None and is_address(name):
        raise UsageError(
            "The provider's name is missing before the URL.",
            hint="Choose a name, and run: deploycore provider add NAME URL",
        )
    if not arguments or not is_address(arguments[0]):
        return None
    return clean_address(arguments.pop(0))


def plugin_for(kind: str | None, address: str | None) -> tuple[Plugin, Mapping[str, str]]:
    """Return the plugin of a kind, or of the only kind that recognizes an address, and the fields
    that the address contains. These are printed.

    Args:
        kind: The kind that the user gives; ``None`` to recognize it.

    Raises:
        UsageError: No plugin, or more than one, recognizes the address.
        ConfigurationError, PluginError: As :func:`~deploycore.provider.registry.load_plugin`.
    """
    if address is None:
        return load_plugin(kind or ""), {}
    if kind is None:
        return _recognized(address)
    plugin = load_plugin(kind)
    told = fields_by(plugin, address)
    if told is None:
        raise of_another_kind(address, plugin.kind)
    say_fields(told)
    return plugin, told


def say_fields(fields: Mapping[str, str]) -> None:
    """Print which fields were found in a URL."""
    say_aside(f"Read from the URL: {_shown(fields)}.")


def say_recognized(kind: str, fields: Mapping[str, str]) -> None:
    """Print which kind was recognized from a URL, and which fields were found in it."""
    say_aside(
        f"Recognized the kind {kind} from the URL ({_shown(fields)})."
        " If this is wrong, add --kind KIND."
    )


def of_another_kind(address: str, kind: str) -> UsageError:
    """Return the error for a URL that a kind does not recognize."""
    return UsageError(
        f"The URL {address} was not recognized as one of a provider of kind {kind}.",
        hint=f"Omit the URL, and give the fields: deploycore provider add --kind {kind} --help",
    )


def ambiguous(address: str, kinds: Iterable[str]) -> UsageError:
    """Return the error for a URL that several kinds recognize."""
    return UsageError(
        f"The URL {address} could belong to providers of several kinds: {', '.join(kinds)}.",
        hint="Choose one with --kind KIND.",
    )


def _recognized(address: str) -> tuple[Plugin, Mapping[str, str]]:
    found = recognitions(address)
    if len(found) == 1:
        say_recognized(found[0].kind, found[0].fields)
        return load_plugin(found[0].kind), found[0].fields
    if found:
        raise ambiguous(address, (each.kind for each in found))
    others = "".join(
        f"For a git server without an API, add --kind {each.kind}. Otherwise: "
        for each in acceptances(address)
    )
    raise UsageError(
        f"No installed plugin recognizes the URL {address}.",
        hint=f"{others}Omit the URL, choose a kind (installed:"
        f" {', '.join(entry_points_by_name(PROVIDER_GROUP))}), and give its fields: deploycore"
        " provider add --kind KIND --help",
    )


def _shown(fields: Mapping[str, str]) -> str:
    told = ", ".join(f"{name} {value}" for name, value in fields.items())
    return told or "no fields"
