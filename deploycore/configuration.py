"""The configuration of providers and observers.

The core creates command-line options, prompts and stored values from the fields of a plugin's
``Config``. So an author describes each value once, and the core knows which values are secret.
"""

import inspect
import ipaddress
import re
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, Protocol, Union, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PydanticUserError,
    SecretStr,
    TypeAdapter,
    ValidationError,
)
from pydantic.fields import FieldInfo
from pydantic_core import SchemaError

from deploycore.errors import ConfigurationError, PluginError
from deploycore.records import record
from deploycore.redaction import Redactor
from deploycore.text.validation import NAME_PATTERN as NAME_PATTERN
from deploycore.text.validation import describe_unusable, find_problems
from deploycore.tokens import RenewableAuth, SignIn

__all__ = [
    "SEVERAL_LINES",
    "ClientIdStr",
    "ClientSecretStr",
    "ConfigField",
    "HttpAuth",
    "HttpsAddress",
    "ObserverConfig",
    "PasswordStr",
    "ProviderConfig",
    "ProviderName",
    "ScopesStr",
    "TokenStr",
    "UsernameStr",
    "config_fields",
    "is_loopback",
    "parse_config",
    "refuse_prefixes",
]

_HTTP = re.compile("https?://")
_NOT_IN_A_TOKEN = re.compile(r"[\s\x00-\x1f\x7f]")


def is_loopback(host: str) -> bool:
    """Whether a host is certainly this machine: a loopback address, or ``localhost``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _address(text: str) -> str:
    text = text.strip().rstrip("/")
    fault = "it is not an absolute https URL, such as https://git.example.com"
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        parts = None
    # Raised outside the try block, so that the error has no cause: urlsplit's errors quote the
    # text, which may contain a password.
    if parts is None or not parts.hostname or parts.scheme not in ("http", "https"):
        raise ValueError(fault)
    if "@" in parts.netloc or re.search(r"[?#\\\s]", text):
        raise ValueError(
            "it must not have user information, a query, a fragment, backslashes or white space"
        )
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("http is allowed for loopback addresses only: use https")
    return text


def _username(text: str) -> str:
    text = text.strip()
    if not re.fullmatch(r"[^\s:\x00-\x1f\x7f]+", text):
        raise ValueError("it is empty, or contains white space, a colon or control characters")
    return text


def _password(secret: SecretStr) -> SecretStr:
    value = secret.get_secret_value()
    if not value.strip():
        raise ValueError("it is empty")
    if re.search(r"[\x00-\x1f\x7f]", value):
        raise ValueError("it contains line breaks or control characters")
    return secret


def _client_id(text: str) -> str:
    text = text.strip()
    if not re.fullmatch(r"[!-9;-~]+", text):
        raise ValueError("it is empty, or contains white space, a colon or control characters")
    return text


def _client_secret(secret: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]+", secret.get_secret_value()):
        raise ValueError("it is empty, or has white space or control characters; copy it again")
    return secret


def _scopes(text: str) -> str:
    return " ".join(text.replace(",", " ").split())


def refuse_prefixes(secret: SecretStr, others: Mapping[str, str], *, host: str = "") -> SecretStr:
    """Refuse a secret whose first characters show that it belongs to another host or field.

    Args:
        others: For each text that a secret may begin with, what such a secret is, such as ``a token
            of GitHub``.
        host: The host that the secret is not for, if the error should name it.

    Raises:
        ValueError: The secret begins with one of these texts. Only that text is quoted.
    """
    for prefix, what in others.items():
        if secret.get_secret_value().startswith(prefix):
            raise ValueError(f"this is {what} ({prefix}…){f', not of {host}' if host else ''}")
    return secret


def _token(secret: SecretStr) -> SecretStr:
    value = secret.get_secret_value().strip()
    if not value:
        raise ValueError("it is empty")
    if _NOT_IN_A_TOKEN.search(value):
        raise ValueError("it has white space or control characters; copy it again")
    return SecretStr(value)


HttpsAddress = Annotated[str, AfterValidator(_address)]
"""An absolute https URL without a slash at its end. http is allowed only for this machine."""

TokenStr = Annotated[SecretStr, AfterValidator(_token)]
"""A secret of one word, such as a token or key. White space around it is removed."""

UsernameStr = Annotated[str, AfterValidator(_username)]
"""A username that can be sent with a password: without white space and colons."""

PasswordStr = Annotated[SecretStr, AfterValidator(_password)]
"""A password, which may contain spaces."""

ClientIdStr = Annotated[str, AfterValidator(_client_id)]
"""The ID of an OAuth application."""

ClientSecretStr = Annotated[SecretStr, AfterValidator(_client_secret)]
"""The secret of an OAuth application."""

ScopesStr = Annotated[str, AfterValidator(_scopes)]
"""OAuth scopes, with spaces or commas between. They are stored with one space between."""

ProviderName = Annotated[str, Field(pattern=NAME_PATTERN, description="name of the provider")]
"""The name of a configured provider: letters, digits, dots, dashes and underscores."""


class HttpAuth(Protocol):
    """Authorizes API requests with a header."""

    def header(self) -> tuple[str, SecretStr]:
        """Return the name and the whole value of the header.

        The client calls this once for each attempt, from any thread. The method may request a
        token from the host. If it raises an error of :mod:`deploycore.errors`, the request fails
        with this error.
        """


class ProviderConfig(BaseModel):
    """The base class of every provider's ``Config``.

    Define the fields that your host needs in a subclass. The type of every secret must be
    ``SecretStr``. The core creates command-line options, prompts and the dashboard's forms from the
    fields: ``description`` becomes the help text, ``Literal`` a choice, and ``SecretStr`` a hidden
    prompt. If the host has several ways to sign in, ``Config`` is a discriminated union of
    subclasses. If a text may have several lines, give ``Field`` the argument
    ``json_schema_extra=SEVERAL_LINES``.

    Attributes:
        NEEDS_SSH_KEY: Whether this way to sign in requires the core's SSH key or agent. Without
            one, the configuration is refused.
        MODE_LABEL: Optional: the name of this way to sign in for people (default: made from the
            mode, so that ``app-password`` is "App password").
        MODE_SUMMARY: Optional: one sentence that helps people choose this way to sign in
            (default: the first sentence of the class's docstring).
        name: The name of the configured provider.
    """

    # A command imports all members of a union, but validates with only one of them.
    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True
    )

    NEEDS_SSH_KEY: ClassVar[bool] = False
    MODE_LABEL: ClassVar[str] = ""
    MODE_SUMMARY: ClassVar[str] = ""

    name: ProviderName

    @property
    @abstractmethod
    def api_base_url(self) -> str:
        """The base URL of the API, such as ``https://api.example.com/2.0``."""
        raise NotImplementedError

    @property
    @abstractmethod
    def api_auth(self) -> HttpAuth | RenewableAuth | None:
        """How API requests are authorized.

        Return an :class:`~deploycore.configuration.HttpAuth` for a fixed header, a
        :class:`~deploycore.tokens.RenewableAuth` for a token that the core obtains and renews, or
        ``None`` for anonymous access.
        """
        raise NotImplementedError

    @property
    def sign_in(self) -> SignIn | None:
        """How a person signs in with ``deploycore provider authorize``, if the provider needs that.

        Override it if a person must sign in to get the first token of ``api_auth``, a
        :class:`~deploycore.tokens.RenewableAuth` with ``is_stored``. The default is ``None``:
        no sign-in is needed.
        """
        return None


class ObserverConfig(BaseModel):
    """The base class of an observer's ``Config``.

    Define the fields that the observer needs in a subclass. The type of every secret must be
    ``SecretStr``. Users write the values into ``settings.yaml`` in the data directory, under
    ``observers`` and the observer's name. For a secret, they write a reference: ``env:NAME`` or
    ``file:/absolute/path``. The field then has the value that the reference points to.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True
    )


FieldFormat = Literal["text", "lines", "boolean", "integer", "number", "date"]
"""The forms of a field's value, for input elements of forms."""

SEVERAL_LINES: dict[str, JsonValue] = {"lines": True}
"""The ``json_schema_extra`` of a field whose value may have several lines."""


@record
class ConfigField:
    """One field of a ``Config``, for forms and command-line options.

    Attributes:
        name: The name of the field.
        description: The help text.
        required: Whether every member of the union that has this field requires it.
        secret: Whether the value is a secret.
        choices: The values that a ``Literal`` field allows; otherwise empty.
        only_for: For unions, the values of the discriminator for which the field exists; otherwise
            empty.
        required_for: For unions, the values of the discriminator for which the field is required.
        may_be_plain: Whether a value without a password may be given and stored as plain text,
            although the field is secret.
        default: The default value as text; ``None`` if there is none.
        format: The form of the value. ``lines`` is a text with several lines.
    """

    name: str
    description: str
    required: bool
    secret: bool
    choices: tuple[str, ...] = ()
    only_for: tuple[str, ...] = ()
    required_for: tuple[str, ...] = ()
    may_be_plain: bool = False
    default: str | None = None
    format: "FieldFormat" = "text"


def members(config_type: Any) -> tuple[type[ProviderConfig], ...]:
    """Return the classes of a ``Config``: the class itself, or the members of the union."""
    if get_origin(config_type) is Annotated:
        config_type = get_args(config_type)[0]
    return tuple(get_args(config_type)) or (config_type,)


def discriminator_of(config_type: Any) -> str | None:
    """Return the name of a union's discriminator field; ``None`` for a single class."""
    for extra in get_args(config_type)[1:] if get_origin(config_type) is Annotated else ():
        if isinstance(extra, FieldInfo) and isinstance(extra.discriminator, str):
            return extra.discriminator
    return None


def addresses_in(config: ProviderConfig) -> tuple[str, ...]:
    """Return the URLs in a configuration: those in its fields, and the base URL of the API."""
    values = (getattr(config, name) for name in type(config).model_fields)
    named = (value for value in values if isinstance(value, str) and _HTTP.match(value))
    return tuple(dict.fromkeys([*named, config.api_base_url]))


def config_fields(config_type: Any) -> tuple[ConfigField, ...]:
    """Return the fields of a ``Config`` in their order, the discriminator first.

    The field ``name`` is left out.
    """
    discriminator = discriminator_of(config_type)
    found: dict[str, ConfigField] = {}
    for member in members(config_type):
        tag = _choices(member.model_fields[discriminator]) if discriminator else ()
        for name, info in member.model_fields.items():
            if name == "name":
                continue
            known = found.get(name)
            required = info.is_required() or name == discriminator
            found[name] = ConfigField(
                name=name,
                description=_joined(known.description if known else "", info.description or ""),
                required=required and (known is None or known.required),
                secret=is_secret(info),
                choices=(known.choices if known else ()) + _choices(info),
                only_for=(known.only_for if known else ()) + tag,
                required_for=(known.required_for if known else ()) + (tag if required else ()),
                default=known.default if known else _default(info),
                format=known.format if known else _format(info),
            )
    return tuple(sorted(found.values(), key=lambda field: field.name != discriminator))


def parse_config(config_type: Any, values: Mapping[str, object], *, kind: str) -> ProviderConfig:
    """Create a plugin's ``Config`` from the user's values.

    Args:
        config_type: The ``Config``.
        values: The values by field name. Secrets are ``SecretStr``.
        kind: The kind of the provider, for error messages.

    Raises:
        ConfigurationError: A value is missing or invalid. The message has a line with the field's
            name for each of them, but never the value.
        PluginError: pydantic does not support a field.
    """
    try:
        return _validated(config_type, dict(values))
    except ValidationError as error:
        problems = find_problems(error, config_type, values)
    except (PydanticUserError, SchemaError) as error:
        raise PluginError(
            f"The Config of providers of kind {kind!r} cannot be used: {describe_unusable(error)}",
            hint="Upgrade the plugin. If that does not help, report this to its author.",
            kind=kind,
        ) from None
    redactor = Redactor(value for value in values.values() if isinstance(value, SecretStr))
    name, told = values.get("name"), [redactor.mask(each.text(".")) for each in problems]
    raise ConfigurationError(
        redactor.mask(f"The configuration of {kind} provider {name!r} is not valid: ")
        + "; ".join(told),
        hint=f"See the fields of a {kind} provider: deploycore provider add --kind {kind} --help",
        provider=str(name),
        fields=told,
    )


def _validated(config_type: Any, values: dict[str, object]) -> ProviderConfig:
    """Validate values by the one class that they are for; see :func:`parse_config`.

    Raises:
        ValidationError: They are not valid. Its places are those of the whole ``Config``.
    """
    member = _member_for(config_type, values)
    if member is not None:
        # Building the schema of the whole union takes as long as everything else here.
        with suppress(ValidationError):
            return member.model_validate(values)
    config: ProviderConfig = TypeAdapter(config_type).validate_python(values)
    return config


def _member_for(config_type: Any, values: Mapping[str, object]) -> type[ProviderConfig] | None:
    """Return the class that validates values; ``None`` if only the whole ``Config`` can decide."""
    discriminator = discriminator_of(config_type)
    if discriminator is None:
        return next(iter(members(config_type))) if inspect.isclass(config_type) else None
    if len(get_args(config_type)) > 2 or not isinstance(tag := values.get(discriminator), str):
        return None
    for each in members(config_type):
        if tag in get_args(each.model_fields[discriminator].annotation):
            return each
    return None


def is_secret(info: FieldInfo) -> bool:
    return _holds_secret(info.annotation)


def _holds_secret(annotation: Any) -> bool:
    # This also finds Annotated[SecretStr, …] | None, whose outer type is not SecretStr.
    return annotation is SecretStr or any(map(_holds_secret, get_args(annotation)))


def _default(info: FieldInfo) -> str | None:
    value = info.default
    if is_secret(info) or not isinstance(value, str | int | float | date):
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


_FORMATS: tuple[tuple[type, FieldFormat], ...] = (
    (bool, "boolean"),  # before int, because bool is a subclass of int
    (int, "integer"),
    (float, "number"),
    (date, "date"),
)


def _format(info: FieldInfo) -> FieldFormat:
    if isinstance(info.json_schema_extra, dict) and info.json_schema_extra.get("lines") is True:
        return "lines"
    types = [each for each in _types_in(info.annotation) if each is not type(None)]
    return next((name for type_, name in _FORMATS if types == [type_]), "text")


def _types_in(annotation: Any) -> list[Any]:
    """Return the types that a value may have: a union's members, without ``Annotated``."""
    if get_origin(annotation) is Annotated:
        return _types_in(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [each for member in get_args(annotation) for each in _types_in(member)]
    return [annotation]


def _joined(known: str, further: str) -> str:
    return known if further in known else f"{known}; or {further}" if known else further


def _choices(info: FieldInfo) -> tuple[str, ...]:
    is_literal = get_origin(info.annotation) is Literal
    return tuple(map(str, get_args(info.annotation))) if is_literal else ()
