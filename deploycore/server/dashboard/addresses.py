"""Check addresses that come with a request before a browser is sent there."""

from __future__ import annotations

import re

__all__ = ["is_web_address", "own_page"]

_LENGTH_MOST = 1000
_PAGE = re.compile(r"/(?![/\\])[!-\[\]-~]*")
"""A path on this server: it starts with exactly one slash. It has no backslash, which some browsers
treat as a slash, and no control character, which browsers remove."""


_WEB = re.compile(r"https?://[A-Za-z0-9\[][!-~]*", re.ASCII)


def is_web_address(given: object) -> bool:
    """Whether a text from a plugin is an address that may be a link: that of a web page."""
    return isinstance(given, str) and len(given) <= _LENGTH_MOST and bool(_WEB.fullmatch(given))


def own_page(given: str) -> str:
    """Return an address if it is a page of this server that can follow a sign-in; otherwise the
    first page."""
    is_own = len(given) <= _LENGTH_MOST and _PAGE.fullmatch(given) is not None
    return given if is_own and not given.startswith(("/sign-in", "/sign-out", "/api/")) else "/"
