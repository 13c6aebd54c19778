"""From Bitbucket's JSON to deploycore's models: pure functions, one for each kind of object.

They read exactly the fields that ``*_FIELDS`` asks for, so that a page carries nothing else,
and they believe nothing: what is of another type is an ``UnexpectedAnswer`` that names the object
and the field. Bitbucket's API description promises no field but ``type``: what deploycore needs
and does not find is an ``IncompleteItem``, which listings skip; everything else has a default.
"""

from __future__ import annotations

import re
from typing import NoReturn

from pydantic import ValidationError

from deploycore.errors import UnexpectedAnswer
from deploycore.http import IncompleteItem
from deploycore.models import Account, Branch, CloneLink, Owner, Repository, RepositoryId

__all__ = [
    "BRANCH_FIELDS",
    "REPOSITORY_FIELDS",
    "USER_FIELDS",
    "account_from",
    "branch_from",
    "repository_from",
]

# ``full_name`` has owner and slug, and is the only one of the three that Bitbucket's API
# description requires.
REPOSITORY_FIELDS = (
    "full_name",
    "name",
    "is_private",
    "mainbranch.name",
    "workspace.name",
    "links.html.href",
    "links.clone",
    "uuid",
)
BRANCH_FIELDS = ("name", "target.hash")
USER_FIELDS = ("type", "username", "nickname", "display_name", "account_id", "uuid")
"""``type`` is the only one that the API description promises."""


_SCHEME_AND_USER = re.compile(r"(?P<scheme>https?://)[^/?#]*@", re.IGNORECASE)
_SCHEME = re.compile("https?://", re.IGNORECASE)
_UUID = re.compile(r"\{[0-9A-Fa-f-]{1,64}\}")

HINT = (
    "Try again. If it happens again, Bitbucket has changed its API: upgrade deploycore-bitbucket."
)


def repository_from(item: object, *, git_url: str) -> Repository:
    """One value of ``GET /repositories/{workspace}``.

    Args:
        git_url: Where repositories have their pages, for answers without that link.

    Raises:
        IncompleteItem: It has no full name.
        UnexpectedAnswer: A field is malformed or of the wrong type.
    """
    if not isinstance(item, dict):
        _refuse("a repository", "full_name")
    full_name = _text(item, "full_name", of="a repository")
    of = f"the repository {full_name}"
    owner, _, slug = full_name.partition("/")
    if not owner or not slug or "/" in slug:
        _refuse(of, "full_name")
    private = _at(item, "is_private")
    if private is not None and not isinstance(private, bool):
        _refuse(of, "is_private")
    return Repository(
        name=_optional_text(item, "name", of=of) or slug,
        slug=slug,
        url=_optional_text(item, "links.html.href", of=of) or f"{git_url}/{full_name}",
        owner=Owner(username=owner, display_name=_optional_text(item, "workspace.name", of=of)),
        default_branch=_optional_text(item, "mainbranch.name", of=of),
        private=True if private is None else private,
        clone_links=_clone_links(item, of=of),
        host_id=_host_id(item, of=of),
    )


def branch_from(item: object, *, repository: RepositoryId) -> Branch:
    """One value of ``GET /repositories/{workspace}/{repo_slug}/refs/branches``.

    Raises:
        IncompleteItem: It has no name or no commit, or not the full hash of it.
        UnexpectedAnswer: A field is of the wrong type.
    """
    of = f"a branch of {repository}"
    if not isinstance(item, dict):
        _refuse(of, "name")
    name = _text(item, "name", of=of)
    of = f"the branch {name} of {repository}"
    commit = _text(item, "target.hash", of=of)
    if re.fullmatch("[0-9a-f]{7,39}", commit):  # which the description allows
        raise _incomplete(of, "target.hash")
    try:
        branch = Branch(name=name, commit=commit)
    except ValidationError:
        branch = None
    return branch or _refuse(of, "target.hash")


def account_from(user: object) -> Account | None:
    """The response to ``GET /user``; ``None`` for an account without a name.

    ``username`` is what Bitbucket answers for one's own account. Its API description says that
    the answer is an ``account``, which has neither that nor a nickname.

    Raises:
        UnexpectedAnswer: It is no account, or a field is of another type.
    """
    of = "the user"
    if not isinstance(user, dict) or user.keys().isdisjoint(USER_FIELDS):
        _refuse(of, "type")
    named = [_optional_text(user, field, of=of) for field in USER_FIELDS[1:]]
    username = next(filter(None, named), None)
    if username is None:
        return None
    return Account(username=username, display_name=_optional_text(user, "display_name", of=of))


def _clone_links(item: object, *, of: str) -> tuple[CloneLink, ...]:
    links = _at(item, "links.clone")
    if links is None:
        return ()
    if not isinstance(links, list):
        _refuse(of, "links.clone")
    return tuple(found for found in (_clone_link(link, of=of) for link in links) if found)


def _clone_link(link: object, *, of: str) -> CloneLink | None:
    """A clone link, named by its scheme if it has no name; ``None`` if it has no address.

    Source: the schema ``link`` of the API description, where both are optional.
    """
    of = f"a clone link of {of}"
    href, name = _optional_text(link, "href", of=of), _optional_text(link, "name", of=of)
    if href is None:
        return None
    is_https = _SCHEME.match(href) is not None
    return CloneLink(name=name or ("https" if is_https else "ssh"), href=_without_user(href))


def _without_user(href: str) -> str:
    """Remove the caller's username from https links; ``git@`` of ssh stays."""
    found = _SCHEME_AND_USER.match(href)
    return found["scheme"] + href[found.end() :] if found else href


def _host_id(item: object, *, of: str) -> str | None:
    """``uuid``, which does not change if the repository is renamed or transferred."""
    uuid = _optional_text(item, "uuid", of=of)
    return uuid if uuid is not None and _UUID.fullmatch(uuid) else None


def _at(item: object, path: str) -> object:
    """Read the value at a dotted path; ``None`` if a part of the path is missing or null."""
    for key in path.split("."):
        if not isinstance(item, dict):
            return None
        item = item.get(key)
    return item


def _optional_text(item: object, path: str, *, of: str) -> str | None:
    value = _at(item, path)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        _refuse(of, path)
    return value


def _text(item: object, path: str, *, of: str) -> str:
    value = _optional_text(item, path, of=of)
    if value is None:
        raise _incomplete(of, path)
    return value


def _incomplete(of: str, field: str) -> IncompleteItem:
    return IncompleteItem(
        f"Bitbucket described {of} without a field that deploycore needs: {field}.",
        hint=HINT,
        field=field,
    )


def _refuse(of: str, field: str) -> NoReturn:
    raise UnexpectedAnswer(
        f"Bitbucket described {of} in an unexpected way: the field {field} is missing or wrong.",
        hint=HINT,
        field=field,
    )
