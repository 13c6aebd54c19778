"""Recognize addresses of repositories on a Bitbucket Data Center, whose host can be any."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from deploycore.models import RepositoryId

__all__ = ["SSH_PORT", "fields_of", "repository_of"]

SSH_PORT = 7999
"""The default port of the server, which no other git host uses."""

OTHERS = ("bitbucket.org", "www.bitbucket.org", "github.com", "gitlab.com", "codeberg.org")
"""Hosts of other kinds of git hosts. Their paths may look similar."""

_CLONE = re.compile(r"(?P<context>(?:/[^/]+)*?)/scm/(?P<key>~?[\w.-]+)/(?P<slug>[^/]+)")
_PAGE = re.compile(
    r"(?P<context>(?:/[^/]+)*?)/(?P<kind>projects|users)/(?P<key>~?[\w.-]+)/repos/(?P<slug>[^/]+)(?:/.*)?"
)
_SSH = re.compile(r"/(?P<key>~?[\w.-]+)/(?P<slug>[^/]+)")


def fields_of(url: str) -> dict[str, str] | None:
    """Return the fields of the configuration that an address contains; ``None`` if it is not one of
    these addresses of Bitbucket Data Center: ``…/scm/KEY/SLUG.git``, ``…/projects/KEY/repos/SLUG``,
    ``…/users/USER/repos/SLUG``, or ``ssh://…:7999/KEY/SLUG.git``, which does not contain the base
    URL.
    """
    parts = urlsplit(url)
    path = unquote(parts.path).rstrip("/")
    if parts.hostname in OTHERS:
        return None
    if parts.scheme == "ssh":
        found = _SSH.fullmatch(path)
        return {"project": _key(found["key"])} if found and parts.port == SSH_PORT else None
    found = _CLONE.fullmatch(path) or _PAGE.fullmatch(path)
    if found is None:
        return None
    return {"url": f"{parts.scheme}://{parts.netloc}{found['context']}", "project": _owner(found)}


def repository_of(url: str) -> RepositoryId | None:
    """Return the repository in an address of this host; ``None`` if the address has another
    form."""
    parts = urlsplit(url)
    path = unquote(parts.path).rstrip("/")
    found = _CLONE.fullmatch(path) or _PAGE.fullmatch(path)
    if found is None and parts.scheme == "ssh":
        found = _SSH.fullmatch(path)
    if found is None:
        return None
    owner, slug = _owner(found), found["slug"].removesuffix(".git")
    is_name = bool(slug) and {owner, slug}.isdisjoint({".", ".."})
    return RepositoryId(owner=owner, slug=slug) if is_name else None


def _owner(found: re.Match[str]) -> str:
    """Return the project in an address; for a person's page, the person's project."""
    key = found["key"]
    is_person = found.groupdict().get("kind") == "users" and not key.startswith("~")
    return f"~{key}" if is_person else _key(key)


def _key(key: str) -> str:
    """Return a project key as the server writes it, because clone URLs have it in lower case."""
    return key if key.startswith("~") else key.upper()
