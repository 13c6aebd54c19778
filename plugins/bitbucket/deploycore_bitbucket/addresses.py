"""Recognize addresses of repositories on Bitbucket Cloud."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

__all__ = ["fields_of"]

HOSTS = ("bitbucket.org", "www.bitbucket.org", "altssh.bitbucket.org")


def fields_of(url: str) -> dict[str, str] | None:
    """Return the workspace in an address; ``None`` if the address is not one of Bitbucket Cloud."""
    parts = urlsplit(url)
    if parts.hostname not in HOSTS:
        return None
    workspace = unquote(parts.path).strip("/").partition("/")[0]
    return {"workspace": workspace} if workspace else {}
