"""How requests prove who sends them. Values stay secret until they stand in the header."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Protocol

import requests.auth
from pydantic import SecretStr

__all__ = ["Authorisation", "BasicAuth", "BearerAuth", "HeaderAuth", "HttpAuth"]


class HttpAuth(Protocol):
    """Puts the authorisation into a request's headers, at the last moment."""

    def header(self) -> tuple[str, SecretStr]:
        """The header's name and its whole value."""


@dataclass(frozen=True)
class BasicAuth:
    """HTTP Basic (RFC 7617), in UTF-8."""

    username: str
    password: SecretStr

    def header(self) -> tuple[str, SecretStr]:
        """``Authorization: Basic``."""
        pair = f"{self.username}:{self.password.get_secret_value()}".encode()
        return "Authorization", SecretStr(f"Basic {base64.b64encode(pair).decode('ascii')}")


@dataclass(frozen=True)
class BearerAuth:
    """``Authorization: Bearer`` (RFC 6750)."""

    token: SecretStr

    def header(self) -> tuple[str, SecretStr]:
        """``Authorization: Bearer``."""
        return "Authorization", SecretStr(f"Bearer {self.token.get_secret_value()}")


@dataclass(frozen=True)
class HeaderAuth:
    """A token in a header of the host's own, such as ``PRIVATE-TOKEN``."""

    name: str
    token: SecretStr

    def header(self) -> tuple[str, SecretStr]:
        """The host's own header."""
        return self.name, self.token


class Authorisation(requests.auth.AuthBase):
    """Sets the header last. It also stands where requests would else look into .netrc."""

    def __init__(self, auth: HttpAuth | None) -> None:
        self._auth = auth

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._auth is not None:
            name, value = self._auth.header()
            request.headers[name] = value.get_secret_value()
        return request
