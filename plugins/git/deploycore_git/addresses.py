"""Read the address of a repository on any git server."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

__all__ = ["fields_of"]

USER = "git"
"""Who most servers let in over SSH. The address comes without its user."""

OWNER_AND_NAME = 2


def fields_of(url: str) -> dict[str, str]:
    """Return the server's address, and the path of the repository below it.

    The last two segments of the path are the repository: its owner and its name.
    """
    parts = urlsplit(url)
    is_ssh = parts.scheme == "ssh"
    segments = [each for each in parts.path.split("/") if each]
    before, named = segments[:-OWNER_AND_NAME], segments[-OWNER_AND_NAME:]
    user = f"{USER}@" if is_ssh else ""
    base = "/".join([f"{parts.scheme}://{user}{parts.netloc}", *before])
    fields = {"url": base, "repositories": unquote("/".join(named))}
    return {"mode": "ssh", **fields} if is_ssh else fields
