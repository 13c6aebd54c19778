"""The arguments of hooks, and the plugin managers that call them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MemberDescriptorType
from typing import Any
from weakref import WeakKeyDictionary

import pluggy
from pydantic import SecretStr

from deploycore.hookspecs import ProviderSpec
from deploycore.provider.registry import Plugin

__all__ = ["SECRET_ARGUMENTS", "private_manager", "secrets_among", "type_of"]

SECRET_ARGUMENTS = frozenset({"secret", "secrets"})
"""The names of arguments that are secrets. Observers do not receive them."""


def private_manager(instance: object, plugin: Plugin) -> pluggy.PluginManager:
    """Create a plugin manager for one instance of a plugin."""
    manager = _Manager("deploycore")
    manager.add_hookspecs(ProviderSpec)
    manager.register(instance, name=plugin.kind)
    return manager


class _Manager(pluggy.PluginManager):
    """Finds hooks in a third of pluggy's time: it skips the names that every object has, and reads
    the specification and each class only once for all providers."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        """Return the options of an implementation; ``None`` if the attribute is not one."""
        if name.startswith("__"):
            return None
        attribute = _attribute(type(plugin), name)
        if name in getattr(plugin, "__dict__", ()) or isinstance(attribute, MemberDescriptorType):
            return super().parse_hookimpl_opts(plugin, name)  # instances may differ
        known = _implementations.setdefault(type(plugin), {})
        if name not in known or known[name][0] is not attribute:
            known[name] = attribute, super().parse_hookimpl_opts(plugin, name)
        return known[name][1]

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> pluggy.HookspecOpts | None:
        """Return the options of a hook of the specification; ``None`` if the attribute is not
        one."""
        if name.startswith("__"):
            return None
        if name not in _specification:
            _specification[name] = super().parse_hookspec_opts(module_or_class, name)
        return _specification[name]


_specification: dict[str, pluggy.HookspecOpts | None] = {}
"""The options of each hook of ``ProviderSpec``; ``None`` for its other attributes."""

_implementations: WeakKeyDictionary[type, dict[str, tuple[Any, pluggy.HookimplOpts | None]]] = (
    WeakKeyDictionary()
)
"""By class and name, the attribute and its options as an implementation of a hook; ``None`` if it
is not one."""


def _attribute(of: type, name: str) -> Any:
    """Return an attribute of a class as it was defined."""
    return next((vars(each)[name] for each in of.__mro__ if name in vars(each)), None)


def secrets_among(arguments: Mapping[str, object]) -> list[SecretStr]:
    """Return the secrets among the arguments of a hook."""
    given = [value for name, value in arguments.items() if name in SECRET_ARGUMENTS]
    flat = (item for value in given for item in (value if isinstance(value, tuple) else (value,)))
    return [item for item in flat if isinstance(item, SecretStr)]


def type_of(value: Any) -> str:
    """Return the type of a plugin's result, for an error."""
    return "nothing (None)" if value is None else f"a {type(value).__name__}"
