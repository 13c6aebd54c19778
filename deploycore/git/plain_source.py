"""Where to clone from, as another process found it out, without importing pydantic.

Git reads the same attributes of these classes as of the models that providers return. What checks
values, such as a provider's hook or Git LFS, gets models again; see ``as_model``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from deploycore.plain_secret import PlainSecret

if TYPE_CHECKING:
    from datetime import datetime

    from deploycore.models import CloneUrl, GitCredential, SshCredential

    Credential = GitCredential | SshCredential

__all__ = [
    "as_model",
    "credential_as_model",
    "credential_as_plain",
    "is_key",
    "pack_source",
    "pack_value",
    "unpack_source",
    "unpack_value",
]


class _Password(NamedTuple):
    """The same as ``GitCredential``."""

    username: str
    password: PlainSecret
    scheme: str
    expires_at: datetime | None


class _Key(NamedTuple):
    """The same as ``SshCredential``."""

    private_key: PlainSecret | None
    passphrase: PlainSecret | None
    agent: bool
    host_keys: tuple[str, ...]


class _Source(NamedTuple):
    """The same as ``CloneUrl``."""

    url: str
    credential: _Password | _Key | None


def is_key(credential: Credential | None) -> bool:
    """Whether a credential is for SSH."""
    return hasattr(credential, "host_keys")


def pack_source(source: CloneUrl) -> tuple[Any, ...]:
    """Return a source as values that ``marshal`` can write. They contain the secrets."""
    credential = source.credential
    if credential is None:
        return source.url, None
    values = [getattr(credential, name) for name in _class_of(credential)._fields]
    return source.url, is_key(credential), tuple(map(pack_value, values))


def unpack_source(values: tuple[Any, ...]) -> CloneUrl:
    """Return a source that ``pack_source`` packed."""
    url, is_key, *rest = values
    credential = None
    if rest:
        credential = (_Key if is_key else _Password)(*map(unpack_value, rest[0]))
    return cast("CloneUrl", _Source(url, credential))


def as_model(source: CloneUrl) -> CloneUrl:
    """Return the model of a source."""
    if not isinstance(source, _Source):
        return source
    from deploycore.models import CloneUrl

    credential = source.credential
    return CloneUrl(
        url=source.url,
        credential=None if credential is None else credential_as_model(cast("Any", credential)),
    )


def credential_as_model(credential: Credential) -> Credential:
    """Return the model of a credential."""
    if not isinstance(credential, _Password | _Key):
        return credential
    from deploycore.models import GitCredential, SshCredential

    model = GitCredential if isinstance(credential, _Password) else SshCredential
    fields = {name: _revealed(value) for name, value in credential._asdict().items()}
    return model.model_validate(fields)


def credential_as_plain(credential: Credential) -> Credential:
    """Return a credential in the form that ``unpack_source`` returns, whose copies are equal."""
    if isinstance(credential, _Password | _Key):
        return credential
    made = _class_of(credential)
    values = (unpack_value(pack_value(getattr(credential, name))) for name in made._fields)
    return cast("Credential", made(*values))


def pack_value(value: Any) -> Any:
    """Return a value as one that ``marshal`` can write: a secret or a time as a dictionary."""
    if hasattr(value, "get_secret_value"):
        return {"secret": value.get_secret_value()}
    return {"time": value.isoformat()} if hasattr(value, "isoformat") else value


def unpack_value(value: Any) -> Any:
    """Return a value that ``pack_value`` packed, a secret as ``PlainSecret``."""
    if not isinstance(value, dict):
        return value
    if "secret" in value:
        return PlainSecret(value["secret"])
    from datetime import datetime

    return datetime.fromisoformat(value["time"])


def _revealed(value: Any) -> Any:
    return value.get_secret_value() if isinstance(value, PlainSecret) else value


def _class_of(credential: Credential) -> type[_Password] | type[_Key]:
    return _Key if is_key(credential) else _Password
