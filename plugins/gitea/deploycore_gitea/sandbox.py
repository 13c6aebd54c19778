"""A Gitea on loopback: for the demo, for ``deploycore sandbox``, and for the conformance kit.

Only what Gitea alone has is here; all the rest is deploycore's ``Sandbox``. It answers as Gitea
1.26 does: its fields are those of the definitions in Gitea's own description of the API, and its
messages those of Gitea's sources.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urlencode

from deploycore.testing.host import Route
from deploycore.testing.messages import Answer, Refusal, Request, json_answer, with_headers
from deploycore.testing.paging import LinkHeader, Pages
from deploycore.testing.repositories import Service
from deploycore.testing.sandbox import RIVAL, Credential, Repository, Sandbox
from deploycore.testing.scenarios import Access, Arranged, NotArranged, Scenario
from pydantic import SecretStr

from deploycore_gitea.configuration import READ_REPOSITORY, READ_USER

__all__ = ["GiteaSandbox"]

T = TypeVar("T")

MADE = "2024-05-01T09:30:00Z"
WORDS = {401: "invalid username, password or token", 404: "not found"}
GIT_WORDS = {401: "Unauthorized", 403: "Forbidden", 404: "Repository not found"}
OTP = "invalid provided OTP"
NO_PASSWORDS = (
    "Users with two-factor authentication enabled cannot perform HTTP/HTTPS operations via plain "
    "username and password. Please create and use a personal access token on the user settings "
    "page"
)


class GiteaSandbox(Sandbox):
    """Gitea's API, as far as the provider uses it.

    Attributes:
        two_factor: Whether accounts have two-factor authentication, so that a password alone
            is refused.
    """

    MODES = {"token": "Access token", "basic": "Username and password"}
    SCOPES = (READ_REPOSITORY, READ_USER, "read:organization")
    PAGES = Pages(LinkHeader(), size="limit", size_default=30, size_most=50)
    GIT_REALM = "Gitea"

    two_factor = False

    def settings(self, credential: Credential) -> Mapping[str, str | SecretStr]:
        where = {"mode": credential.mode, "url": self.url, "owner": self.OWNER}
        if credential.mode == "basic":
            return {**where, "username": credential.username, "password": credential.secret}
        return {**where, "token": credential.secret}

    def usernames(self, credential: Credential, *, for_git: bool) -> Collection[str | None] | None:
        """A password goes with its username or email address, and a token with any username."""
        if credential.mode == "basic":
            return [credential.username, f"{credential.username}@example.com"]
        return None

    def new_secret(self, mode: str) -> SecretStr:
        """A token is 40 hexadecimal digits."""
        return SecretStr(secrets.token_hex(20) if mode == "token" else secrets.token_urlsafe(12))

    def add_credential(
        self, mode: str, access: Access = Access.FULL, *, scopes: Collection[str] | None = None
    ) -> Credential:
        if mode == "basic" and access is Access.UNSCOPED:
            raise NotArranged("Passwords have no scopes.")
        return super().add_credential(mode, access, scopes=scopes)

    def arrange(self, scenario: Scenario) -> tuple[Arranged, ...]:
        """Repositories have no name for people beside the one in their address."""
        return tuple(replace(row, name="") for row in super().arrange(scenario))

    def refusal(self, status: int, message: str) -> Answer:
        """In Gitea's words, which are the same for all that is not there."""
        said = message if message == OTP else WORDS.get(status, message)
        return json_answer({"message": said, "url": f"{self.url}/api/swagger"}, status)

    def caller(self, request: Request, *scopes: str) -> Credential:
        """Who asks; a password may do whatever the account may."""
        credential = super().caller(request)
        if credential.mode == "basic":
            if self.two_factor:
                raise self.refused(401, OTP)
            return credential
        if scopes and credential.scopes.isdisjoint(scopes):
            granted = ",".join(sorted(credential.scopes))
            what = "token does not have at least one of required scope(s)"
            required = ",".join(scopes)
            raise self.refused(403, f"{what}, required=[{required}], token scope={granted}")
        return credential

    def permit_git(self, request: Request, name: str, service: Service) -> Repository:
        try:
            row = super().permit_git(request, name, service)
        except Refusal as refusal:
            answer = refusal.answer
            raise Refusal(replace(answer, body=GIT_WORDS[answer.status].encode())) from None
        signed = "authorization" in request.headers
        if self.two_factor and signed and super().caller(request).mode == "basic":
            raise Refusal(Answer(401, {"Content-Type": "text/plain"}, NO_PASSWORDS.encode()))
        return row

    def routes(self) -> Mapping[str, Route]:
        return {
            "GET /api/v1/user": self._me,
            "GET /api/v1/users/{owner}": self._user,
            "GET /api/v1/users/{owner}/repos": self._repositories,
            "GET /api/v1/repos/search": self._search,
            "GET /api/v1/repos/{owner}/{slug}": self._repository,
            "GET /api/v1/repos/{owner}/{slug}/branches": self._branches,
            "GET /api/v1/repos/{owner}/{slug}/branches/{branch*}": self._branch,
        }

    def page(self, request: Request, rows: Sequence[T], render: Callable[[T], Any]) -> Answer:
        """With links as Gitea writes them, and the number of all rows."""
        answer = super().page(request, rows, render)
        size = min(int(request.query.get("limit", "30")), 50)
        number, last = int(request.query.get("page", "1")), max(1, -(-len(rows) // size))
        places = {"next": number + 1, "last": last} if number < last else {}
        places |= {"first": 1, "prev": number - 1} if number > 1 else {}
        links = ",".join(f'<{_at(request, at)}>; rel="{name}"' for name, at in places.items())
        counted = with_headers(answer, {"X-Total-Count": str(len(rows))})
        return with_headers(counted, {"Link": links}) if links else counted

    def _me(self, request: Request) -> Answer:
        return json_answer(self._user_json(self.caller(request, READ_USER).username))

    def _user(self, request: Request, owner: str) -> Answer:
        self.caller(request, READ_USER)
        self.owned(owner)
        return json_answer(self._user_json(owner))

    def _repositories(self, request: Request, owner: str) -> Answer:
        self.caller(request, READ_USER)
        self.caller(request, READ_REPOSITORY)
        return self.page(request, self.owned(owner), self._repository_json)

    def _search(self, request: Request) -> Answer:
        self.caller(request, READ_REPOSITORY)
        asked = request.query
        owners = [
            owner
            for owner in (self.OWNER, RIVAL)
            if "uid" not in asked or int(asked["uid"]) == self._number(owner)
        ]
        rows = [row for owner in owners for row in self.owned(owner) if _matches(row, asked)]
        found = self.page(request, rows, self._repository_json)
        return replace(found, body=json.dumps({"ok": True, "data": found.json()}).encode())

    def _repository(self, request: Request, owner: str, slug: str) -> Answer:
        self.caller(request, READ_REPOSITORY)
        return json_answer(self._repository_json(self.repository(owner, slug)))

    def _branches(self, request: Request, owner: str, slug: str) -> Answer:
        self.caller(request, READ_REPOSITORY)
        rows = self.branches(self.repository(owner, slug))
        found = self.page(request, rows, lambda row: self._branch_json(*row))
        return found if rows else replace(found, body=b"null")

    def _branch(self, request: Request, owner: str, slug: str, branch: str) -> Answer:
        self.caller(request, READ_REPOSITORY)
        for name, commit in self.branches(self.repository(owner, slug)):
            if name == branch:
                return json_answer(self._branch_json(name, commit))
        raise self.refused(404, branch)

    def _number(self, owner: str) -> int:
        return 1 if owner == self.OWNER else 2

    def _user_json(self, login: str) -> dict[str, Any]:
        return {
            "id": self._number(login),
            "login": login,
            "login_name": "",
            "source_id": 0,
            "full_name": login.title(),
            "email": f"{login}@noreply.example.com",
            "avatar_url": f"{self.url}/avatars/{self._number(login)}",
            "html_url": f"{self.url}/{login}",
            "language": "",
            "is_admin": False,
            "created": MADE,
            "restricted": False,
            "active": False,
            "visibility": "public",
            "username": login,
        }

    def _repository_json(self, row: Repository) -> dict[str, Any]:
        address = f"{self.url}/{row.full_name}"
        return {
            "id": row.number,
            "owner": self._user_json(row.owner),
            "name": row.slug,
            "full_name": row.full_name,
            "description": "",
            "empty": not self.branches(row),
            "private": row.private,
            "fork": False,
            "template": False,
            "mirror": False,
            "size": 24,
            "language": "",
            "url": f"{self.url}/api/v1/repos/{row.full_name}",
            "link": "",
            "html_url": address,
            "clone_url": f"{address}.git",
            "ssh_url": f"git@127.0.0.1:{row.full_name}.git",
            "original_url": "",
            "website": "",
            "default_branch": row.default_branch,
            "archived": False,
            "created_at": MADE,
            "updated_at": MADE,
            "archived_at": "1970-01-01T00:00:00Z",
            "permissions": {"admin": False, "push": False, "pull": True},
            "internal": False,
            "mirror_interval": "",
            "object_format_name": "sha1",
            "mirror_updated": "0001-01-01T00:00:00Z",
            "topics": [],
            "licenses": [],
        }

    def _branch_json(self, name: str, commit: str) -> dict[str, Any]:
        person = {"name": "Ada", "email": "ada@example.com", "username": "ada"}
        return {
            "name": name,
            "commit": {
                "id": commit,
                "message": "Start\n",
                "url": f"{self.url}/-/commit/{commit}",
                "author": person,
                "committer": person,
                "verification": None,
                "timestamp": MADE,
                "added": None,
                "removed": None,
                "modified": None,
            },
            "protected": False,
            "required_approvals": 0,
            "enable_status_check": False,
            "status_check_contexts": [],
            "user_can_push": False,
            "user_can_merge": False,
            "effective_branch_protection_name": "",
        }


def _at(request: Request, page: int) -> str:
    """The address of another page: parameters in the order of their names."""
    query = sorted({**request.query, "page": str(page)}.items())
    return f"{request.origin}{request.path}?{urlencode(query)}"


def _matches(row: Repository, asked: Mapping[str, str]) -> bool:
    """Whether a search finds a repository: by a part of its name, or by ``owner/name``."""
    part = asked.get("q", "").strip().lower()
    owner, slash, name = part.partition("/")
    whole = part in row.slug.lower()
    return whole or (bool(slash) and owner in row.owner.lower() and name in row.slug.lower())
