"""A GitHub on loopback: for the demo, for ``deploycore sandbox``, and for the conformance kit.

It is a GitHub Enterprise Server as to its addresses, and refuses as GitHub does: 'Not Found' for
what is hidden, the missing permission or scope in a header, no answer without a ``User-Agent``.

Sources: https://docs.github.com/en/rest and, for what its git server says, GitHub's own answers.
"""

from __future__ import annotations

import secrets
import string
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr

from deploycore.errors import NotFound
from deploycore.models import is_commit_hash
from deploycore.testing.faults import Change, answer
from deploycore.testing.git_http import is_git_request
from deploycore.testing.host import Route
from deploycore.testing.messages import (
    JSON,
    Answer,
    Refusal,
    Request,
    json_answer,
    text_answer,
    with_headers,
)
from deploycore.testing.paging import LinkHeader, Pages
from deploycore.testing.repositories import RefUpdate, Served, Service
from deploycore.testing.sandbox import Credential, Repository, Sandbox, credentials_of
from deploycore.testing.scenarios import Access, Arranged, Scenario
from deploycore.testing.webhooks import DeliveryRules, Event, Hook, ShownDeployment
from deploycore_github.sandbox import events
from deploycore_github.sandbox.hooks import HooksApi, shape
from deploycore_github.sandbox.pull_requests import PullRequest, PullRequests
from deploycore_github.sandbox.reports import Deployment, DeploymentsApi, StatusesApi
from deploycore_github.sandbox.validation import DOCUMENTATION

__all__ = ["GitHubSandbox"]

T = TypeVar("T")

API = "/api/v3"
READ, METADATA = "contents=read", "metadata=read"
HOOKS, STATUSES, DEPLOYMENTS = "repository_hooks", "statuses", "deployments"
SCOPE = "repo"
CLASSIC_SCOPES = {
    HOOKS: ("admin:repo_hook", "public_repo", SCOPE, "write:repo_hook"),
    STATUSES: (SCOPE, "repo:status"),
    DEPLOYMENTS: (SCOPE, "repo_deployment"),
}
"""The scopes of classic tokens, any of which will do."""
VERSION = "2022-11-28"
LIMIT = 5000
JWT_SECONDS_MOST = 600

BY_TOKEN = "Resource not accessible by personal access token"  # noqa: S105 - GitHub's words
BY_APP = "Resource not accessible by integration"
UNDECODABLE = "A JSON web token could not be decoded"
FAR_EXPIRY = "'Expiration time' claim ('exp') is too far in the future"
PAST_EXPIRY = (
    "'Expiration time' claim ('exp') must be a numeric value representing the future time at "
    "which the assertion expires"
)
LATE_ISSUE = (
    "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was "
    "issued"
)
UNGRANTED = "The permissions requested are not granted to this installation."
SECONDARY_LIMIT = (
    "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
)
NO_PASSWORDS = (
    "Invalid username or token. Password authentication is not supported for Git operations."
)
GIT_MESSAGES = {403: "Write access to repository not granted.", 404: "Repository not found."}


@dataclass(frozen=True)
class App:
    """A GitHub App with one installation.

    Attributes:
        key: ``None`` where the private key that was given is not one of the app's.
    """

    app_id: str
    client_id: str
    installation_id: str
    credential: Credential
    key: rsa.RSAPublicKey | None


@dataclass(frozen=True)
class IssuedToken:
    """An installation token, until when it is good, and what it may do."""

    credential: Credential
    ends: datetime


class RepositoryLinks(LinkHeader):
    """``Link``, and pages that are lists or, of an installation, objects that hold one."""

    def items(self, answer: Answer) -> list[Any] | None:
        body = answer.json()
        found = body.get("repositories") if isinstance(body, dict) else body
        return found if isinstance(found, list) else None


class GitHubSandbox(Sandbox):
    """GitHub's API, as far as the provider uses it.

    ``ada`` is a user, ``guild`` an organisation that she belongs to. Tokens of mode ``token``
    are fine-grained. The scopes of credentials are permissions, such as ``statuses=write``; those
    of classic tokens may be scopes of theirs as well, such as ``repo:status``, and whoever may read
    has the scope ``repo``.

    Attributes:
        token_lifetime: How long installation tokens last.
        suspended: Whether the installations of apps are.
        hooks: The webhooks' API.
    """

    MODES = {  # noqa: RUF012 - as the base class has it
        "token": "Fine-grained token",
        "app": "GitHub App",
        "classic": "Classic token",
    }
    SCOPES = (READ, "contents=write", *(f"{name}=write" for name in CLASSIC_SCOPES))
    WEBHOOK_RULES = DeliveryRules(timeout=10.0)
    OWNERS = ("guild",)
    PAGES = Pages(RepositoryLinks())
    GIT_REALM = "GitHub"

    def __init__(self, *, port: int = 0, latency: float = 0.0) -> None:
        super().__init__(port=port, latency=latency)
        self.token_lifetime = timedelta(hours=1)
        self.suspended = False
        self._renamed: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()
        self._apps: list[App] = []
        self._issued: dict[str, IssuedToken] = {}
        self._seen: list[SecretStr] = []
        self._gone: set[str] = set()
        self.hooks = HooksApi(self.webhooks, self._ping)
        self._statuses = StatusesApi(self._has_commit, self.show_status)
        self._deployments = DeploymentsApi(self._commit_of)
        self._pull_requests = PullRequests(self._tell)
        self.git.watchers.append(self._follow)

    # Credentials.

    def settings(self, credential: Credential) -> Mapping[str, str | SecretStr]:
        if credential.mode != "app":
            return {"mode": "token", "url": self.url, "token": credential.secret}
        app = next(app for app in self._apps if app.credential is credential)
        return {
            "mode": "app",
            "url": self.url,
            "app_id": app.app_id,
            "installation_id": app.installation_id,
            "private_key": credential.secret,
        }

    def new_secret(self, mode: str) -> SecretStr:
        """Of the length and the alphabet of GitHub's own."""
        if mode == "app":
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            pem = key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
            return SecretStr(pem.decode())
        if mode == "classic":
            return SecretStr(f"ghp_{_letters(36)}")
        return SecretStr(f"github_pat_{_letters(22)}_{_letters(59)}")

    def add_credential(
        self, mode: str, access: Access = Access.FULL, *, scopes: Collection[str] | None = None
    ) -> Credential:
        credential = super().add_credential(mode, access, scopes=scopes)
        if mode == "app":
            refused = access in (Access.WRONG, Access.EXPIRED)
            key = None if refused else _public_key(credential.secret)
            with self._lock:
                number = len(self._apps) + 1
                app = App(
                    app_id=str(1000 + number),
                    client_id=f"Iv23li{number:014}",
                    installation_id=str(5000 + number),
                    credential=credential,
                    key=key,
                )
                self._apps.append(app)
        return credential

    def credential_of(self, secret: str) -> Credential | None:
        issued = self._issued.get(secret)
        if issued is not None:
            return issued.credential if datetime.now(UTC) < issued.ends else None
        found = super().credential_of(secret)
        return None if found is not None and found.mode == "app" else found

    def usernames(self, credential: Credential, *, for_git: bool) -> Collection[str | None] | None:
        """For git, personal tokens go with any name, those of installations with one."""
        return ["x-access-token"] if for_git and credential.mode == "app" else None

    @property
    def secrets(self) -> Iterable[SecretStr]:
        return [*super().secrets, *self._seen]

    def revoke_installation_tokens(self) -> None:
        """End all that were issued, before their time."""
        self._issued.clear()

    def rename(self, owner: str, slug: str, new_slug: str) -> None:
        """From now on the API sends on from the old name, under which nothing is any more."""
        self._renamed[owner, slug] = new_slug

    # What happens, and whom it is told.

    def push_events(self, repository: Repository, updates: Sequence[RefUpdate]) -> Iterable[Event]:
        """One for each branch and tag, within GitHub's limits."""
        with self.git.commits(repository) as read:
            return [
                events.push(
                    repository,
                    update,
                    actor=self.OWNER,
                    describe=self._repository_json,
                    read=read,
                )
                for update in events.told(updates)
            ]

    def webhook_headers(self, hook: Hook, body: bytes) -> Mapping[str, str]:
        return events.proof(hook, body)

    def deployments(self, owner: str, slug: str, commit: str) -> Sequence[ShownDeployment]:
        """The deployments of a commit, the oldest first."""
        return self._deployments.shown(f"{owner}/{slug}", commit)

    def fork(self, owner: str, slug: str, into: str) -> Repository:
        """Copy a repository to another owner, who is added if need be."""
        row = self._there(f"{owner}/{slug}")
        self.add_owner(into)
        made = self.add_repository(
            into, slug, private=row.private, default_branch=row.default_branch
        )
        for branch, commit in self.branches(row):
            self.git.take(made, branch, commit, source=row)
        return made

    def delete(self, repository: Repository) -> None:
        """Hide a repository for good, such as a fork."""
        self._gone.add(repository.full_name)

    def open_pull_request(
        self,
        owner: str,
        slug: str,
        source_branch: str,
        target_branch: str,
        *,
        title: str = "",
        source: Repository | None = None,
    ) -> PullRequest:
        """Open a pull request, perhaps from a fork.

        Raises:
            NotFound: There is no such repository or branch.
        """
        row = self._there(f"{owner}/{slug}")
        head = source or row
        return self._pull_requests.add(
            PullRequest(
                number=0,
                repository=row.full_name,
                source=head.full_name,
                source_branch=source_branch,
                target_branch=target_branch,
                title=title or source_branch,
                commit=self._branch_of(head, source_branch),
                target_commit=self._branch_of(row, target_branch),
            )
        )

    def edit_pull_request(self, row: PullRequest, **changes: str) -> PullRequest:
        """Change its title, or the branch that it is to be merged into."""
        return self._pull_requests.change(row, "edited", **changes)

    def close_pull_request(self, row: PullRequest) -> PullRequest:
        """Close it without merging."""
        return self._pull_requests.change(row, "closed", state="closed")

    def reopen_pull_request(self, row: PullRequest) -> PullRequest:
        """Open it once more."""
        return self._pull_requests.change(row, "reopened", state="open")

    def merge_pull_request(self, row: PullRequest) -> PullRequest:
        """Move the target branch to the newest commit of the source, and close it."""
        row = self._pull_requests.current(row)
        target, source = self._there(row.repository), self._there(row.source)
        self.git.take(target, row.target_branch, row.commit, source=source)
        return self._pull_requests.change(row, "closed", state="closed", merged=True)

    def find(self, owner: str, slug: str) -> Repository | None:
        return None if f"{owner}/{slug}" in self._gone else super().find(owner, slug)

    def readable(self, row: Repository) -> bool:
        return row.full_name not in self._gone and super().readable(row)

    def _ping(self, hook: Hook, told: Mapping[str, Any]) -> None:
        repository = self._repository_json(self._there(hook.repository))
        self.webhooks.send(hook, events.ping(hook, told, repository, self.OWNER))

    def _follow(self, served: Served, updates: Sequence[RefUpdate]) -> None:
        self._pull_requests.pushed(served.full_name, updates)

    def _tell(self, action: str, row: PullRequest) -> None:
        event = events.pull_request(
            action,
            row,
            self._there(row.repository),
            self.find(*row.source.split("/")),
            actor=self.OWNER,
            describe=self._repository_json,
        )
        self.webhooks.fire(row.repository, event)

    def _there(self, full_name: str) -> Repository:
        row = self.find(*full_name.split("/"))
        if row is None:
            raise NotFound(f"The sandbox has no repository {full_name}.")
        return row

    def _branch_of(self, repository: Repository, branch: str) -> str:
        commit = self._commit_of(repository, branch)
        if commit is None:
            raise NotFound(f"The sandbox's {repository.full_name} has no branch {branch!r}.")
        return commit

    def _commit_of(self, repository: Repository, ref: str) -> str | None:
        if self._has_commit(repository, ref):
            return ref
        return self.git.branches(repository).get(ref)

    def _has_commit(self, repository: Repository, commit: str) -> bool:
        return is_commit_hash(commit) and self.git.has_commit(repository, commit)

    def arrange(self, scenario: Scenario) -> tuple[Arranged, ...]:
        """Repositories have no name for people besides the one in the address."""
        return tuple(replace(arranged, name="") for arranged in super().arrange(scenario))

    # How GitHub answers.

    def rate_limited(self, seconds: int | None) -> Change:
        """The primary limit, which ends at a time; or the secondary one, which does not say."""
        if seconds is None:
            headers, said = self._limits(LIMIT - 1, 3600), SECONDARY_LIMIT
        else:
            headers, said = self._limits(0, seconds), "API rate limit exceeded for user ID 1."
        body = self.refusal(403, said).body
        content = body if isinstance(body, bytes) else b""
        return answer(403, content, content_type=JSON, headers=headers)

    def refusal(self, status: int, message: str) -> Answer:
        said = "Not Found" if status == 404 and message.startswith("There is no") else message
        body = {"message": said, "documentation_url": DOCUMENTATION, "status": str(status)}
        return json_answer(body, status)

    def answer(self, request: Request) -> Answer:
        if is_git_request(request):
            return super().answer(request)
        if "user-agent" not in request.headers:
            return text_answer("Request forbidden by administrative rules.\n", 403)
        if request.headers.get("x-github-api-version", VERSION) != VERSION:
            return self.refusal(400, "The API version that was asked for is not supported.")
        try:
            found = super().answer(request)
        except Refusal as refusal:
            found = refusal.answer
        return with_headers(found, {**self._headers(request), **found.headers})

    def permit_git(self, request: Request, name: str, service: Service) -> Repository:
        """In GitHub's words; a classic token without its scope is shown nothing at all."""
        try:
            return super().permit_git(request, name, service)
        except Refusal as refusal:
            given = refusal.answer
        if given.status == 401:
            signed = "authorization" in request.headers
            said = NO_PASSWORDS if signed else GIT_MESSAGES[404]
            raise Refusal(replace(given, body=said.encode()))
        credential = self.credential_of(credentials_of(request)[1])
        hidden = credential is not None and credential.mode == "classic"
        status = 404 if hidden else given.status
        raise Refusal(replace(given, status=status, body=GIT_MESSAGES[status].encode()))

    def _headers(self, request: Request) -> dict[str, str]:
        headers = {
            "X-GitHub-Media-Type": "github.v3; format=json",
            "X-GitHub-Api-Version-Selected": VERSION,
            **self._limits(LIMIT - 1, 3600),
        }
        credential = self.credential_of(credentials_of(request)[1])
        if credential is not None and credential.mode == "classic":
            headers |= {
                "X-OAuth-Scopes": ", ".join(_classic_scopes(credential)),
                "X-Accepted-OAuth-Scopes": ", ".join(_accepted(request)),
            }
        return headers

    def _limits(self, remaining: int, seconds: int) -> dict[str, str]:
        return {
            "X-RateLimit-Limit": str(LIMIT),
            "X-RateLimit-Remaining": str(remaining),
            "X-RateLimit-Used": str(LIMIT - remaining),
            "X-RateLimit-Reset": str(int(time.time()) + seconds),
            "X-RateLimit-Resource": "core",
        }

    # The API.

    def routes(self) -> Mapping[str, Route]:
        given: Mapping[str, Route] = {
            "GET /user": self._user,
            "GET /user/repos": self._own_repositories,
            "GET /orgs/{org}/repos": self._organisation_repositories,
            "GET /organizations/{number}/repos": self._numbered_organisation,
            "GET /users/{username}/repos": self._user_repositories,
            "GET /user/{number}/repos": self._numbered_user,
            "GET /installation/repositories": self._installation_repositories,
            "GET /app/installations/{number}": self._installation,
            "POST /app/installations/{number}/access_tokens": self._access_token,
            "GET /repos/{owner}/{slug}": self._repository,
            "GET /repos/{owner}/{slug}/branches": self._branches,
            "GET /repos/{owner}/{slug}/branches/{branch*}": self._branch,
            "GET /repos/{owner}/{slug}/hooks": self._list_hooks,
            "POST /repos/{owner}/{slug}/hooks": self._add_hook,
            "GET /repos/{owner}/{slug}/hooks/{id}": self._get_hook,
            "PATCH /repos/{owner}/{slug}/hooks/{id}": self._change_hook,
            "DELETE /repos/{owner}/{slug}/hooks/{id}": self._remove_hook,
            "POST /repos/{owner}/{slug}/statuses/{sha}": self._add_status,
            "GET /repos/{owner}/{slug}/deployments": self._list_deployments,
            "POST /repos/{owner}/{slug}/deployments": self._add_deployment,
            "POST /repos/{owner}/{slug}/deployments/{id}/statuses": self._add_deployment_status,
            "GET /repositories/{number}/hooks": self._numbered_hooks,
            "GET /repositories/{number}": self._numbered_repository,
            "GET /repositories/{number}/branches": self._numbered_branches,
            "GET /repositories/{number}/branches/{branch*}": self._numbered_branch,
        }
        return {address.replace(" ", f" {API}"): route for address, route in given.items()}

    def _user(self, request: Request) -> Answer:
        caller = self.caller(request)
        if caller.mode == "app":
            raise self.refused(403, BY_APP)
        account = self._account_json(caller.username)
        return json_answer({**account, "name": caller.username.title()})

    def _own_repositories(self, request: Request) -> Answer:
        caller = self._reader(request, METADATA)
        if caller.mode == "app":
            raise self.refused(403, BY_APP)
        affiliation = request.query.get("affiliation", "owner,collaborator,organization_member")
        owners = [self.OWNER] if "owner" in affiliation.split(",") else []
        owners += self.OWNERS if "organization_member" in affiliation else []
        rows = [row for owner in owners for row in self._visible(caller, self.owned(owner))]
        return self._page(request, rows, self._repository_json, f"{API}/user/repos")

    def _organisation_repositories(self, request: Request, org: str) -> Answer:
        caller = self.caller(request)
        if org not in self.OWNERS:
            raise self.refused(404, "Not Found")
        rows = self._visible(caller, self.owned(org))
        here = f"{API}/organizations/{self._number(org)}/repos"
        return self._page(request, rows, self._repository_json, here)

    def _numbered_organisation(self, request: Request, number: str) -> Answer:
        return self._organisation_repositories(request, self._owner(number))

    def _user_repositories(self, request: Request, username: str) -> Answer:
        """What is public, whoever asks, and of organisations as well."""
        self.caller(request)
        rows = [row for row in self.owned(username) if not row.private]
        here = f"{API}/user/{self._number(username)}/repos"
        return self._page(request, rows, self._repository_json, here)

    def _numbered_user(self, request: Request, number: str) -> Answer:
        return self._user_repositories(request, self._owner(number))

    def _installation_repositories(self, request: Request) -> Answer:
        caller = self._reader(request, METADATA)
        if caller.mode != "app":
            raise self.refused(403, "You must authenticate with an installation access token.")
        rows = self.owned(self.OWNER)

        def body(items: list[Any]) -> dict[str, Any]:
            return {"total_count": len(rows), "repositories": items}

        here = f"{API}/installation/repositories"
        return self._page(request, rows, self._repository_json, here, body)

    def _repository(self, request: Request, owner: str, slug: str) -> Answer:
        return json_answer(self._repository_json(self._readable(request, owner, slug, METADATA)))

    def _numbered_repository(self, request: Request, number: str) -> Answer:
        row = self._by_number(request, number)
        return self._repository(request, row.owner, row.slug)

    def _branches(self, request: Request, owner: str, slug: str) -> Answer:
        row = self._readable(request, owner, slug, READ)
        here = f"{API}/repositories/{row.number}/branches"
        return self._page(request, self.branches(row), self._branch_json, here)

    def _numbered_branches(self, request: Request, number: str) -> Answer:
        row = self._by_number(request, number)
        return self._branches(request, row.owner, row.slug)

    def _branch(self, request: Request, owner: str, slug: str, branch: str) -> Answer:
        """GitHub sends on from ``master`` to the default branch where there is no ``master``."""
        row = self._readable(request, owner, slug, READ)
        known = dict(self.branches(row))
        if branch in known:
            return json_answer(self._branch_json((branch, known[branch])))
        if branch == "master" and row.default_branch in known:
            raise self._moved(request, f"{row.number}/branches/{row.default_branch}")
        raise self.refused(404, "Branch not found")

    def _numbered_branch(self, request: Request, number: str, branch: str) -> Answer:
        row = self._by_number(request, number)
        return self._branch(request, row.owner, row.slug, branch)

    def _list_hooks(self, request: Request, owner: str, slug: str) -> Answer:
        row = self._changeable(request, owner, slug, HOOKS, level="read")
        here = f"{API}/repositories/{row.number}/hooks"
        hooks = self.webhooks.of(row.full_name)
        return self._page(request, hooks, lambda hook: shape(hook, request.origin), here)

    def _numbered_hooks(self, request: Request, number: str) -> Answer:
        row = self._by_number(request, number)
        return self._list_hooks(request, row.owner, row.slug)

    def _add_hook(self, request: Request, owner: str, slug: str) -> Answer:
        return self.hooks.add(request, self._changeable(request, owner, slug, HOOKS))

    def _get_hook(self, request: Request, owner: str, slug: str, id: str) -> Answer:
        row = self._changeable(request, owner, slug, HOOKS, level="read")
        return json_answer(shape(self._hook(row, id), request.origin))

    def _change_hook(self, request: Request, owner: str, slug: str, id: str) -> Answer:
        row = self._changeable(request, owner, slug, HOOKS)
        return self.hooks.change(request, self._hook(row, id))

    def _remove_hook(self, request: Request, owner: str, slug: str, id: str) -> Answer:
        row = self._changeable(request, owner, slug, HOOKS)
        return self.hooks.remove(self._hook(row, id))

    def _hook(self, repository: Repository, id: str) -> Hook:
        found = self.hooks.find(repository, id)
        if found is None:
            raise self.refused(404, "Not Found")
        return found

    def _add_status(self, request: Request, owner: str, slug: str, sha: str) -> Answer:
        return self._statuses.add(request, self._changeable(request, owner, slug, STATUSES), sha)

    def _list_deployments(self, request: Request, owner: str, slug: str) -> Answer:
        row = self._changeable(request, owner, slug, DEPLOYMENTS, level="read")
        rows = self._deployments.of(row, request.query)

        def render(found: Deployment) -> dict[str, Any]:
            return found.shape(request)

        return self._page(request, rows, render, f"{API}/repositories/{row.number}/deployments")

    def _add_deployment(self, request: Request, owner: str, slug: str) -> Answer:
        row = self._changeable(request, owner, slug, DEPLOYMENTS)
        return self._deployments.add(request, row)

    def _add_deployment_status(self, request: Request, owner: str, slug: str, id: str) -> Answer:
        row = self._changeable(request, owner, slug, DEPLOYMENTS)
        added = self._deployments.add_status(request, row, id)
        if added is None:
            raise self.refused(404, "Not Found")
        return added

    def _installation(self, request: Request, number: str) -> Answer:
        app = self._as_app(request, number)
        suspended_at = "2026-01-01T00:00:00Z" if self.suspended else None
        return json_answer(
            {
                "id": int(number),
                "account": self._account_json(self.OWNER),
                "app_id": int(app.app_id),
                "permissions": _permissions(app.credential),
                "repository_selection": "all",
                "suspended_at": suspended_at,
            }
        )

    def _access_token(self, request: Request, number: str) -> Answer:
        app = self._as_app(request, number)
        if self.suspended:
            raise self.refused(403, "This installation has been suspended")
        granted = _permissions(app.credential)
        wanted = (_body(request) or {}).get("permissions", granted)
        if not all(_includes(granted.get(name), level) for name, level in wanted.items()):
            raise self.refused(422, UNGRANTED)
        token = SecretStr(f"ghs_{_letters(36)}")
        ends = datetime.now(UTC) + self.token_lifetime
        scopes = frozenset(f"{name}={level}" for name, level in wanted.items())
        narrowed = replace(app.credential, scopes=scopes)
        with self._lock:
            self._issued[token.get_secret_value()] = IssuedToken(narrowed, ends)
            self._seen.append(token)
        return json_answer(
            {
                "token": token.get_secret_value(),
                "expires_at": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "permissions": wanted,
                "repository_selection": "all",
            },
            201,
        )

    # Who may what.

    def _reader(self, request: Request, permission: str) -> Credential:
        """Who asks, if they may: Metadata comes with any permission of a repository."""
        caller = self.caller(request)
        name, _, level = permission.partition("=")
        if caller.mode == "classic" or _includes(_permissions(caller).get(name), level):
            return caller
        said = BY_APP if caller.mode == "app" else BY_TOKEN
        needed = {"X-Accepted-GitHub-Permissions": permission}
        raise Refusal(with_headers(self.refusal(403, said), needed))

    def _readable(self, request: Request, owner: str, slug: str, permission: str) -> Repository:
        self._send_on(request, owner, slug)
        caller = self._reader(request, permission)
        row = self.repository(owner, slug)
        if not self._visible(caller, [row]):
            raise self.refused(404, "Not Found")
        return row

    def _changeable(
        self, request: Request, owner: str, slug: str, permission: str, *, level: str = "write"
    ) -> Repository:
        """The repository, if who asks may do to it what takes this permission; a classic token
        without its scope hears 'Not Found'."""
        self._send_on(request, owner, slug)
        caller = self._reader(request, f"{permission}={level}")
        row = self.repository(owner, slug)
        if caller.mode == "classic" and not {*_classic_scopes(caller)} & {
            *CLASSIC_SCOPES[permission]
        }:
            raise self.refused(404, "Not Found")
        return row

    def _send_on(self, request: Request, owner: str, slug: str) -> None:
        renamed = self._renamed.get((owner, slug))
        if renamed is not None:
            rest = request.path.removeprefix(f"{API}/repos/{owner}/{slug}")
            number = self.repository(owner, renamed).number
            raise self._moved(request, f"{number}{rest}")

    def _visible(self, caller: Credential, rows: Sequence[Repository]) -> list[Repository]:
        sees = READ in caller.scopes if caller.mode == "classic" else bool(caller.scopes)
        return [row for row in rows if sees or not row.private]

    def _as_app(self, request: Request, number: str) -> App:
        """The app whose JSON web token a request has, if the installation is its own."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or token.count(".") != 2:
            raise self.refused(401, UNDECODABLE)
        with self._lock:
            self._seen.append(SecretStr(token))
        issuer = self._unverified(token).get("iss")
        app = next((app for app in self._apps if issuer in (app.app_id, app.client_id)), None)
        if app is None:
            raise self.refused(404, "Integration not found")
        self._verify(token, app)
        if app.installation_id != number:
            raise self.refused(404, "Not Found")
        return app

    def _unverified(self, token: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
        except jwt.InvalidTokenError:
            raise self.refused(401, UNDECODABLE) from None
        return found

    def _verify(self, token: str, app: App) -> None:
        now = time.time()
        try:
            claims = jwt.decode(
                token,
                app.key or "",
                algorithms=["RS256"],
                options={"verify_exp": False, "verify_iat": False, "require": ["exp", "iat"]},
            )
        except (jwt.InvalidTokenError, jwt.InvalidKeyError):
            raise self.refused(401, UNDECODABLE) from None
        if claims["exp"] > now + JWT_SECONDS_MOST:
            raise self.refused(401, FAR_EXPIRY)
        if claims["exp"] <= now:
            raise self.refused(401, PAST_EXPIRY)
        if claims["iat"] > now:
            raise self.refused(401, LATE_ISSUE)

    # What is told.

    def _moved(self, request: Request, place: str) -> Refusal:
        url = f"{request.origin}{API}/repositories/{place}"
        query = f"?{request.query_string}" if request.query_string else ""
        status, said = 301, "Moved Permanently"
        if request.method != "GET":
            status, said = 307, "Temporary Redirect"
        body = {"message": said, "url": url, "documentation_url": DOCUMENTATION}
        return Refusal(with_headers(json_answer(body, status), {"Location": url + query}))

    def _page(
        self,
        request: Request,
        rows: Sequence[T],
        render: Callable[[T], Any],
        here: str,
        body: Callable[[list[Any]], Any] = lambda items: items,
    ) -> Answer:
        """A page with all of GitHub's links, which name owners and repositories by number.

        Args:
            here: The address without its query, as links have it.
        """
        size = min(_positive(request, "per_page", 30), 100)
        number = _positive(request, "page", 1)
        last = max(1, -(-len(rows) // size))
        shown = rows[(number - 1) * size : number * size]
        found = json_answer(body([render(row) for row in shown]))
        places = {}
        if number > 1:
            places["prev"] = number - 1
        if number < last:
            places |= {"next": number + 1, "last": last}
        if number > 1:
            places["first"] = 1
        if not places:
            return found
        at = replace(request, target=f"{here}?{request.query_string}")
        links = [f'<{at.link(page=str(place))}>; rel="{name}"' for name, place in places.items()]
        return with_headers(found, {"Link": ", ".join(links)})

    def _repository_json(self, row: Repository) -> dict[str, Any]:
        return {
            "id": row.number,
            "name": row.slug,
            "full_name": row.full_name,
            "private": row.private,
            "owner": self._account_json(row.owner),
            "html_url": f"{self.url}/{row.full_name}",
            "clone_url": f"{self.url}/{row.full_name}.git",
            "ssh_url": f"git@127.0.0.1:{row.full_name}.git",
            "default_branch": row.default_branch,
            "visibility": "private" if row.private else "public",
        }

    def _branch_json(self, branch: tuple[str, str]) -> dict[str, Any]:
        name, commit = branch
        return {"name": name, "commit": {"sha": commit}, "protected": False}

    def _account_json(self, login: str) -> dict[str, Any]:
        kind = "Organization" if login in self.OWNERS else "User"
        return {"login": login, "id": self._number(login), "type": kind}

    def _number(self, login: str) -> int:
        return self.owners.index(login) + 1

    def _owner(self, number: str) -> str:
        return self.owners[int(number) - 1]

    def _by_number(self, request: Request, number: str) -> Repository:
        self.caller(request)
        rows = [row for owner in self.owners for row in self.owned(owner)]
        found = next((row for row in rows if str(row.number) == number), None)
        if found is None:
            raise self.refused(404, "Not Found")
        return found


def _permissions(credential: Credential) -> dict[str, str]:
    """What was granted; every permission of a repository brings Metadata with it."""
    if not credential.scopes:
        return {"members": "read"}
    granted = {"metadata": "read"}
    for name, _, level in (scope.partition("=") for scope in sorted(credential.scopes)):
        granted[name] = level  # of one name, write comes last
    return dict(sorted(granted.items()))


def _includes(granted: str | None, level: str) -> bool:
    return granted == "write" or granted == level


def _classic_scopes(credential: Credential) -> list[str]:
    own = sorted(scope for scope in credential.scopes if "=" not in scope)
    return [SCOPE, *own] if READ in credential.scopes else own


def _accepted(request: Request) -> tuple[str, ...]:
    """The scopes that an address takes."""
    if not request.path.startswith(f"{API}/repos/"):
        return ()
    parts = {*request.segments[5:6]}  # api, v3, repos, owner, repository
    names = {"hooks": HOOKS, "statuses": STATUSES, "deployments": DEPLOYMENTS}
    return next((CLASSIC_SCOPES[names[part]] for part in parts if part in names), (SCOPE,))


def _public_key(pem: SecretStr) -> rsa.RSAPublicKey | None:
    key = serialization.load_pem_private_key(pem.get_secret_value().encode(), password=None)
    return key.public_key() if isinstance(key, rsa.RSAPrivateKey) else None


def _letters(length: int) -> str:
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length))


def _positive(request: Request, name: str, default: int) -> int:
    """GitHub takes what is no number for nothing said."""
    text = request.query.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and int(text) > 0 else default


def _body(request: Request) -> dict[str, Any] | None:
    given = Answer(200, {"Content-Type": JSON}, request.body).json()
    return given if isinstance(given, dict) else None
