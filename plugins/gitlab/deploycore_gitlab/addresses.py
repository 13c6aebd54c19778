"""Recognize addresses of projects on GitLab."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

__all__ = ["fields_of"]

HOSTS = ("gitlab.com", "www.gitlab.com", "altssh.gitlab.com")
DASH = "/-/"


def fields_of(url: str) -> dict[str, str] | None:
    """Return the server and the namespace in an address; ``None`` if the address does not certainly
    belong to GitLab, by its host or by ``/-/``, which only GitLab's pages have."""
    parts = urlsplit(url)
    host, path = parts.hostname or "", unquote(parts.path)
    is_public = host in HOSTS
    if not is_public and not host.startswith("gitlab.") and DASH not in path:
        return None
    namespace = path.partition(DASH)[0].strip("/").rpartition("/")[0]
    found = {} if is_public else {"url": _server(parts.scheme, parts.netloc, host)}
    return {**found, "namespace": namespace} if namespace else found


def _server(scheme: str, netloc: str, host: str) -> str:
    """Return the address of the server, without the port of an ssh address."""
    return f"https://{host}" if scheme == "ssh" else f"{scheme}://{netloc}"
