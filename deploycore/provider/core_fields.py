"""The fields of the core for every provider: its network settings, the SSH key of git, and the
expiry of its credentials.

They are stored together with the plugin's fields, and are removed before the plugin's ``Config`` is
created, so a plugin does not need to know them. If a plugin has a field with the same name, the
field belongs to the plugin.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)

from deploycore.configuration import (
    SEVERAL_LINES,
    ConfigField,
    ProviderConfig,
    config_fields,
    members,
    parse_config,
)
from deploycore.errors import ConfigurationError
from deploycore.http import HttpSettings
from deploycore.http.certificates import refuse_unusable_bundle, refuse_unusable_certificate
from deploycore.models import CloneUrl, SshAddress, SshCredential
from deploycore.text.validation import find_problems

if TYPE_CHECKING:
    from deploycore.git import GitSettings

__all__ = [
    "NO_CORE_FIELDS",
    "CoreFields",
    "FieldGroup",
    "ParsedFields",
    "about_field",
    "all_fields",
    "core_fields",
    "core_group",
    "parse_fields",
    "read_host_key_option",
    "split_fields",
]

NO_PROXY = "none"
"""The value of ``proxy`` for no proxy at all, whatever the environment has."""


def _path(text: str) -> str:
    if not text.strip():
        raise ValueError("it is empty")
    return str(Path(text).expanduser().absolute())


def _proxy(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value().strip()
    if text == NO_PROXY:
        return SecretStr(text)
    address = text if "://" in text else f"http://{text}"
    from urllib3.util import Url, parse_url  # few providers have a proxy

    try:
        parts = parse_url(address)
    except ValueError:
        parts = Url()
    # Raise here, because urllib3's own errors quote text that may contain a password.
    if parts.scheme not in ("http", "https") or not parts.host or parts.path not in (None, "/"):
        raise ValueError(f"it must be http:// or https:// with a host and a port, or {NO_PROXY!r}")
    return SecretStr(address)


def _host_keys(text: str) -> str:
    """Return the lines of a known_hosts file, from the text itself or from the file that it
    names."""
    from deploycore.ssh.known_hosts import read_host_keys  # few providers have keys

    path = Path(text.strip()).expanduser()
    is_file = "\n" not in text.strip() and len(text.split()) == 1
    if is_file:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise ValueError(
                "it is neither a line of a known_hosts file, nor such a file"
            ) from None
    return "\n".join(read_host_keys(text))


_File = Annotated[str, AfterValidator(_path)]
_Seconds = Annotated[float, Field(gt=0, le=600)]


class CoreFields(BaseModel):
    """The values of a provider's core fields."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True
    )

    ca_bundle: _File | None = Field(
        None,
        description="PEM file or directory with the CA certificates to trust (default: those of"
        " REQUESTS_CA_BUNDLE, else public ones)",
    )
    client_certificate: _File | None = Field(
        None, description="PEM file with a client certificate for the host"
    )
    client_key: _File | None = Field(
        None,
        description="PEM file with the key of the client certificate (default: the same file)",
    )
    proxy: Annotated[SecretStr, AfterValidator(_proxy)] | None = Field(
        None,
        description="address of an HTTP proxy, such as http://proxy.example.com:3128, or none"
        " (default: that of HTTPS_PROXY); an address with a password is a secret",
    )
    connect_timeout: _Seconds | None = Field(
        None, description="seconds to establish a connection, at most 600 (default: 5; git: 10)"
    )
    read_timeout: _Seconds | None = Field(
        None, description="seconds to wait for more data, at most 600 (default: 30; git: 60)"
    )
    ssh_private_key: SecretStr | None = Field(
        None,
        description="private key, in the OpenSSH or PEM format, to clone over SSH (default: git"
        " clones over HTTPS)",
    )
    ssh_passphrase: SecretStr | None = Field(
        None, description="passphrase that the SSH private key is encrypted with"
    )
    ssh_agent: bool = Field(
        False,
        description="true to clone over SSH with the keys of the agent that SSH_AUTH_SOCK names",
    )
    ssh_host_keys: Annotated[str, AfterValidator(_host_keys)] | None = Field(
        None,
        description="lines of a known_hosts file with the keys of the SSH server, or the path of"
        " such a file; added to the keys that the host publishes",
        json_schema_extra=SEVERAL_LINES,
    )
    expires_on: date | None = Field(
        None,
        description="date on which the credentials expire, such as 2027-01-31, if the host does"
        " not tell; rotating the credentials removes it",
    )

    @property
    def expires_at(self) -> datetime | None:
        """When the credentials expire, according to the user: the start of that day in UTC."""
        day = self.expires_on
        return None if day is None else datetime.combine(day, time(), UTC)

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """The SSH key with its passphrase, and the proxy's address and password, if it has one."""
        given = (self.ssh_private_key, self.ssh_passphrase)
        return (*(each for each in given if each is not None), *self._proxy_secrets)

    @property
    def _proxy_secrets(self) -> tuple[SecretStr, ...]:
        if self.proxy is None:
            return ()
        from urllib3.util import parse_url

        auth = parse_url(self.proxy.get_secret_value()).auth
        if not auth:
            return ()
        password = auth.partition(":")[2]
        return (self.proxy, SecretStr(auth), *([SecretStr(password)] if password else []))

    @property
    def uses_ssh(self) -> bool:
        """Whether git clones over SSH."""
        return self.ssh_private_key is not None or self.ssh_agent

    def with_ssh_key(self, key: SecretStr) -> "CoreFields":
        """The same fields with another SSH key, which has no passphrase."""
        own = {"ssh_private_key": key, "ssh_passphrase": None, "ssh_agent": False}
        return self.model_copy(update=own)

    def ssh_source(self, address: SshAddress) -> CloneUrl:
        """Return what git needs to clone over SSH: the key, and the host's pinned keys."""
        pinned = (self.ssh_host_keys or "").splitlines()
        return CloneUrl(
            url=address.url,
            credential=SshCredential(
                private_key=self.ssh_private_key,
                passphrase=self.ssh_passphrase,
                agent=self.ssh_agent,
                host_keys=(*pinned, *address.host_keys),
            ),
        )

    def http_settings(self, settings: HttpSettings | None = None) -> HttpSettings:
        """Return the settings of API requests, changed by these fields."""
        return replace(settings or HttpSettings(), **self._options())

    def git_settings(self, settings: "GitSettings") -> "GitSettings":
        """Return the settings of git and Git LFS, changed by these fields."""
        return replace(settings, **self._options())

    def _options(self) -> dict[str, Any]:
        names = ("ca_bundle", "connect_timeout", "read_timeout")
        options = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if self.client_certificate is not None:
            options |= {
                "client_certificate": self.client_certificate,
                "client_key": self.client_key,
            }
        if self.proxy is not None:
            is_none = self.proxy.get_secret_value() == NO_PROXY
            options |= {"use_proxies": not is_none, "proxy": None if is_none else self.proxy}
        return options


NO_CORE_FIELDS = CoreFields.model_construct()  # without validation, which takes time to set up
"""The core fields of a provider that has none of them."""


class ParsedFields(NamedTuple):
    """The parsed fields of a provider.

    Attributes:
        config: The plugin's part.
        core: The core's part.
        settings: The fields that are not secret, in the form to store.
    """

    config: ProviderConfig
    core: CoreFields
    settings: Mapping[str, str]


def core_fields(config_type: Any) -> tuple[ConfigField, ...]:
    """Return the core fields of a provider.

    Args:
        config_type: The plugin's ``Config``, whose own fields take precedence.
    """
    names = _core_names(config_type)
    return tuple(
        replace(field, may_be_plain=field.name == "proxy")
        for field in config_fields(CoreFields)
        if field.name in names
    )


def _core_names(config_type: Any) -> set[str]:
    """Return the names of the core fields of a provider."""
    taken = {name for member in members(config_type) for name in member.model_fields}
    return CoreFields.model_fields.keys() - taken


FieldGroup = Literal["network", "ssh", "expiry"]
"""The purposes of core fields."""


def core_group(field: ConfigField) -> FieldGroup:
    """Return the purpose of a core field."""
    if field.name.startswith("ssh_"):
        return "ssh"
    return "expiry" if field.name == "expires_on" else "network"


def all_fields(config_type: Any) -> tuple[ConfigField, ...]:
    """Return the fields of a plugin's ``Config``, then those of the core."""
    return config_fields(config_type) + core_fields(config_type)


def parse_fields(
    config_type: Any,
    settings: Mapping[str, str],
    secrets: Mapping[str, SecretStr],
    *,
    name: str,
    kind: str,
) -> ParsedFields:
    """Validate a provider's fields, those of its plugin and those of the core.

    Raises:
        ConfigurationError: A value is missing or invalid, or a file cannot be used.
    """
    own = _core_names(config_type)
    if "@" in settings.get("proxy", "") and "proxy" in own:
        raise ConfigurationError(
            f"The proxy of provider {name} has a user name or a password. It must be a secret.",
            hint="Give it by --proxy-stdin, --proxy-env NAME or --proxy-file PATH.",
            provider=name,
            fields=["proxy: it has a user name or a password, so it must be a secret"],
        )
    config, core = split_fields(config_type, {"name": name, **settings, **secrets}, kind=kind)
    if config.NEEDS_SSH_KEY and not core.uses_ssh:
        raise _no_key(config, name)
    refuse_unusable_key(core, name)
    return ParsedFields(config, core, {**settings, **_as_stored(core, own & settings.keys())})


def split_fields(
    config_type: Any, values: Mapping[str, object], *, kind: str
) -> tuple[ProviderConfig, CoreFields]:
    """Validate the fields of a plugin and those of the core.

    Raises:
        ConfigurationError: As for ``parse_fields``.
    """
    own = _core_names(config_type)
    core = {key: value for key, value in values.items() if key in own}
    rest = {key: value for key, value in values.items() if key not in own}
    try:
        config = parse_config(config_type, rest, kind=kind)
    except ConfigurationError as error:
        _add_core_problems(error, core)
        raise
    return config, _parse_core(core, config.name, kind)


def _add_core_problems(error: ConfigurationError, values: Mapping[str, object]) -> None:
    """Add the problems of the core's fields to an error, so that all problems are reported at
    once."""
    try:
        CoreFields.model_validate(values)
    except ValidationError as invalid:
        problems = [each.text(".") for each in find_problems(invalid, CoreFields, values)]
        error.message = "; ".join([error.message, *problems])
        error.args = (error.message,)
        error.details["fields"] = [*error.details.get("fields", ()), *problems]


def _parse_core(values: Mapping[str, object], name: str, kind: str) -> CoreFields:
    if not values:
        return NO_CORE_FIELDS
    try:
        core = CoreFields.model_validate(values)
    except ValidationError as error:
        problems = [each.text(".") for each in find_problems(error, CoreFields, values)]
    else:
        _refuse_unusable(core, name)
        return core
    raise ConfigurationError(
        f"The configuration of {kind} provider {name!r} is not valid: {'; '.join(problems)}",
        hint=f"See the fields of every kind: deploycore provider add --kind {kind} --help",
        provider=name,
        fields=problems,
    )


def _no_key(config: ProviderConfig, name: str) -> ConfigurationError:
    mode = getattr(config, "mode", None)
    return ConfigurationError(
        f"Provider {name} has no ssh_private_key, which mode {mode} requires."
        if mode
        else f"Provider {name} has no ssh_private_key, which it requires.",
        hint="Give it by --ssh-private-key-file PATH, or use the agent: --ssh-agent true",
        provider=name,
        fields=["ssh_private_key: is missing; or use the agent"],
    )


def _refuse_unusable(core: CoreFields, name: str) -> None:
    if core.client_key and not core.client_certificate:
        raise ConfigurationError(
            f"Provider {name} has a client_key, but no client_certificate.",
            hint="Give both, or neither.",
            provider=name,
            fields=["client_key: needs a client_certificate"],
        )
    with about_field("ca_bundle", provider=name):
        if core.ca_bundle:
            refuse_unusable_bundle(core.ca_bundle)
    with about_field("client_certificate", provider=name):
        if core.client_certificate:
            refuse_unusable_certificate(core.client_certificate, core.client_key)


@contextmanager
def about_field(field: str, *, provider: str | None = None) -> Iterator[None]:
    """Add to an error which field of a provider each problem is about, for forms."""
    try:
        yield
    except ConfigurationError as error:
        error.add_context(provider=provider)
        error.details.setdefault("fields", [f"{field}: {error.message}"])
        raise


def read_host_key_option(text: str) -> str:
    """Read lines of a known_hosts file, or the file that is named.

    Raises:
        ConfigurationError: It is neither.
    """
    try:
        return _host_keys(text)
    except ValueError as error:
        problem = str(error)
    raise ConfigurationError(
        f"The host key cannot be used: {problem}.",
        hint="Give a line such as: host.example.com ssh-ed25519 AAAA… or the path of a known_hosts"
        " file.",
    )


def refuse_unusable_key(core: CoreFields, name: str) -> None:
    """Refuse an unreadable SSH key when it is entered, not only when it is first used.

    Raises:
        ConfigurationError: The key or its passphrase is wrong, or the extra is not installed.
    """
    if not core.uses_ssh:
        return
    from deploycore.ssh.library import require_extra

    require_extra()
    if core.ssh_private_key is None:
        return
    from deploycore.ssh.keys import read_private_key  # needs the extra

    with about_field("ssh_private_key", provider=name):
        read_private_key(core.ssh_private_key, core.ssh_passphrase)


def _as_stored(core: CoreFields, given: set[str]) -> dict[str, str]:
    """Return paths and host keys in the form to store, because other processes have other working
    directories."""
    files = given & {"ca_bundle", "client_certificate", "client_key", "ssh_host_keys"}
    return {each: getattr(core, each) for each in files}
