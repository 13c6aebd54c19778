"""Recognize addresses of repositories on Gitea and Forgejo, whose host can be any."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

__all__ = ["fields_of"]

HOSTS = ("codeberg.org", "gitea.com")
OTHERS = ("bitbucket.org", "github.com", "gitlab.com")
"""Hosts of other kinds of git hosts. Their paths may look similar."""

NAMES = ("gitea.", "forgejo.")
_PAGE = re.compile(r"(?P<path>.*/[^/]+/[^/]+)/(?:src|raw|commits)/(?:branch|commit|tag)/.*")


def fields_of(url: str) -> dict[str, str] | None:
    """Return the server and the owner in an address; ``None`` if the address does not certainly
    belong to Gitea or Forgejo, by its host or by a page such as ``…/src/branch/main``."""
    parts = urlsplit(url)
    host, path = parts.hostname or "", unquote(parts.path).rstrip("/")
    page = _PAGE.fullmatch(path)
    is_one = host in HOSTS or host.startswith(NAMES)
    if host in OTHERS or not (is_one or page):
        return None
    path = page["path"] if page else path
    base, _, _ = path.rpartition("/")
    context, _, owner = base.rpartition("/")
    if parts.scheme == "ssh":
        return {"url": f"https://{host}", "owner": owner} if owner else {"url": f"https://{host}"}
    server = {"url": f"{parts.scheme}://{parts.netloc}{context}"}
    return {**server, "owner": owner} if owner else server
