"""What a provider's configuration must tell the core, and how the core reads its fields.

Forms, command-line options and the store are made from the fields of a plugin's ``Config``,
so that an author describes each value once and the core knows which of them are secret.
"""

from __future__ import annotations

import ipaddress
import re
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
)
from pydantic.fields import FieldInfo

from deploycore.errors import ConfigurationError
from deploycore.redaction import Redactor
from deploycore.text.validation import NAME_PATTERN as NAME_PATTERN
from deploycore.text.validation import describe_problems
from deploycore.tokens import RenewableAuth, SignIn

__all__ = [
    "ConfigField",
    "HttpAuth",
    "HttpsAddress",
    "ObserverConfig",
    "ProviderConfig",
    "ProviderName",
    "TokenStr",
    "config_fields",
    "is_loopback",
    "parse_config",
]

_HTTP = re.compile("https?://")
_NOT_IN_A_TOKEN = re.compile(r"[\s\x00-\x1f\x7f]")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by a name or address that can't be another one."""
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
    # Raised out here, since urlsplit's own errors quote what may be a password.
    if parts is None or not parts.hostname or parts.scheme not in ("http", "https"):
        raise ValueError(fault)
    if "@" in parts.netloc or re.search(r"[?#\\\s]", text):
        raise ValueError(
            "it must not have user information, a query, a fragment, backslashes or white space"
        )
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("http is allowed for loopback addresses only: use https")
    return text


def _token(secret: SecretStr) -> SecretStr:
    value = secret.get_secret_value().strip()
    if not value:
        raise ValueError("it is empty")
    if _NOT_IN_A_TOKEN.search(value):
        raise ValueError("it has white space or control characters; copy it again")
    return SecretStr(value)


HttpsAddress = Annotated[str, AfterValidator(_address)]
"""An absolute URL to append paths to, without a slash at its end: https, or http to this
machine alone."""

TokenStr = Annotated[SecretStr, AfterValidator(_token)]
"""A secret of one word, as tokens and keys are; white space around it is taken off."""

ProviderName = Annotated[str, Field(pattern=NAME_PATTERN, description="name of the provider")]
"""The user's name for a configured provider, of letters, digits, dots, dashes and underscores."""


class HttpAuth(Protocol):
    """Puts the authorisation into a request's headers, at the last moment."""

    def header(self) -> tuple[str, SecretStr]:
        """The header's name and its whole value.

        Called once for each try, from any thread. It may ask the host for a token that does not
        last; the errors of :mod:`deploycore.errors` that this raises end the request.
        """


class ProviderConfig(BaseModel):
    """The base of every provider's ``Config``.

    Subclass it with the fields that the host needs; type every secret ``SecretStr``. The
    core builds forms and command-line options from the fields: ``description`` becomes the
    help text, ``Literal`` a choice, ``SecretStr`` a hidden prompt. Where a host has several
    ways to sign in, ``Config`` is a discriminated union of subclasses.

    Attributes:
        name: The user's name for this configured provider.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: ProviderName

    @property
    @abstractmethod
    def api_base_url(self) -> str:
        """What the plugin's paths are relative to, such as ``https://api.example.com/2.0``."""
        raise NotImplementedError

    @property
    @abstractmethod
    def api_auth(self) -> HttpAuth | RenewableAuth | None:
        """How API requests are authorised: by a header that does not change, or by a token that
        the core obtains and renews; ``None`` for anonymous access."""
        raise NotImplementedError

    @property
    def sign_in(self) -> SignIn | None:
        """How a person signs in with ``deploycore provider authorize``, if the provider needs that.

        Override it where ``api_auth`` is a :class:`~deploycore.tokens.RenewableAuth` with
        ``is_stored``, whose first token a person must obtain. The default is ``None``: the
        configuration alone is enough.
        """
        return None


class ObserverConfig(BaseModel):
    """The base of an observer's ``Config``.

    Subclass it with the fields that the observer needs; type every secret ``SecretStr``. The
    values are those of the observer's name under ``observers`` in ``settings.yaml`` of the data
    directory. There, a secret is a reference, ``env:NAME`` or ``file:/absolute/path``, and the
    field has the value that it refers to.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


@dataclass(frozen=True)
class ConfigField:
    """One value that a person gives when adding a provider.

    Attributes:
        required: Whether it must be given wherever it applies.
        choices: The values that a ``Literal`` field allows, else empty.
        only_for: For unions: the discriminator's values whose member has this field, else empty.
        required_for: For unions: those of them whose member requires it.
        may_be_plain: Whether a secret may also be given and stored as plain text, where it holds
            no password.
    """

    name: str
    description: str
    required: bool
    secret: bool
    choices: tuple[str, ...] = ()
    only_for: tuple[str, ...] = ()
    required_for: tuple[str, ...] = ()
    may_be_plain: bool = False


def members(config_type: Any) -> tuple[type[ProviderConfig], ...]:
    """The classes that a ``Config`` may be: itself, or the members of its union."""
    if get_origin(config_type) is Annotated:
        config_type = get_args(config_type)[0]
    return tuple(get_args(config_type)) or (config_type,)


def discriminator_of(config_type: Any) -> str | None:
    """The field that tells the members of a union apart; ``None`` for a single class."""
    for extra in get_args(config_type)[1:] if get_origin(config_type) is Annotated else ():
        if isinstance(extra, FieldInfo) and isinstance(extra.discriminator, str):
            return extra.discriminator
    return None


def addresses_in(config: ProviderConfig) -> tuple[str, ...]:
    """The URLs that a configuration names: where the API is, and where else its host is."""
    values = (getattr(config, name) for name in type(config).model_fields)
    named = (value for value in values if isinstance(value, str) and _HTTP.match(value))
    return tuple(dict.fromkeys([*named, config.api_base_url]))


def config_fields(config_type: Any) -> tuple[ConfigField, ...]:
    """The fields of a ``Config`` besides ``name``, the discriminator first, in written order."""
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
            )
    return tuple(sorted(found.values(), key=lambda field: field.name != discriminator))


def parse_config(config_type: Any, values: Mapping[str, object], *, kind: str) -> ProviderConfig:
    """Validate what a person gave against a plugin's ``Config``.

    Args:
        values: Field names to values; secrets as ``SecretStr``.
        kind: The provider's kind, for messages.

    Raises:
        ConfigurationError: One line for each value that is missing or wrong, with the field's
            name and never with its value.
    """
    try:
        config: ProviderConfig = TypeAdapter(config_type).validate_python(dict(values))
    except ValidationError as error:
        problems = describe_problems(error, config_type, values)
    else:
        return config
    redactor = Redactor(value for value in values.values() if isinstance(value, SecretStr))
    name = values.get("name")
    raise ConfigurationError(
        redactor.mask(f"The configuration of {kind} provider {name!r} is not valid: {problems}"),
        hint=f"See the fields of a {kind} provider: deploycore provider add --kind {kind} --help",
        provider=str(name),
    )


def is_secret(info: FieldInfo) -> bool:
    return _holds_secret(info.annotation)


def _holds_secret(annotation: Any) -> bool:
    # Also of Annotated[SecretStr, …] | None, in which it is not at the top.
    return annotation is SecretStr or any(map(_holds_secret, get_args(annotation)))


def _joined(known: str, further: str) -> str:
    return known if further in known else f"{known}; or {further}" if known else further


def _choices(info: FieldInfo) -> tuple[str, ...]:
    is_literal = get_origin(info.annotation) is Literal
    return tuple(map(str, get_args(info.annotation))) if is_literal else ()
