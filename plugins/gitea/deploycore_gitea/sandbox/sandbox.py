"""The sandbox's addresses and error responses, and its methods for tests and the demo."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urlencode

from deploycore.models import is_commit_hash
from deploycore.sandbox import secret_source
from deploycore.testing.host import Route
from deploycore.testing.messages import Answer, Refusal, Request, json_answer, with_headers
from deploycore.testing.oauth import AuthorizationServer, OAuthRules
from deploycore.testing.paging import LinkHeader, Pages
from deploycore.testing.pull_request_sandbox import PullRequestSandbox
from deploycore.testing.pull_requests import PullRequest, PullRequestChange, PullRequests
from deploycore.testing.repositories import RefUpdate, Service
from deploycore.testing.sandbox import RIVAL, Credential, Repository
from deploycore.testing.scenarios import Access, Arranged, NotArranged, Scenario
from deploycore.testing.webhooks import Event, Hook, ShownStatus
from pydantic import SecretStr

from deploycore_gitea.configuration import READ_REPOSITORY, READ_USER, WRITE_REPOSITORY
from deploycore_gitea.sandbox import events, shapes
from deploycore_gitea.sandbox.events import About
from deploycore_gitea.sandbox.hooks import RULES, HooksApi, body_of, signed
from deploycore_gitea.sandbox.pulls import PullRequestsApi
from deploycore_gitea.sandbox.shapes import MADE
from deploycore_gitea.statuses import STATES

__all__ = ["GiteaSandbox"]

T = TypeVar("T")

WORDS = {401: "invalid username, password or token", 404: "not found"}
GIT_WORDS = {401: "Unauthorized", 403: "Forbidden", 404: "Repository not found"}
OTP = "invalid provided OTP"
NO_PASSWORDS = (
    "Users with two-factor authentication enabled cannot perform HTTP/HTTPS operations via plain "
    "username and password. Please create and use a personal access token on the user settings "
    "page"
)
NO_ADMINISTRATOR = "user should be an owner or a collaborator with admin write of a repository"
NO_WRITER = "user should have a permission to write to a repo"


class _PullRequests(PullRequests):
    """Pull requests that are closed when their source branches are deleted."""

    def branch_deleted(self, row: PullRequest) -> None:
        self.close(row)


class GiteaSandbox(PullRequestSandbox):
    """Gitea's API, as far as the provider uses it.

    Attributes:
        two_factor: Whether accounts have two-factor authentication, so that a password alone is
            rejected.
    """

    MODES = {"token": "Access token", "basic": "Username and password"}
    SCOPES = (READ_REPOSITORY, READ_USER, "read:organization", WRITE_REPOSITORY)
    PAGES = Pages(LinkHeader(), size="limit", size_default=30, size_most=50)
    GIT_REALM = "Gitea"
    WEBHOOK_RULES = RULES
    PULL_REQUESTS = _PullRequests

    OWNERS = ("guild",)

    two_factor = False

    def __init__(self, *, port: int = 0, latency: float = 0.0) -> None:
        self.oauth = AuthorizationServer(OAuthRules(lifetime=3600))
        super().__init__(port=port, latency=latency)
        self._hooks = HooksApi(self.webhooks, self.refused)
        self._pulls = PullRequestsApi(self.pull_requests, self.named, self.refused)

    def settings(self, credential: Credential) -> Mapping[str, str | SecretStr]:
        where = {"mode": credential.mode, "url": self.url, "owner": self.OWNER}
        if credential.mode == "basic":
            return {**where, "username": credential.username, "password": credential.secret}
        return {**where, "token": credential.secret}

    def usernames(self, credential: Credential, *, for_git: bool) -> Collection[str | None] | None:
        """Accept a password with its username or email address, and a token with any username."""
        if credential.mode == "basic":
            return [credential.username, f"{credential.username}@example.com"]
        return None

    def new_secret(self, mode: str) -> SecretStr:
        """Return a token of 40 hexadecimal digits."""
        source = secret_source()
        return SecretStr(source.token_hex(20) if mode == "token" else source.token_urlsafe(12))

    def add_sign_in(
        self, scopes: Collection[str] = SCOPES, *, is_public: bool = False
    ) -> Mapping[str, str | SecretStr]:
        """Register an OAuth2 application for mode ``oauth``. The account that signs in is
        ``oauth.account``.

        Returns:
            The fields of the provider's ``Config``, without ``name``.
        """
        client = self.oauth.add_client(
            redirect_uri="http://127.0.0.1/callback", scopes=scopes, is_public=is_public
        )
        secret = {} if client.secret is None else {"client_secret": client.secret}
        given = {"mode": "oauth", "url": self.url, "owner": self.OWNER}
        return {**given, "client_id": client.client_id, **secret}

    def credential_of(self, secret: str) -> Credential | None:
        grant = self.oauth.granted(secret)
        if grant is None:
            found = super().credential_of(secret)
            return found and replace(found, scopes=_with_reading(found.scopes))
        return Credential(
            mode="oauth",
            access=Access.FULL,
            username=grant.account,
            secret=SecretStr(secret),
            scopes=_with_reading(grant.scopes),
        )

    @property
    def secrets(self) -> Iterable[SecretStr]:
        return [*super().secrets, *self.oauth.secrets]

    def granted(self, mode: str, access: Access) -> Collection[str]:
        if mode == "basic" and access is Access.UNSCOPED:
            raise NotArranged("Passwords have no scopes.")
        return super().granted(mode, access)

    def arrange(self, scenario: Scenario) -> tuple[Arranged, ...]:
        """Create a repository whose name for people is the one in its address."""
        return tuple(replace(row, name="") for row in super().arrange(scenario))

    def refusal(self, status: int, message: str) -> Answer:
        """Return Gitea's message, which is the same for everything that does not exist."""
        said = message if message == OTP else WORDS.get(status, message)
        return json_answer({"message": said, "url": f"{self.url}/api/swagger"}, status)

    def caller(self, request: Request, *scopes: str) -> Credential:
        """Return the caller. A password has all permissions of the account."""
        credential = super().caller(request)
        if credential.mode != "basic":
            return super().caller(request, *scopes)
        if self.two_factor:
            raise self.refused(401, OTP)
        return credential

    def out_of_scope(self, credential: Credential, scopes: Sequence[str]) -> Answer:
        required, granted = ",".join(scopes), ",".join(sorted(credential.scopes))
        what = "token does not have at least one of required scope(s)"
        return self.refusal(403, f"{what}, required=[{required}], token scope={granted}")

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

    def push_events(self, repository: Repository, updates: Sequence[RefUpdate]) -> Sequence[Event]:
        """Return the events of each branch and tag, in order."""
        about = About(repository, self.url, self.OWNER)
        with self.git.commits(repository) as read:
            return [event for update in updates for event in events.of_ref(about, update, read)]

    def webhook_headers(self, hook: Hook, body: bytes) -> Mapping[str, str]:
        return signed(hook, body)

    def pull_request_events(
        self, change: PullRequestChange, repository: Repository, source: Repository | None
    ) -> Sequence[Event]:
        branches = self.git.branches(source) if source else {}
        about = About(repository, self.url, self.OWNER)
        is_there = change.row.source_branch in branches
        return [events.of_pull_request(about, change, source=source, branch_exists=is_there)]

    def routes(self) -> Mapping[str, Route]:
        oauth = self.oauth.routes(
            authorize="/login/oauth/authorize", token="/login/oauth/access_token"
        )
        return {
            **oauth,
            "GET /api/v1/user": self._me,
            "GET /api/v1/user/orgs": self._organizations,
            "GET /api/v1/users/{owner}": self._user,
            "GET /api/v1/users/{owner}/repos": self._repositories,
            "GET /api/v1/repos/search": self._search,
            "GET /api/v1/repos/{owner}/{slug}": self._repository,
            "GET /api/v1/repos/{owner}/{slug}/branches": self._branches,
            "GET /api/v1/repos/{owner}/{slug}/branches/{branch*}": self._branch,
            "GET /api/v1/repos/{owner}/{slug}/tags": self._tags,
            "GET /api/v1/repos/{owner}/{slug}/hooks": self._list_hooks,
            "POST /api/v1/repos/{owner}/{slug}/hooks": self._add_hook,
            "GET /api/v1/repos/{owner}/{slug}/hooks/{id}": self._one_hook,
            "PATCH /api/v1/repos/{owner}/{slug}/hooks/{id}": self._change_hook,
            "DELETE /api/v1/repos/{owner}/{slug}/hooks/{id}": self._remove_hook,
            "GET /api/v1/repos/{owner}/{slug}/keys": self._list_keys,
            "POST /api/v1/repos/{owner}/{slug}/keys": self._add_key,
            "DELETE /api/v1/repos/{owner}/{slug}/keys/{id}": self._remove_key,
            "GET /api/v1/repos/{owner}/{slug}/git/commits/{sha}": self._commit,
            "GET /api/v1/repos/{owner}/{slug}/pulls": self._list_pulls,
            "POST /api/v1/repos/{owner}/{slug}/pulls": self._open_pull,
            "GET /api/v1/repos/{owner}/{slug}/pulls/{index}": self._one_pull,
            "PATCH /api/v1/repos/{owner}/{slug}/pulls/{index}": self._edit_pull,
            "GET /api/v1/repos/{owner}/{slug}/pulls/{index}/merge": self._is_merged,
            "POST /api/v1/repos/{owner}/{slug}/pulls/{index}/merge": self._merge_pull,
            "POST /api/v1/repos/{owner}/{slug}/statuses/{sha}": self._add_status,
        }

    def page(self, request: Request, rows: Sequence[T], render: Callable[[T], Any]) -> Answer:
        """Return a page with links in Gitea's form, and the number of all rows."""
        answer = super().page(request, rows, render)
        size = min(int(request.query.get("limit", "30")), self.PAGES.size_most)
        number, last = int(request.query.get("page", "1")), max(1, -(-len(rows) // size))
        places = {"next": number + 1, "last": last} if number < last else {}
        places |= {"first": 1, "prev": number - 1} if number > 1 else {}
        links = ",".join(f'<{_at(request, at)}>; rel="{name}"' for name, at in places.items())
        counted = with_headers(answer, {"X-Total-Count": str(len(rows))})
        return with_headers(counted, {"Link": links}) if links else counted

    def _me(self, request: Request) -> Answer:
        return json_answer(shapes.user(self.caller(request, READ_USER).username, self.url))

    def _organizations(self, request: Request) -> Answer:
        self.caller(request, READ_USER)
        self.caller(request, "read:organization")
        return self.page(request, self.OWNERS, shapes.organization)

    def _user(self, request: Request, owner: str) -> Answer:
        self.caller(request, READ_USER)
        self.owned(owner)
        return json_answer(shapes.user(owner, self.url))

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
            if "uid" not in asked or int(asked["uid"]) == shapes.number_of(owner)
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
        found = self.page(request, rows, lambda row: shapes.branch(*row, self.url))
        return found if rows else replace(found, body=b"null")

    def _tags(self, request: Request, owner: str, slug: str) -> Answer:
        """Return a page without links to further pages, like Gitea."""
        self.caller(request, READ_REPOSITORY)
        rows = sorted(self.git.tags(self.repository(owner, slug)).items(), reverse=True)
        found = self.page(request, rows, lambda row: shapes.tag(*row, self.url))
        kept = {name: value for name, value in found.headers.items() if name != "Link"}
        return replace(found, headers=kept)

    def _branch(self, request: Request, owner: str, slug: str, branch: str) -> Answer:
        self.caller(request, READ_REPOSITORY)
        for name, commit in self.branches(self.repository(owner, slug)):
            if name == branch:
                return json_answer(shapes.branch(name, commit, self.url))
        raise self.refused(404, branch)

    def _repository_json(self, row: Repository) -> dict[str, Any]:
        return shapes.repository(row, self.url, empty=not self.branches(row))

    def _may(self, request: Request, owner: str, slug: str, refusal: str) -> Repository:
        """Return a repository for a caller who may do more than read it. Like Gitea, check scopes
        first."""
        needed = READ_REPOSITORY if request.method == "GET" else WRITE_REPOSITORY
        credential = self.caller(request, needed)
        row = self.repository(owner, slug)
        if credential.access is Access.LEAST:
            raise self.refused(403, refusal)
        return row

    def _list_hooks(self, request: Request, owner: str, slug: str) -> Answer:
        """Return a page without links to further pages, like Gitea."""
        rows = self.webhooks.of(self._may(request, owner, slug, NO_ADMINISTRATOR).full_name)
        found = self.page(request, rows, self._hooks.shape)
        kept = {name: value for name, value in found.headers.items() if name != "Link"}
        return replace(found, headers=kept)

    def _add_hook(self, request: Request, owner: str, slug: str) -> Answer:
        return self._hooks.add(request, self._may(request, owner, slug, NO_ADMINISTRATOR))

    def _one_hook(self, request: Request, owner: str, slug: str, id: str) -> Answer:
        row = self._may(request, owner, slug, NO_ADMINISTRATOR)
        return json_answer(self._hooks.shape(self._hooks.found(row, id)))

    def _change_hook(self, request: Request, owner: str, slug: str, id: str) -> Answer:
        return self._hooks.change(request, self._may(request, owner, slug, NO_ADMINISTRATOR), id)

    def _remove_hook(self, request: Request, owner: str, slug: str, id: str) -> Answer:
        return self._hooks.remove(self._may(request, owner, slug, NO_ADMINISTRATOR), id)

    def _list_keys(self, request: Request, owner: str, slug: str) -> Answer:
        """Return a page without links to further pages, like Gitea."""
        row = self._may(request, owner, slug, NO_ADMINISTRATOR)
        found = self.page(request, self.deploy_keys.of(row.full_name), shapes.deploy_key)
        kept = {name: value for name, value in found.headers.items() if name != "Link"}
        return replace(found, headers=kept)

    def _add_key(self, request: Request, owner: str, slug: str) -> Answer:
        """Accept each key and each title only once."""
        row = self._may(request, owner, slug, NO_ADMINISTRATOR)
        body = body_of(request, self.refused)
        title, text = str(body.get("title", "")), str(body.get("key", ""))
        if any(key.label == title for key in self.deploy_keys.of(row.full_name)):
            raise self.refused(422, "Key title has been used")
        read_only = bool(body.get("read_only", False))
        made = self.deploy_keys.add(row.full_name, text, title, read_only=read_only)
        if made is None:
            raise self.refused(422, "Key content has been used as non-deploy key")
        return json_answer(shapes.deploy_key(made), 201)

    def _remove_key(self, request: Request, owner: str, slug: str, id: str) -> Answer:
        row = self._may(request, owner, slug, NO_ADMINISTRATOR)
        found = self.deploy_keys.find(row.full_name, id)
        if found is None:
            raise self.refused(404, id)
        self.deploy_keys.remove(found)
        return Answer(204, {})

    def _list_pulls(self, request: Request, owner: str, slug: str) -> Answer:
        self.caller(request, READ_REPOSITORY)
        rows = self._pulls.listed(request, self.repository(owner, slug))
        return self.page(request, rows, self._pull_json)

    def _open_pull(self, request: Request, owner: str, slug: str) -> Answer:
        row = self._may(request, owner, slug, NO_WRITER)
        return json_answer(self._pull_json(self._pulls.open(request, row)), 201)

    def _one_pull(self, request: Request, owner: str, slug: str, index: str) -> Answer:
        self.caller(request, READ_REPOSITORY)
        found = self._pulls.found(self.repository(owner, slug), index)
        return json_answer(self._pull_json(found))

    def _edit_pull(self, request: Request, owner: str, slug: str, index: str) -> Answer:
        found = self._pulls.found(self._may(request, owner, slug, NO_WRITER), index)
        return json_answer(self._pull_json(self._pulls.edit(request, found)), 201)

    def _is_merged(self, request: Request, owner: str, slug: str, index: str) -> Answer:
        self.caller(request, READ_REPOSITORY)
        return self._pulls.merged(self._pulls.found(self.repository(owner, slug), index))

    def _merge_pull(self, request: Request, owner: str, slug: str, index: str) -> Answer:
        found = self._pulls.found(self._may(request, owner, slug, NO_WRITER), index)
        return self._pulls.merge(request, found)

    def _pull_json(self, row: PullRequest) -> dict[str, Any]:
        repository, source = self.named(row.repository), self.named(row.source)
        if repository is None:
            raise self.refused(404, row.repository)
        is_there = source is not None and row.source_branch in self.git.branches(source)
        about = About(repository, self.url, self.OWNER)
        return events.pull_request(about, row, source=source, branch_exists=is_there)

    def _commit(self, request: Request, owner: str, slug: str, sha: str) -> Answer:
        self.caller(request, READ_REPOSITORY)
        row = self.repository(owner, slug)
        if not is_commit_hash(sha) or not self.git.has_commit(row, sha):
            raise self.refused(404, sha)
        with self.git.commits(row) as read:
            return json_answer({"sha": sha, "created": read(sha).date.isoformat()})

    def _add_status(self, request: Request, owner: str, slug: str, sha: str) -> Answer:
        row = self._may(request, owner, slug, NO_WRITER)
        body = body_of(request, self.refused)
        states = {said: state for state, said in STATES.items()}
        if body.get("state") not in states:
            raise self.refused(500, "")
        texts = {name: str(body.get(name) or "") for name in ("context", "description")}
        url, context = str(body.get("target_url") or ""), texts["context"] or "default"
        shown = ShownStatus(context, states[body["state"]], context, texts["description"], url)
        try:
            self.show_status(row, sha, shown)
        except Refusal:
            # Gitea has no better message for a commit that does not exist.
            raise self.refused(500, "") from None
        told = {"status": body["state"], "target_url": url, **texts}
        return json_answer({"id": 1, **told, "created_at": MADE, "updated_at": MADE}, 201)


def _at(request: Request, page: int) -> str:
    """Return the address of another page, with the parameters in the order of their names."""
    query = sorted({**request.query, "page": str(page)}.items())
    return f"{request.origin}{request.path}?{urlencode(query)}"


def _matches(row: Repository, asked: Mapping[str, str]) -> bool:
    """Whether a search finds a repository by a part of its name, or by ``owner/name``."""
    part = asked.get("q", "").strip().lower()
    owner, slash, name = part.partition("/")
    whole = part in row.slug.lower()
    return whole or (bool(slash) and owner in row.owner.lower() and name in row.slug.lower())


def _with_reading(scopes: Collection[str]) -> frozenset[str]:
    """A scope to write includes the one to read (models/auth/access_token_scope.go)."""
    reading = {scope.replace("write:", "read:", 1) for scope in scopes}
    return frozenset({*scopes, *reading})
