"""Recognize addresses of repositories on GitHub."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

__all__ = ["fields_of"]

HOSTS = ("github.com", "www.github.com", "ssh.github.com")


def fields_of(url: str) -> dict[str, str] | None:
    """Return the server and the owner in an address; ``None`` if the address is not one of
    github.com or ghe.com. Self-hosted servers can have any host, and their pages look like those of
    other git hosts."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    is_own = host.endswith(".ghe.com")
    if host not in HOSTS and not is_own:
        return None
    server = {"url": f"https://{host}"} if is_own else {}
    owner = unquote(parts.path).strip("/").partition("/")[0]
    return {**server, "owner": owner} if owner else server
