"""Checks of a git server's URL before anything is sent to it.

URLs come from plugins and, for submodules, from everyone who can push. A malformed URL must be a
typed error, and a credential must not be sent unencrypted.
"""

from __future__ import annotations

import re

from deploycore.errors import ConfigurationError
from deploycore.git.wording import clean
from deploycore.http.origin import Origin
from deploycore.models import CloneUrl
from deploycore.ssh.server import SshServer, is_ssh

__all__ = ["is_address", "missing_key", "refuse_unusable_source"]

# Addresses that no parser can read in another way.
_is_plain = re.compile(
    r"ssh://(?:[A-Za-z0-9_-]+@)?[A-Za-z0-9.-]+(?::[0-9]+)?/[A-Za-z0-9._~/-]*"
).fullmatch


def is_address(url: str) -> bool:
    """Whether a URL has a valid host and port, and no control characters."""
    try:
        host = Origin.of(url).host
        if not _is_plain(url):
            from urllib3.util import parse_url  # slow to import, and SSH does not need it

            parse_url(url)  # the connection uses it, and it is stricter than urlsplit
        host.encode("idna")
    except ValueError:
        return False
    return bool(host) and url.isprintable()


def refuse_unusable_source(source: CloneUrl, *, allow_plain_http: bool = False) -> None:
    """Refuse an invalid URL, and one that would send a credential unencrypted.

    Args:
        allow_plain_http: Whether credentials may be sent unencrypted.

    Raises:
        ConfigurationError: The URL is malformed, is plain HTTP to another machine and has a
            credential, or is for SSH and has none.
    """
    if not is_address(source.url):
        raise ConfigurationError(
            f"{clean(source.url)!r} is not a valid address of a git server.",
            hint="Write it like https://git.example.com/acme/shop.git, without spaces.",
        )
    if is_ssh(source.url):
        _refuse_unusable_ssh(source)
        return
    origin = Origin.of(source.url)
    if allow_plain_http or origin.scheme == "https" or origin.is_loopback:
        return
    if source.credential:
        raise ConfigurationError(
            f"The credential was not sent to {source.url}, because plain http is not encrypted.",
            hint="Use the https address.",
            url=source.url,
        )


def _refuse_unusable_ssh(source: CloneUrl) -> None:
    problem = ""
    try:
        SshServer.of(source.url)
    except ValueError as error:
        problem = str(error)
    if problem:
        raise ConfigurationError(
            f"{clean(source.url)!r} is not a valid address of a git server: {problem}.",
            hint="Correct it: ssh://git@host/path",
        )
    if source.credential is None:
        raise missing_key(source.url)


def missing_key(url: str) -> ConfigurationError:
    """Return the error for an ssh URL without a key."""
    return ConfigurationError(
        f"There is no SSH key for {url}.",
        hint="Give the provider an ssh_private_key, or set its ssh_agent.",
        url=url,
    )
