"""A provider's fields on the command line: options made from the plugin's ``Config``.

A secret is typed without echo, read from standard input, or stored as a reference to an
environment variable or a file. It is rejected as an argument: other users of a machine can read
the arguments of a running command, and shells store them in their history.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from deploycore.cli.output import say_aside
from deploycore.cli.usage import UsageError
from deploycore.configuration import ConfigField, config_fields, discriminator_of
from deploycore.errors import ConfigurationError
from deploycore.installation import SecretReference
from deploycore.provider.core_fields import core_fields, core_group
from deploycore.text.suggestions import did_you_mean

__all__ = [
    "FieldSet",
    "GivenFields",
    "ask_for_new_secret",
    "field_help",
    "read_changed_fields",
    "read_fields",
    "read_secret",
]

_SOURCES = ("stdin", "env", "file")
_TITLES = {
    "network": "Network fields, for the API, git and Git LFS:",
    "ssh": "SSH fields, to clone with a key:",
    "expiry": "Expiry:",
}


@dataclass(frozen=True)
class GivenFields:
    """The fields given for a provider: plain settings, and secrets or references to them."""

    settings: Mapping[str, str]
    secrets: Mapping[str, SecretStr | SecretReference]


@dataclass(frozen=True)
class FieldSet:
    """The fields of a kind of providers.

    Attributes:
        own: The fields of the plugin, the discriminator first.
        core: The fields of the core.
        discriminator: The name of the field that chooses the way to sign in; ``None`` if there is
            only one way.
        is_elsewhere: Whether the provider is used on another machine, which has the files.
    """

    own: Sequence[ConfigField]
    core: Sequence[ConfigField]
    discriminator: str | None
    is_elsewhere: bool = False

    @property
    def by_name(self) -> Mapping[str, ConfigField]:
        """Return all fields by their names."""
        return {field.name: field for field in (*self.own, *self.core)}

    @classmethod
    def of(cls, config_type: Any) -> FieldSet:
        """Return the fields of a plugin's ``Config``, or the set itself, if it is one."""
        if isinstance(config_type, FieldSet):
            return config_type
        own, core = config_fields(config_type), core_fields(config_type)
        return cls(own, core, discriminator_of(config_type))


def field_help(config_type: Any) -> str:
    """Return the fields of a plugin's ``Config``, and those of the core, as help text.

    Args:
        config_type: The ``Config``, or a :class:`FieldSet`.
    """
    fields, lines = FieldSet.of(config_type), ["Fields:"]
    # Optional fields come last; otherwise sorted() keeps the author's order.
    for field in sorted(fields.own, key=lambda f: not (f.required or f.required_for)):
        lines.append(f"  {_option_help(field)}")
        lines.append(f"      {_description(fields, field)}")
    own = fields.core
    groups = {group: [f for f in own if core_group(f) == group] for group in map(core_group, own)}
    for group, members in groups.items():
        lines += ["", _TITLES[group]] if members else []
        for field in members:
            lines += [f"  {_option_help(field)}", f"      {field.description}; optional"]
    return "\n".join(lines)


def read_fields(
    config_type: Any, arguments: Sequence[str], *, defaults: Mapping[str, str] | None = None
) -> GivenFields:
    """Read a provider's fields from options, and ask for missing fields at a terminal.

    Args:
        config_type: The plugin's ``Config``, or a :class:`FieldSet`.
        arguments: The rest of the command line: ``--field value`` or ``--field=value``.
        defaults: Values for fields that no option gives, where they apply.

    Raises:
        UsageError: An option is unknown.
        ConfigurationError: An option is repeated or has no value, a secret is on the command line,
            or a required field is missing and there is no terminal to ask at.
    """
    known = FieldSet.of(config_type)
    fields = known.by_name
    settings, secrets = _read_given(known, arguments)
    added = {
        name: value
        for name, value in (defaults or {}).items()
        if name in fields and name not in settings and not fields[name].secret
    }
    settings.update(added)
    _ask_for_missing(known, settings, secrets)
    chosen = settings.get(known.discriminator or "")
    for name in added:
        if fields[name].only_for and chosen not in fields[name].only_for:
            del settings[name]
    return GivenFields(settings, secrets)


def read_changed_fields(config_type: Any, arguments: Sequence[str]) -> GivenFields:
    """Read the fields to change from options. There are no prompts.

    Args:
        config_type: The plugin's ``Config``, or a :class:`FieldSet`.
        arguments: As for :func:`read_fields`.

    Raises:
        UsageError, ConfigurationError: As for :func:`read_fields`.
    """
    return GivenFields(*_read_given(FieldSet.of(config_type), arguments))


def ask_for_new_secret(config_type: Any, names: Sequence[str]) -> GivenFields:
    """Ask at the terminal for the new value of a provider's only secret.

    Args:
        names: The secret fields that the provider has.

    Raises:
        ConfigurationError: There are several secrets, or there is no terminal to ask at.
    """
    own = FieldSet.of(config_type).own
    fields = {field.name: field for field in own if field.name in names}
    options = "; ".join(map(_option_help, fields.values()))
    if len(fields) != 1:
        raise ConfigurationError(
            f"This provider has {len(fields)} secrets: {', '.join(fields)}."
            if fields
            else "This provider has no secret to rotate.",
            hint=f"Say which one is new: {options}"
            if fields
            else "To change its other fields, see: deploycore provider edit --help",
        )
    (field,) = fields.values()
    if not sys.stdin.isatty():
        raise ConfigurationError(
            f"deploycore cannot ask for the new {field.name}: standard input is not a terminal.",
            hint=f"Use {options}.",
        )
    say_aside(f"  {_described(field)}")
    return GivenFields({}, {field.name: _typed(field.name, f"new {field.name}: ")})


def _read_given(
    known: FieldSet, arguments: Sequence[str]
) -> tuple[dict[str, str], dict[str, SecretStr | SecretReference]]:
    fields = known.by_name
    settings: dict[str, str] = {}
    secrets: dict[str, SecretStr | SecretReference] = {}
    for option, value in list(_options(fields, arguments)):
        field, source = _field_of(fields, option)
        if field.name in settings or field.name in secrets:
            raise ConfigurationError(
                f"{_spelled(field)} is given more than once.",
                hint=f"Give it once: {_option_help(field)}",
            )
        if source:
            secrets[field.name] = _secret(known, field, source, value)
        else:
            if field.secret and "@" in value:
                raise _exposed(field, option)
            settings[field.name] = value
    return settings, secrets


def _options(
    fields: Mapping[str, ConfigField], arguments: Sequence[str]
) -> Iterable[tuple[str, str]]:
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("--"):
            # The error does not show the argument: it may be a secret.
            raise ConfigurationError(
                "An argument is not preceded by an option, such as --token-env.",
                hint="Give each field as --FIELD VALUE. An option --FIELD-stdin takes no value: it"
                " reads standard input.",
            )
        option, equals, value = argument.removeprefix("--").partition("=")
        if not equals and not option.endswith("-stdin"):
            following = next(rest, None)
            if following is None:
                _field_of(fields, option)
                raise ConfigurationError(
                    f"The option --{option} needs a value.",
                    hint=f"Write the value after the option: --{option} VALUE",
                )
            value = following
        yield option, value


def _field_of(fields: Mapping[str, ConfigField], option: str) -> tuple[ConfigField, str]:
    name = option.replace("-", "_")
    field = fields.get(name)
    if field and (field.may_be_plain or not field.secret):
        return field, ""
    if field:
        raise _exposed(field, option)
    base, _, source = name.rpartition("_")
    field = fields.get(base)
    if field and field.secret and source in _SOURCES:
        return field, source
    known = ", ".join(_option_help(field) for field in fields.values())
    raise UsageError(
        f"This kind of provider has no field --{option.partition(' ')[0]}.",
        hint=did_you_mean(option, _spellings(fields.values()), shown="--{}").strip()
        or f"The fields are: {known}.",
    )


def _exposed(field: ConfigField, option: str) -> ConfigurationError:
    return ConfigurationError(
        f"--{option} would put a secret on the command line, where other users and the "
        "shell's history can see it.",
        hint=f"Use {_hidden_help(field)}, or omit the option to be asked for the secret. If "
        "you have just typed the secret, consider replacing it at the git host.",
    )


def _spellings(fields: Iterable[ConfigField]) -> Iterable[str]:
    for field in fields:
        spelled = _spelled(field).removeprefix("--")
        if field.secret:
            yield from [f"{spelled}-{source}" for source in _SOURCES]
        if field.may_be_plain or not field.secret:
            yield spelled


def _secret(
    known: FieldSet, field: ConfigField, source: str, value: str
) -> SecretStr | SecretReference:
    if source == "env":
        return SecretReference(f"env:{value}")
    if source == "file" and not value:
        raise ConfigurationError(
            f"The value of {_spelled(field)}-file is empty.", hint="Give the path of a file."
        )
    if source == "file" and known.is_elsewhere:
        return _kept_elsewhere(field, value)
    if source == "file":
        return _kept_in_file(field, Path(value).expanduser().absolute())
    if value:
        raise ConfigurationError(
            f"{_spelled(field)}-stdin takes no value.",
            hint=f"Send the secret to standard input: {_spelled(field)}-stdin < FILE",
        )
    return _given(field.name, _read_one(), f"{_spelled(field)}-stdin")


def _kept_in_file(field: ConfigField, path: Path) -> SecretReference:
    # /dev/fd/63, the path that shells pass for <(command), exists only while the command runs.
    if (path.exists() and not path.is_file()) or path.is_relative_to("/dev/fd"):
        raise ConfigurationError(
            f"{path} is not a regular file. deploycore could not read the secret from it later.",
            hint=f"Store the secret instead, from standard input: {_spelled(field)}-stdin",
        )
    return SecretReference(f"file:{path}")


def _kept_elsewhere(field: ConfigField, path: str) -> SecretReference:
    if not path.startswith("/"):
        raise ConfigurationError(
            f"The value of {_spelled(field)}-file is not an absolute path on the server's machine.",
            hint=f"Store the secret instead, from standard input: {_spelled(field)}-stdin",
        )
    return SecretReference(f"file:{path}")


def _read_one() -> str:
    """Read one line of standard input, or all lines of a key in PEM format (RFC 7468)."""
    lines = [sys.stdin.readline()]
    while lines[0].startswith("-----BEGIN ") and not lines[-1].startswith("-----END "):
        following = sys.stdin.readline()
        if not following:
            break
        lines.append(following)
    return "".join(lines).rstrip("\r\n")


def read_secret(name: str, *, from_stdin: bool) -> SecretStr:
    """Read a secret, typed without echo or from standard input, without its last line end.

    Raises:
        ConfigurationError: The secret is empty, or there is no terminal to ask at.
    """
    if from_stdin:
        return _given(name, sys.stdin.read().removesuffix("\n").removesuffix("\r"), "--stdin")
    if not sys.stdin.isatty():
        raise ConfigurationError(
            f"deploycore cannot ask for the value of {name}: standard input is not a terminal.",
            hint="Send the value to standard input: --stdin < FILE",
        )
    return _typed(name, f"{name}: ")


def _typed(name: str, question: str) -> SecretStr:
    typed = getpass.getpass(question)
    if not typed:
        raise ConfigurationError(
            f"The value of {name} is empty.",
            hint="Run the command again, and type the value. It is not shown while you type.",
        )
    return SecretStr(typed)


def _given(name: str, value: str, option: str) -> SecretStr:
    if not value:
        raise ConfigurationError(
            f"Standard input has no value for {name}.",
            hint=f"Send the value to standard input: {option} < FILE",
        )
    return SecretStr(value)


def _ask_for_missing(
    known: FieldSet,
    settings: dict[str, str],
    secrets: dict[str, SecretStr | SecretReference],
) -> None:
    fields, discriminator = known.by_name, known.discriminator
    missing = _missing(fields, discriminator, settings, secrets)
    if missing and not sys.stdin.isatty():
        raise _lacking(missing, fields, discriminator)
    while missing:
        field = missing[0]
        say_aside(f"  {_described(field)}")
        question = f"{field.name}{_among(field)}: "
        if field.secret:
            secrets[field.name] = SecretStr(getpass.getpass(question).strip())
        else:
            settings[field.name] = input(question).strip()
        # The answer may change which fields are required.
        missing = _missing(fields, discriminator, settings, secrets)


def _missing(
    fields: Mapping[str, ConfigField],
    discriminator: str | None,
    settings: Mapping[str, str],
    secrets: Mapping[str, SecretStr | SecretReference],
) -> list[ConfigField]:
    """Return the required fields that are not given yet, in the order to ask for them."""
    chosen = settings.get(discriminator) if discriminator else None
    choices = fields[discriminator].choices if discriminator else ()
    possible = choices if chosen is None else (chosen,)
    return [
        field
        for field in fields.values()
        if field.name not in settings
        and field.name not in secrets
        and (field.name == discriminator or _is_required(field, possible))
    ]


def _is_required(field: ConfigField, possible: Sequence[str]) -> bool:
    """Whether a field is required for each of the possible members of a union."""
    if not field.only_for:
        return field.required
    return all(choice in field.required_for for choice in possible)


def _lacking(
    missing: Sequence[ConfigField], fields: Mapping[str, ConfigField], discriminator: str | None
) -> ConfigurationError:
    names = [f"{field.name}{_among(field)}" for field in missing]
    if len(names) == 1:
        message = f"The field {missing[0].name} is missing{_among(missing[0])}."
    else:
        message = f"The fields {', '.join(names[:-1])} and {names[-1]} are missing."
    hints = [f"Give {'; '.join(map(_option_help, missing))}."]
    first = missing[0]
    if first.name == discriminator:
        for choice in first.choices:
            needed = [
                _option_help(field)
                for field in fields.values()
                if choice in field.required_for and field not in missing
            ]
            if needed:
                hints.append(f"With {_spelled(first)} {choice} also {'; '.join(needed)}.")
    return ConfigurationError(message, hint=" ".join(hints))


def _described(field: ConfigField) -> str:
    return f"{field.name}: {field.description}" if field.description else field.name


def _among(field: ConfigField) -> str:
    return f" ({', '.join(field.choices)})" if field.choices else ""


def _description(known: FieldSet, field: ConfigField) -> str:
    notes = [field.description] if field.description else []
    discriminator = known.discriminator
    if field.choices:
        notes.append(f"one of {', '.join(field.choices)}")
    elif discriminator and set(field.only_for) != set(known.own[0].choices):
        notes.append(f"with --{discriminator} {' or '.join(field.only_for)}")
    if field.required_for and not field.required:
        notes.append(f"required with --{discriminator} {' or '.join(field.required_for)}")
    elif not field.required:
        notes.append("optional")
    return "; ".join(notes)


def _option_help(field: ConfigField) -> str:
    if not field.secret:
        return f"{_spelled(field)} VALUE"
    plain = f"{_spelled(field)} VALUE | " if field.may_be_plain else ""
    return plain + _hidden_help(field)


def _hidden_help(field: ConfigField) -> str:
    option = _spelled(field)
    return f"{option}-stdin | {option}-env NAME | {option}-file PATH"


def _spelled(field: ConfigField) -> str:
    return "--" + field.name.replace("_", "-")
