"""Where to clone from, and the credentials for it."""

import re
from collections.abc import Iterable
from typing import Literal, Self
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import AwareDatetime, SecretStr, field_validator, model_validator

from deploycore.models.base import Model, NonEmpty

__all__ = ["CloneUrl", "GitCredential", "SshAddress", "SshCredential"]


class GitCredential(Model):
    """The credential for a git server. Its username often differs from that for the REST API.

    Attributes:
        username: The username for git.
        password: The password or token.
        scheme: How the credential is sent: ``basic`` with the username (RFC 7617), or ``bearer``
            (RFC 6750), which sends only the token.
        expires_at: When the credential expires; ``None`` if this is unknown. The core calls
            ``clone_url`` again if the credential has expired before a fetch, and once if the git
            server rejects it.
    """

    username: NonEmpty
    password: SecretStr
    scheme: Literal["basic", "bearer"] = "basic"
    expires_at: AwareDatetime | None = None


class SshCredential(Model):
    """The credential for a git server over SSH: a private key, or the keys of an SSH agent.

    Attributes:
        private_key: The text of a private key in the OpenSSH or PEM format. ``None`` with ``agent``
            only.
        passphrase: The passphrase of the private key; ``None`` if it is not encrypted.
        agent: Whether to use the keys of the agent that ``SSH_AUTH_SOCK`` names. It is never
            forwarded.
        host_keys: The keys that the host may have, as lines of a ``known_hosts`` file.
            deploycore does not connect to a host with another key.
    """

    private_key: SecretStr | None = None
    passphrase: SecretStr | None = None
    agent: bool = False
    host_keys: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _has_a_key(self) -> Self:
        if self.private_key is None and not self.agent:
            raise ValueError("an SSH credential has a private key, or uses the agent")
        return self


_SHORT_SSH = r"(?:(?P<user>[^@:/\s]+)@)?(?P<host>[A-Za-z0-9][\w.-]*):(?!//)(?P<path>\S+)"


class SshAddress(Model):
    """The address to clone a repository from over SSH.

    Attributes:
        url: ``ssh://git@host[:port]/path``.
        host_keys: The keys that the host publishes, as lines of a ``known_hosts`` file; empty if it
            publishes none. Then the user has to pin them.
    """

    url: str
    host_keys: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str, host_keys: Iterable[str] = ()) -> Self:
        """Read an ssh URL, or git's short form ``git@host:path``, as hosts list them.

        Raises:
            ValueError: It is neither.
        """
        found = re.fullmatch(_SHORT_SSH, text)
        if found is not None and "://" not in text:
            path = quote(found["path"].lstrip("/"), safe="/~%")
            text = f"ssh://{quote(found['user'] or 'git')}@{found['host']}/{path}"
        return cls(url=text, host_keys=tuple(host_keys))

    @field_validator("url")
    @classmethod
    def _url_is_for_ssh(cls, url: str) -> str:
        _refuse_unclean(url)
        if urlsplit(url).scheme != "ssh":
            raise ValueError("the address is an ssh URL")
        return url


def _refuse_unclean(url: str) -> None:
    """Refuse a text that is not an address to clone from.

    Raises:
        ValueError: The text has another scheme, no host, or a part that is not allowed.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https", "ssh") or not parts.hostname:
        raise ValueError("a clone URL is an absolute http, https or ssh URL")
    if parts.password is not None or (parts.username is not None and parts.scheme != "ssh"):
        raise ValueError("a clone URL holds no user information; give the credential apart")
    if parts.query or parts.fragment:
        raise ValueError("a clone URL has no query and no fragment")


class CloneUrl(Model):
    """The URL to clone a repository from, and the credential for it.

    Attributes:
        url: ``https://host/path.git``, without user information, query or fragment; or
            ``ssh://git@host[:port]/path.git``, which may name a user and never has a password.
        credential: ``None`` for a public repository; an ``SshCredential`` for ``ssh``.
    """

    url: str
    credential: GitCredential | SshCredential | None = None

    @field_validator("url")
    @classmethod
    def _url_is_clean(cls, url: str) -> str:
        _refuse_unclean(url)
        return url

    @model_validator(mode="after")
    def _credential_fits(self) -> Self:
        if self.credential is None:
            return self
        if isinstance(self.credential, SshCredential) != (urlsplit(self.url).scheme == "ssh"):
            raise ValueError("an ssh URL takes an SshCredential, another URL a GitCredential")
        return self

    def without_credential(self) -> "CloneUrl":
        """Return a copy without the credential, for logs and observers."""
        return self.model_copy(update={"credential": None})

    def reveal_joined(self) -> str:
        """Return the URL with the credential in it: ``https://user:secret@host/…``.

        A person can pass it to a standard git client. deploycore itself never uses this form,
        because it ends up in argument lists and in ``.git/config``. A URL cannot contain a key, so
        with an ``SshCredential`` this is only the URL.
        """
        if not isinstance(self.credential, GitCredential):
            return self.url
        parts = urlsplit(self.url)
        user = quote(self.credential.username, safe="")
        password = quote(self.credential.password.get_secret_value(), safe="")
        return urlunsplit(parts._replace(netloc=f"{user}:{password}@{parts.netloc}"))
