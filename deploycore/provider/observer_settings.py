"""Read the section ``observers`` of ``settings.yaml``, and create observers with it.

The file is in the data directory, and optional. It contains no secrets, but references:
``env:NAME`` or ``file:/absolute/path``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deploycore.configuration import ObserverConfig, is_secret
from deploycore.disk.durable import open_regular_file
from deploycore.errors import ConfigurationError, PluginError
from deploycore.provider.background import is_interrupt
from deploycore.redaction import Redactor
from deploycore.secrets import reveal_reference
from deploycore.settings import SETTINGS_FILE
from deploycore.text.raised import raised_text, shortened
from deploycore.text.validation import describe_problems, describe_unusable

__all__ = ["SETTINGS_FILE", "configured", "create_observer", "read_observer_settings"]

_SECTION = "observers"
_MOST_BYTES = 1024 * 1024

ObserverSettings = Mapping[str, Mapping[str, Any]]


def read_observer_settings(home: Path) -> ObserverSettings:
    """The settings of observers, by their normalised names; empty if the file does not exist.

    Args:
        home: The data directory.

    Raises:
        ConfigurationError: The file cannot be read, is not YAML, or has another section.
    """
    path = home / SETTINGS_FILE
    try:
        with open(open_regular_file(path), "rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigurationError(
            f"The settings file {path} cannot be read: {error.strerror or type(error).__name__}.",
            hint="Correct its permissions, or remove it.",
            path=str(path),
        ) from None
    return _sections(path, content)


def configured(observer: object, name: str, settings: Mapping[str, Any]) -> ObserverConfig | None:
    """Return the configuration of an observer, with its secrets.

    Args:
        observer: The object that its entry point names.
        settings: The values in the file under its name.

    Returns:
        ``None`` if the observer has no ``Config``.

    Raises:
        ConfigurationError: A value is missing or invalid, or a secret cannot be read. No message
            quotes a value.
        PluginError: Its ``Config`` is not a subclass of ``ObserverConfig``, or has a field that
            pydantic does not support.
    """
    config_type = getattr(observer, "Config", None) if inspect.isclass(observer) else None
    hint = f"See the observer's documentation, and edit {SETTINGS_FILE} in the data directory."
    if config_type is None:
        if settings:
            raise ConfigurationError(
                f"The observer {name!r} has no settings, but {_SECTION}/{name} is set.",
                hint=f"Remove {_SECTION}/{name} from {SETTINGS_FILE} in the data directory.",
            )
        return None
    if not (inspect.isclass(config_type) and issubclass(config_type, ObserverConfig)):
        raise PluginError(
            f"The Config of the observer {name!r} is not a subclass of ObserverConfig.",
            hint="Upgrade the plugin. If that does not help, report this to its author.",
        )
    return _parsed(config_type, name, settings, hint)


def create_observer(observer: object, name: str, settings: Mapping[str, Any]) -> object:
    """Create an observer from its class: ``cls(config)``, or ``cls()`` if it has no ``Config``.

    A module or an object is returned as it is.

    Raises:
        ConfigurationError, PluginError: As for ``configured``; or its constructor fails.
    """
    config = configured(observer, name, settings)
    if not inspect.isclass(observer):
        return observer
    create: Callable[..., object] = observer
    try:
        return create() if config is None else create(config)
    except BaseException as error:
        if is_interrupt(error):
            raise
        reason = raised_text(error)
    raise PluginError(
        shortened(_redactor(config).mask(f"The observer {name!r} cannot be created: {reason}")),
        hint=f"Check its settings in {SETTINGS_FILE} of the data directory. If they are correct,"
        " tell the plugin's author.",
    )


def _sections(path: Path, content: bytes) -> ObserverSettings:
    import yaml  # only for those who have the file

    from deploycore.provider.registry import normalise_kind

    problem, found = "", None
    if len(content) > _MOST_BYTES:
        problem = f"it is larger than {_MOST_BYTES:,} bytes"
    try:
        found = None if problem else yaml.safe_load(content)
    except yaml.MarkedYAMLError as error:  # its text quotes the line
        mark = error.problem_mark
        problem = "it is not valid YAML" + (f" at line {mark.line + 1}" if mark else "")
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        problem = "it is not valid YAML"
    if not problem and found is not None:
        problem = _problem_of(found)
    if problem:
        raise ConfigurationError(
            f"The settings file {path} is not valid: {problem}.",
            hint=f"Write it as, for example: {_SECTION}: {{NAME: {{FIELD: VALUE}}}}",
            path=str(path),
        )
    section = (found or {}).get(_SECTION) or {}
    return {normalise_kind(name): values or {} for name, values in section.items()}


def _problem_of(found: object) -> str:
    if not isinstance(found, dict) or set(found) - {_SECTION}:
        return f"it must have {_SECTION!r} at the top level, and nothing else"
    section = found.get(_SECTION)
    if section is None:
        return ""
    if not isinstance(section, dict) or not all(isinstance(name, str) for name in section):
        return f"{_SECTION} must be a mapping of names to settings"
    for name, values in section.items():
        if values is not None and not isinstance(values, dict):
            return f"{_SECTION}/{name} must be a mapping"
    return ""


def _parsed(
    config_type: type[ObserverConfig], name: str, settings: Mapping[str, Any], hint: str
) -> ObserverConfig:
    from pydantic import PydanticUserError, ValidationError
    from pydantic_core import SchemaError

    values = dict(settings)
    for field, info in config_type.model_fields.items():
        if is_secret(info) and values.get(field) is not None:
            values[field] = _revealed(name, field, values[field])
    try:
        return config_type.model_validate(values)
    except ValidationError as error:
        problems = describe_problems(error, config_type, values)
    except (PydanticUserError, SchemaError) as error:
        raise PluginError(
            f"The Config of the observer {name!r} cannot be used: {describe_unusable(error)}",
            hint="Upgrade the plugin. If that does not help, report this to its author.",
        ) from None
    raise ConfigurationError(
        _redactor(values).mask(f"The settings of the observer {name!r} are not valid: {problems}"),
        hint=hint,
    )


def _revealed(name: str, field: str, reference: object) -> object:
    try:
        return reveal_reference(reference if isinstance(reference, str) else "")
    except ConfigurationError as error:
        raise ConfigurationError(
            f"The settings of the observer {name!r} are not valid: {field}: {error.message}",
            hint=error.hint,
        ) from None


def _redactor(source: Any) -> Redactor:
    from pydantic import SecretStr

    values = source.values() if isinstance(source, dict) else dict(source or {}).values()
    return Redactor(each for each in values if isinstance(each, SecretStr))
