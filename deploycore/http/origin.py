"""The only origin that credentials are sent to: that of the configured address."""

from __future__ import annotations

import re
from typing import Self
from urllib.parse import urlsplit

from deploycore.configuration import is_loopback
from deploycore.errors import ConfigurationError
from deploycore.records import record

__all__ = ["Origin", "host_of", "path_of"]

_DEFAULT_PORTS = {"http": 80, "https": 443, "ssh": 22}
_PLAIN_URL = re.compile(r"[!-\[\]-~]+")  # visible ASCII without the backslash


def path_of(url: str) -> str:
    """Return the path of an address to show; empty if the address is malformed."""
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def host_of(url: str) -> str:
    """Return the host of an address to show; ``malformed`` if it is not certain."""
    try:
        return (urlsplit(url).hostname if url.isascii() else None) or "malformed"
    except ValueError:
        return "malformed"


@record
class Origin:
    """Scheme, host and port, compared as in RFC 6454."""

    scheme: str
    host: str
    port: int | None

    @classmethod
    def of(cls, url: str) -> Self:
        """Return the origin of an absolute URL.

        Raises:
            ValueError: The address is malformed.
        """
        parts = urlsplit(url)
        scheme = parts.scheme.lower()
        port = parts.port if parts.port is not None else _DEFAULT_PORTS.get(scheme)
        return cls(scheme, (parts.hostname or "").lower(), port)

    @classmethod
    def of_api(cls, base_url: str, *, with_credentials: bool) -> Self:
        """Return the origin of a configured address, and check that requests may be sent there.

        Raises:
            ConfigurationError: The address is not an http or https URL, has user information, or
                would send credentials unencrypted to another machine.
        """
        try:
            origin, user = cls.of(base_url), urlsplit(base_url).username
        except ValueError:
            origin, user = cls("", "", None), None
        problem = ""
        if origin.scheme not in ("http", "https") or not origin.host:
            problem = "is not an http or https URL"
        elif user is not None:
            problem = "contains a username or password, which belong in the credentials"
        elif origin.scheme == "http" and with_credentials and not origin.is_loopback:
            problem = "would send the credentials unencrypted; use https"
        if problem:
            shown = f"{origin.scheme}://{origin.host}" if origin.host else "that was given"
            raise ConfigurationError(
                f"The API address {shown} {problem}.",
                hint="Write the provider's address like https://git.example.com.",
            )
        return origin

    @property
    def is_loopback(self) -> bool:
        """Whether the host is certainly this machine."""
        return is_loopback(self.host)

    def covers(self, url: str) -> bool:
        """Whether an absolute URL certainly has this origin, and no user information."""
        if not _PLAIN_URL.fullmatch(url):
            return False
        from urllib3.util import parse_url  # its import takes as long as that of this whole package

        try:
            parts, other = urlsplit(url), parse_url(url)
            origin = type(self).of(url)
        except ValueError:  # LocationParseError too
            return False
        # If two parsers read a link differently, it can pass a check and still lead elsewhere.
        same_host = (other.host or "").strip("[]").lower() == self.host
        has_user = parts.username is not None or parts.password is not None or other.auth
        return origin == self and same_host and not has_user
