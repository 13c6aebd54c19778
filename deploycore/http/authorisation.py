"""How requests prove who sends them. Values stay secret until they stand in the header."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass

import requests.auth
from pydantic import SecretStr

from deploycore.configuration import HttpAuth

__all__ = ["Authorisation", "BasicAuth", "BearerAuth", "HeaderAuth", "HttpAuth"]


@dataclass(frozen=True)
class BasicAuth:
    """HTTP Basic (RFC 7617), in UTF-8."""

    username: str
    password: SecretStr

    @property
    def secret(self) -> SecretStr:
        """The password."""
        return self.password

    def header(self) -> tuple[str, SecretStr]:
        """``Authorization: Basic``."""
        pair = f"{self.username}:{self.password.get_secret_value()}".encode()
        return "Authorization", SecretStr(f"Basic {base64.b64encode(pair).decode('ascii')}")


@dataclass(frozen=True)
class BearerAuth:
    """``Authorization: Bearer`` (RFC 6750)."""

    token: SecretStr

    @property
    def secret(self) -> SecretStr:
        """The token."""
        return self.token

    def header(self) -> tuple[str, SecretStr]:
        """``Authorization: Bearer``."""
        return "Authorization", SecretStr(f"Bearer {self.token.get_secret_value()}")


@dataclass(frozen=True)
class HeaderAuth:
    """A token in a header of the host's own, such as ``PRIVATE-TOKEN``."""

    name: str
    token: SecretStr

    @property
    def secret(self) -> SecretStr:
        """The token."""
        return self.token

    def header(self) -> tuple[str, SecretStr]:
        """The host's own header."""
        return self.name, self.token


class Authorisation(requests.auth.AuthBase):
    """Sets the header last. It also stands where requests would else look into .netrc.

    Args:
        learn: Is told each secret before it is sent, so that an answer that echoes it is masked.
    """

    def __init__(
        self, auth: HttpAuth | None, learn: Callable[[SecretStr], None] = lambda _: None
    ) -> None:
        self._auth = auth
        self._learn = learn

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._auth is not None:
            name, value = self._auth.header()
            self._learn(self._secret(value))
            request.headers[name] = value.get_secret_value()
        return request

    def _secret(self, value: SecretStr) -> SecretStr:
        """The password or token. A plugin's own class may not name it; then it is read from the
        header's value."""
        if isinstance(self._auth, BasicAuth | BearerAuth | HeaderAuth):
            return self._auth.secret
        scheme, _, credentials = value.get_secret_value().partition(" ")
        if scheme.lower() == "basic":
            credentials = base64.b64decode(credentials).decode().partition(":")[2]
        return SecretStr(credentials or scheme)
