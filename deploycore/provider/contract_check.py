"""Check a provider class against the contract, before it gets a configuration or a secret.

pluggy would never report a missing hook, and would report a wrong argument only when the hook is
called.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType
from typing import Any

from deploycore.configuration import ProviderConfig, members
from deploycore.errors import PluginError
from deploycore.hookspecs import API_VERSION, REQUIRED_HOOKS, ProviderSpec
from deploycore.provider.signatures import classes_of_modes, init_faults
from deploycore.version import __version__

__all__ = ["check_provider_class", "implemented_hooks"]

_NOT_PLAIN = (
    inspect.CO_VARARGS
    | inspect.CO_VARKEYWORDS
    | inspect.CO_COROUTINE
    | inspect.CO_ASYNC_GENERATOR
    | inspect.CO_ITERABLE_COROUTINE
)
_SHOWS_OTHERS = {"__wrapped__", "__signature__"}
"""Attributes of a function that give it other parameters."""
# the attribute that pluggy's HookimplMarker("deploycore") sets on a function
_IMPL_MARK = "deploycore_impl"


def check_provider_class(candidate: object, *, plugin: str) -> tuple[str, ...]:
    """Check a provider class against the contract.

    Args:
        candidate: The object that the entry point names.
        plugin: The plugin's name and version, for messages.

    Returns:
        The names of the hooks that it implements, in the order of the contract.

    Raises:
        PluginError: All faults, in one message.
    """
    if faults := list(_faults(candidate)):
        raise PluginError(
            f"The plugin {plugin} does not implement the provider contract: {'; '.join(faults)}.",
            hint="Upgrade the plugin. If that does not help, report this to its author.",
            plugin=plugin,
        )
    return implemented_hooks(candidate)


def implemented_hooks(candidate: object) -> tuple[str, ...]:
    """Return the hooks that an object implements, in the order of the contract."""
    implemented = _implementations(candidate)
    return tuple(name for name in _specifications() if name in implemented)


def _faults(candidate: object) -> Iterable[str]:
    if not inspect.isclass(candidate):
        yield f"its entry point names a {type(candidate).__name__}, not a provider class"
    elif version_fault := _version_fault(candidate):
        yield version_fault
    else:
        yield from _config_faults(candidate)
        yield from init_faults(candidate)
        yield from _hook_faults(candidate)
        yield from _recognition_faults(candidate)
        for each in classes_of_modes(candidate):
            yield from (f"{each!r}: {fault}" for fault in _mode_faults(each, candidate))


def _mode_faults(candidate: Any, owner: Any) -> Iterable[str]:
    faults = list(_faults(candidate))
    yield from faults
    if not faults and candidate.Config not in members(owner.Config):
        yield f"its Config is not one of those of {owner.__name__}, so it would never be used"


def _version_fault(candidate: type) -> str | None:
    version = getattr(candidate, "API_VERSION", None)
    if version is None:
        return f"it has no API_VERSION (this deploycore supports version {API_VERSION})"
    if version != API_VERSION:
        newer = isinstance(version, int) and version > API_VERSION
        remedy = "upgrade deploycore" if newer else "it needs a newer release of the plugin"
        return (
            f"it was written for version {version!r} of the contract, and this deploycore supports "
            f"version {API_VERSION}: {remedy}"
        )
    return None


def _config_faults(candidate: type) -> Iterable[str]:
    config_type = getattr(candidate, "Config", None)
    if config_type is None:
        yield "it has no Config"
        return
    for member in members(config_type):
        if not (inspect.isclass(member) and issubclass(member, ProviderConfig)):
            yield f"its Config {member!r} is not a subclass of deploycore's ProviderConfig"
        elif not _is_complete(member):
            # pydantic does not treat such a SecretStr as a secret, so the field would be displayed.
            yield (
                f"its Config {member.__name__} has annotations that cannot be resolved; import "
                "their types at run time, not under TYPE_CHECKING"
            )


def _is_complete(member: type[ProviderConfig]) -> bool:
    if not member.__pydantic_fields_complete__:
        member.model_rebuild(raise_errors=False)
    return bool(member.__pydantic_fields_complete__)


def _recognition_faults(candidate: type) -> Iterable[str]:
    for name in ("recognize_url", "accept_url", "repository_of_url"):
        method = inspect.getattr_static(candidate, name, None)
        if method is not None and not isinstance(method, classmethod | staticmethod):
            yield f"its {name} is not a class method, and is called without an instance"


def _hook_faults(candidate: type) -> Iterable[str]:
    specified = _specifications()
    implemented = _implementations(candidate)
    for name in REQUIRED_HOOKS:
        if name not in implemented:
            bare = callable(getattr(candidate, name, None))
            yield f"{name} lacks @hookimpl" if bare else f"the required hook {name} is missing"
    for name, function in implemented.items():
        if name not in specified:
            yield (
                f"{name} is marked @hookimpl, but is not a hook of the contract in deploycore"
                f" {__version__}"
            )
        else:
            yield from _signature_faults(name, function, specified[name])


def _signature_faults(
    name: str, function: Callable[..., object], specification: Callable[..., object]
) -> Iterable[str]:
    if _have_plain_parameters(function, specification):
        return
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        yield f"{name} is asynchronous, but hooks are called synchronously"
    wanted = list(inspect.signature(specification).parameters)
    given = inspect.signature(function).parameters
    plain = all(
        parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.default is parameter.empty
        for parameter in given.values()
    )
    if list(given) != wanted or not plain:
        shown = ", ".join(map(str, given.values()))
        yield f"{name}({shown}) should be {name}({', '.join(wanted)}), without defaults"


def _have_plain_parameters(*functions: Callable[..., object]) -> bool:
    """Whether both are plain functions with the same parameters, without defaults.

    This finds nearly all in a tenth of the time that the inspection of signatures takes.
    """
    found = set()
    for each in functions:
        if not isinstance(each, FunctionType) or vars(each).keys() & _SHOWS_OTHERS:
            return False
        code = each.__code__
        is_plain = not code.co_flags & _NOT_PLAIN and not code.co_kwonlyargcount
        if not is_plain or code.co_posonlyargcount or each.__defaults__:
            return False
        found.add(code.co_varnames[: code.co_argcount])
    return len(found) == 1


def _specifications() -> Mapping[str, Callable[..., object]]:
    return {
        name: function
        for name, function in vars(ProviderSpec).items()
        if hasattr(function, "deploycore_spec")
    }


def _implementations(candidate: object) -> Mapping[str, Callable[..., object]]:
    found = {}
    for name, member in sorted(_members(candidate).items()):
        function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if inspect.isroutine(function) and hasattr(function, _IMPL_MARK):
            found[name] = function
    return found


def _members(candidate: object) -> Mapping[str, object]:
    """Return the attributes as they are defined, without running any of the plugin's code."""
    if not inspect.isclass(candidate):
        return {name: inspect.getattr_static(candidate, name) for name in dir(candidate)}
    found: dict[str, object] = {}
    for each in reversed(candidate.__mro__):
        found.update(vars(each))
    return found
