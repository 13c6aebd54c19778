"""The ways to authorize requests. A value is a ``SecretStr`` until it is in the header."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pydantic import SecretStr

from deploycore.configuration import HttpAuth
from deploycore.records import record

if TYPE_CHECKING:
    import requests

__all__ = ["Authorisation", "BasicAuth", "BearerAuth", "HeaderAuth", "HttpAuth"]


@record
class BasicAuth:
    """HTTP Basic authentication (RFC 7617), in UTF-8."""

    username: str
    password: SecretStr

    @property
    def secret(self) -> SecretStr:
        """The password."""
        return self.password

    def header(self) -> tuple[str, SecretStr]:
        """Return ``Authorization: Basic …``."""
        pair = f"{self.username}:{self.password.get_secret_value()}".encode()
        return "Authorization", SecretStr(f"Basic {base64.b64encode(pair).decode('ascii')}")


@record
class BearerAuth:
    """``Authorization: Bearer …`` (RFC 6750)."""

    token: SecretStr

    @property
    def secret(self) -> SecretStr:
        """The token."""
        return self.token

    def header(self) -> tuple[str, SecretStr]:
        """Return ``Authorization: Bearer …``."""
        return "Authorization", SecretStr(f"Bearer {self.token.get_secret_value()}")


@record
class HeaderAuth:
    """A token in a header that is specific to the host, such as ``PRIVATE-TOKEN``."""

    name: str
    token: SecretStr

    @property
    def secret(self) -> SecretStr:
        """The token."""
        return self.token

    def header(self) -> tuple[str, SecretStr]:
        """Return the header with the token."""
        return self.name, self.token


class Authorisation:
    """Sets the header just before a request is sent. It also prevents requests from reading .netrc.

    Args:
        auth: The authorization; ``None`` for anonymous access.
        learn: Is called with each secret before it is sent, so that a response that contains it is
            masked.
    """

    def __init__(
        self, auth: HttpAuth | None, learn: Callable[[SecretStr], None] = lambda _: None
    ) -> None:
        self.auth = auth
        self._learn = learn
        self._sent: SecretStr | None = None

    def of_one_try(self) -> Authorisation:
        """Return a copy for one attempt, which remembers the header that it sends."""
        return Authorisation(self.auth, self._learn)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self.auth is not None:
            name, value = self.auth.header()
            self._learn(self._secret(value))
            self._sent = value
            request.headers[name] = value.get_secret_value()
        return request

    def can_be_renewed(self) -> bool:
        """Whether a request that the host rejected (401) may succeed with another token."""
        if self._sent is None or not isinstance(self.auth, Renewable):
            return False
        return self.auth.refused(self._sent)

    def _secret(self, value: SecretStr) -> SecretStr:
        """Return the password or token. If a plugin's own class does not name it, read it from the
        header's value."""
        if isinstance(self.auth, BasicAuth | BearerAuth | HeaderAuth):
            return self.auth.secret
        scheme, _, credentials = value.get_secret_value().partition(" ")
        if scheme.lower() == "basic":
            credentials = base64.b64decode(credentials).decode().partition(":")[2]
        return SecretStr(credentials or scheme)


@runtime_checkable
class Renewable(Protocol):
    """An authorization that can be replaced by another one when the host rejects it."""

    def refused(self, header: SecretStr) -> bool:
        """Note that the host rejected the value of a header.

        Returns:
            Whether another value may be accepted.
        """
