"""From Bitbucket's JSON to deploycore's models: pure functions, one for each kind of object.

They read exactly the fields that ``*_FIELDS`` asks for, so that a page carries nothing else,
and they believe nothing: what is missing or of another type is an ``UnexpectedAnswer`` that
names the object and the field.
"""

from __future__ import annotations

import re
from typing import NoReturn

from pydantic import ValidationError

from deploycore.errors import UnexpectedAnswer
from deploycore.models import Account, Branch, CloneLink, Owner, Repository, RepositoryId

__all__ = [
    "BRANCH_FIELDS",
    "REPOSITORY_FIELDS",
    "USER_FIELDS",
    "account_from",
    "branch_from",
    "repository_from",
]

# ``full_name`` gives owner and slug at once, and is the one of the three that Bitbucket's API
# description promises.
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
USER_FIELDS = ("username", "nickname", "display_name")

_SCHEME_AND_USER = re.compile(r"(?P<scheme>https?://)[^/?#]*@", re.IGNORECASE)
_UUID = re.compile(r"\{[0-9A-Fa-f-]{1,64}\}")

HINT = (
    "Try again. If it happens again, Bitbucket has changed its API: upgrade deploycore-bitbucket."
)


def repository_from(item: object, *, git_url: str) -> Repository:
    """One value of ``GET /repositories/{workspace}``.

    Args:
        git_url: Where repositories have their pages, for answers without that link.

    Raises:
        UnexpectedAnswer: A field is missing, malformed or of the wrong type.
    """
    full_name = _text(item, "full_name", of="a repository")
    of = f"the repository {full_name}"
    owner, _, slug = full_name.partition("/")
    if not owner or not slug or "/" in slug:
        _refuse(of, "full_name")
    private = _at(item, "is_private")
    if not isinstance(private, bool):
        _refuse(of, "is_private")
    return Repository(
        name=_text(item, "name", of=of),
        slug=slug,
        url=_optional_text(item, "links.html.href", of=of) or f"{git_url}/{full_name}",
        owner=Owner(username=owner, display_name=_optional_text(item, "workspace.name", of=of)),
        default_branch=_optional_text(item, "mainbranch.name", of=of),
        private=private,
        clone_links=_clone_links(item, of=of),
        host_id=_host_id(item, of=of),
    )


def branch_from(item: object, *, repository: RepositoryId) -> Branch:
    """One value of ``GET /repositories/{workspace}/{repo_slug}/refs/branches``.

    Raises:
        UnexpectedAnswer: As for ``repository_from``; also where the hash is not a full one.
    """
    name = _text(item, "name", of=f"a branch of {repository}")
    of = f"the branch {name} of {repository}"
    commit = _text(item, "target.hash", of=of)
    try:
        branch = Branch(name=name, commit=commit)
    except ValidationError:
        branch = None
    return branch or _refuse(of, "target.hash")


def account_from(user: object) -> Account:
    """The answer of ``GET /user``.

    ``username`` is what Bitbucket answers for one's own account; its API description promises
    ``nickname`` alone.

    Raises:
        UnexpectedAnswer: It names neither, or in another type.
    """
    of = "the user"
    username = _optional_text(user, "username", of=of) or _text(user, "nickname", of=of)
    return Account(username=username, display_name=_optional_text(user, "display_name", of=of))


def _clone_links(item: object, *, of: str) -> tuple[CloneLink, ...]:
    links = _at(item, "links.clone")
    if links is None:
        return ()
    if not isinstance(links, list):
        _refuse(of, "links.clone")
    of = f"a clone link of {of}"
    return tuple(
        CloneLink(name=_text(link, "name", of=of), href=_without_user(_text(link, "href", of=of)))
        for link in links
    )


def _without_user(href: str) -> str:
    """Bitbucket puts the caller's username into https links; ``git@`` of ssh stays."""
    found = _SCHEME_AND_USER.match(href)
    return found["scheme"] + href[found.end() :] if found else href


def _host_id(item: object, *, of: str) -> str | None:
    """``uuid``, which stays when the repository is renamed or transferred."""
    uuid = _optional_text(item, "uuid", of=of)
    if uuid is not None and not _UUID.fullmatch(uuid):
        _refuse(of, "uuid")
    return uuid


def _at(item: object, path: str) -> object:
    """What stands at a dotted path; ``None`` where any part of the way is missing or null."""
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
        _refuse(of, path)
    return value


def _refuse(of: str, field: str) -> NoReturn:
    raise UnexpectedAnswer(
        f"Bitbucket described {of} in an unexpected way: the field {field} is missing or wrong.",
        hint=HINT,
        field=field,
    )
