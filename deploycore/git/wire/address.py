"""Which addresses git may be asked at, decided before anything is sent.

They come from plugins and, for submodules, from whoever can push: a malformed one must be an
error with a name, and a credential must not travel unencrypted.
"""

from __future__ import annotations

from urllib3.util import parse_url

from deploycore.errors import ConfigurationError
from deploycore.git.wording import clean
from deploycore.http.origin import Origin
from deploycore.models import CloneUrl

__all__ = ["is_address", "refuse_unusable_source"]


def is_address(url: str) -> bool:
    """Whether a URL names a host and a port that can be, without any control characters."""
    try:
        host = Origin.of(url).host
        parse_url(url)  # what the connection is made with, and stricter than urlsplit
        host.encode("idna")
    except ValueError:
        return False
    return bool(host) and url.isprintable()


def refuse_unusable_source(source: CloneUrl, *, allow_plain_http: bool = False) -> None:
    """Refuse addresses that are none, and credentials unencrypted over a network.

    Args:
        allow_plain_http: Whether credentials may travel unencrypted all the same.

    Raises:
        ConfigurationError: The URL is malformed, or is plain HTTP to another machine and has a
            credential.
    """
    if not is_address(source.url):
        raise ConfigurationError(
            f"{clean(source.url)!r} is not a valid address of a git server.",
            hint="Correct its host or its port.",
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
