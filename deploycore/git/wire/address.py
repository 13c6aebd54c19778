"""Checks of a git server's URL before anything is sent to it.

URLs come from plugins and, for submodules, from everyone who can push. A malformed URL must be a
typed error, and a credential must not be sent unencrypted.
"""

from __future__ import annotations

from urllib3.util import parse_url

from deploycore.errors import ConfigurationError
from deploycore.git.wording import clean
from deploycore.http.origin import Origin
from deploycore.models import CloneUrl

__all__ = ["is_address", "refuse_unusable_source"]


def is_address(url: str) -> bool:
    """Whether a URL has a valid host and port, and no control characters."""
    try:
        host = Origin.of(url).host
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
        ConfigurationError: The URL is malformed, or is plain HTTP to another machine and has a
            credential.
    """
    if not is_address(source.url):
        raise ConfigurationError(
            f"{clean(source.url)!r} is not a valid address of a git server.",
            hint="Write it like https://git.example.com/acme/shop.git, without spaces.",
        )
    origin = Origin.of(source.url)
    if allow_plain_http or origin.scheme == "https" or origin.is_loopback:
        return
    if source.credential:
        raise ConfigurationError(
            f"The credential is not sent to {source.url}, since plain http is not encrypted.",
            hint="Use the https address.",
            url=source.url,
        )
