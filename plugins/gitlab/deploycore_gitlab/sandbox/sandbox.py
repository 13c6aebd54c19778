"""GitLab's API and its rules for git, as far as the provider uses them.

Where the documentation is silent, it does as GitLab's own code does (``lib/api``,
``lib/gitlab/auth.rb``, ``app/controllers/repositories``). In one thing it is stricter: GitLab
lets a token whose only scope is ``read_api`` fetch by git, which its documentation promises for
``api``, ``read_repository`` and ``write_repository`` alone.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, ClassVar, Literal, get_args
from urllib.parse import quote

from deploycore.errors import NotFound
from deploycore.models import is_commit_hash
from deploycore.sandbox import secret_source
from deploycore.testing.faults import Change, answer
from deploycore.testing.git_http import text_refusal
from deploycore.testing.host import Route
from deploycore.testing.messages import (
    Answer,
    Refusal,
    Request,
    json_answer,
    text_answer,
    with_headers,
)
from deploycore.testing.pull_requests import PullRequest, PullRequestChange, PullRequests
from deploycore.testing.repositories import RefUpdate, Service
from deploycore.testing.sandbox import Credential, Repository, Sandbox, credentials_of
from deploycore.testing.scenarios import Access, Arranged, Scenario
from deploycore.testing.webhooks import Event, Hook, ShownDeployment
from pydantic import SecretStr

from deploycore_gitlab.configuration import API_SCOPE, GIT_SCOPE, GIT_USERNAME
from deploycore_gitlab.sandbox import events, shapes
from deploycore_gitlab.sandbox.hooks import RULES, HooksApi, ProjectHook, decoded, delivery_headers
from deploycore_gitlab.sandbox.merge_requests import MergeRequestsApi
from deploycore_gitlab.sandbox.pages import branch_pages, keyset_pages, numbered_pages
from deploycore_gitlab.sandbox.reports import DeploymentsApi, changed_status

__all__ = ["DeployToken", "GitLabSandbox"]

# With the permissions of fine-grained tokens, which are told apart by the colon.
# https://docs.gitlab.com/auth/tokens/fine_grained_access_tokens_rest/
FOR_API = ("api", API_SCOPE)
FOR_USER = ("read_user", *FOR_API, "User: Read")
FOR_PROJECTS = (*FOR_API, "Project: Read")
FOR_BRANCHES = (*FOR_API, "Branch: Read")
FOR_FETCHING = ("api", GIT_SCOPE, "write_repository", "Code: Download")
FOR_PUSHING = ("api", "write_repository", "Code: Push")
FOR_WRITING = ("api",)
FOR_READING_REQUESTS = (*FOR_API, "Merge Request: Read")
GRANULAR = "granular"

Role = Literal["Guest", "Reporter", "Developer", "Maintainer", "Owner"]
ROLES: tuple[Role, ...] = get_args(Role)

EXPIRED = "Token is expired. You can either do re-authorization or token refresh."
LACKING = "The request requires higher privileges than provided by the access token."
GRANULAR_LACKING = (
    "Access denied: This operation requires a fine-grained personal access token with the "
    "following project permissions: [{}]."
)
TOO_MANY = {"error": "This endpoint has been requested too many times. Try again later."}
DENIED = (
    "HTTP Basic: Access denied. If a password was provided for Git authentication, the password "
    "was incorrect or you're required to use a token instead of a password. If a token was "
    "provided, it was either incorrect, expired, or improperly scoped. See "
    "{root}/help/topics/git/troubleshooting_git.md#error-on-git-fetch-http-basic-access-denied"
)
NO_PROJECT = (
    "The project you were looking for could not be found or you don't have permission to view it."
)

# https://git-scm.com/docs/git-check-ref-format
INVALID_NAME = re.compile(
    r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|(?:^|/)\.|\.lock(?:/|$)|^[/-]|[/.]$|^@$"
)


@dataclass(frozen=True)
class DeployToken:
    """A token for git alone, which belongs to no user.

    Attributes:
        namespace: The group that it is for, subgroups included.
        expired: Or never known.
    """

    username: str
    secret: SecretStr
    scopes: frozenset[str]
    namespace: str
    expired: bool = False


class GitLabSandbox(Sandbox):
    """GitLab on 127.0.0.1, with a group, a user, and tokens of each mode.

    Attributes:
        RELATIVE_URL: The path that it lives below, such as ``/gitlab``.
        USER: The one whose tokens there are, and who may have projects of their own.
        SIGNS: Whether webhooks have signing tokens, as from GitLab 19.0 on.
        PUSH_EVENT_HOOKS_LIMIT: How many branches, or tags, of one push webhooks are told of.
        archived: Projects that are archived; they are read as ever.
        internal: Projects that every signed-in user may see.
        moved: Old full paths of projects, and where each one is now.
    """

    MODES: ClassVar[Mapping[str, str]] = {
        "access-token": "Access token",
        "oauth-token": "OAuth token",
        "deploy-token": "Access token and deploy token",
    }
    OWNER = "acme/platform"
    PREFIX = "glpat-"
    GIT_REALM = "GitLab"
    TOKEN_HEADER = "PRIVATE-TOKEN"
    RELATIVE_URL: ClassVar[str] = ""
    USER: ClassVar[str] = "ada"
    SIGNS: ClassVar[bool] = True
    PUSH_EVENT_HOOKS_LIMIT: ClassVar[int] = 3
    WEBHOOK_RULES = RULES

    def __init__(self, *, port: int = 0, latency: float = 0.0) -> None:
        super().__init__(port=port, latency=latency)
        self._hooks = HooksApi(self.webhooks, signs=self.SIGNS)
        self._deployments = DeploymentsApi()
        self._merge_requests = PullRequests(self.git, self._row, self._tell)
        self._merge_requests_api = MergeRequestsApi(
            self._merge_requests, find=self._row, branches=self.git.branches, user=self.USER
        )
        self._roles: dict[str, Role] = {}
        self.archived: set[str] = set()
        self.internal: set[str] = set()
        self.moved: dict[str, Repository] = {}
        self._deploy_tokens: dict[str, DeployToken] = {}

    @property
    def root(self) -> str:
        """What a person gives as the address."""
        return f"{self.url}{self.RELATIVE_URL}"

    # Credentials

    def settings(self, credential: Credential) -> Mapping[str, str | SecretStr]:
        given: dict[str, str | SecretStr] = {
            "url": self.root,
            "mode": credential.mode,
            "namespace": self.OWNER,
            "token": credential.secret,
        }
        if credential.mode == "deploy-token":
            deploy_token = self._deploy_tokens[credential.secret.get_secret_value()]
            given["deploy_token_username"] = deploy_token.username
            given["deploy_token"] = deploy_token.secret
        return given

    def new_secret(self, mode: str) -> SecretStr:
        """OAuth tokens have no prefix."""
        if mode == "oauth-token":
            return SecretStr(secret_source().token_hex(32))
        return SecretStr(f"{self.PREFIX}{secret_source().token_urlsafe(15)}")

    def granted(self, mode: str, access: Access) -> Collection[str]:
        """One that opens everything, or the least that lists and clones: a token for the API
        alone, where a deploy token does the rest. There is none without any scope."""
        if access is Access.UNSCOPED:
            return ("read_user",)
        if access is not Access.LEAST:
            return ("api",)
        return (API_SCOPE,) if mode == "deploy-token" else (API_SCOPE, GIT_SCOPE)

    def add_credential(
        self,
        mode: str,
        access: Access = Access.FULL,
        *,
        scopes: Collection[str] | None = None,
        role: Role | None = None,
    ) -> Credential:
        """Make up credentials: in mode ``deploy-token`` two of them.

        Args:
            scopes: Those of the token for the API; ``granular`` and permissions such as
                ``Project: Read`` for a fine-grained one.
            role: Its user's role in all projects; by default what the access takes.
        """
        credential = super().add_credential(mode, access, scopes=scopes)
        by_access: Role = "Reporter" if access is Access.LEAST else "Maintainer"
        self._roles[credential.secret.get_secret_value()] = role or by_access
        if mode == "deploy-token":
            token = DeployToken(
                username=f"gitlab+deploy-token-{len(self._deploy_tokens) + 1}",
                secret=SecretStr(f"gldt-{secret_source().token_urlsafe(15)}"),
                scopes=frozenset(["read_registry" if access is Access.UNSCOPED else GIT_SCOPE]),
                namespace=self.OWNER,
                expired=access in (Access.EXPIRED, Access.WRONG),
            )
            self._deploy_tokens[credential.secret.get_secret_value()] = token
        return credential

    @property
    def secrets(self) -> Iterable[SecretStr]:
        hooks = [hook for hook in self.webhooks.all if isinstance(hook, ProjectHook)]
        signing = [hook.signing_token for hook in hooks if hook.signing_token is not None]
        deploy_tokens = [token.secret for token in self._deploy_tokens.values()]
        return [*super().secrets, *deploy_tokens, *signing]

    def usernames(self, credential: Credential, *, for_git: bool) -> Collection[str | None] | None:
        """The API takes no usernames. Git takes any beside an access token."""
        if not for_git:
            return [None]
        return [GIT_USERNAME] if credential.mode == "oauth-token" else None

    def shown(self, request: Request, *, for_git: bool = False) -> Credential | None:
        """An OAuth token goes as ``Bearer`` alone; an access token either way. Git wants a
        username that is not blank."""
        credential = super().shown(request, for_git=for_git)
        if credential is None or (for_git and not credentials_of(request)[0]):
            return None
        own_header = self.TOKEN_HEADER.lower() in request.headers
        return None if credential.mode == "oauth-token" and own_header else credential

    # Refusals of the API

    def unauthorised(self, shown: Credential | None) -> Answer:
        if shown is None:
            return self.refusal(401, "401 Unauthorized")
        challenge = (
            'Bearer realm="Protected by OAuth 2.0", error="invalid_token", '
            f'error_description="{EXPIRED}"'
        )
        body = {"error": "invalid_token", "error_description": EXPIRED}
        return with_headers(json_answer(body, 401), {"WWW-Authenticate": challenge})

    def out_of_scope(self, credential: Credential, scopes: Sequence[str]) -> Answer:
        """Without the header that RFC 6750 asks for, which GitLab leaves out."""
        permissions = [scope for scope in scopes if ":" in scope]
        if GRANULAR in credential.scopes:
            said = GRANULAR_LACKING.format(", ".join(permissions))
            body = {"error": "insufficient_granular_scope", "error_description": said}
            return json_answer(body, 403)
        classic = " ".join(scope for scope in scopes if scope not in permissions)
        body = {"error": "insufficient_scope", "error_description": LACKING, "scope": classic}
        return json_answer(body, 403)

    def rate_limited(self, seconds: int | None) -> Change:
        """As for the whole API, with the headers; or as a proxy before GitLab does it, without.

        Source: https://docs.gitlab.com/administration/settings/user_and_ip_rate_limits/
        """
        if seconds is None:
            return answer(429, "Retry later\n", content_type="text/plain")
        reset = int(time.time()) + seconds
        headers = {
            "RateLimit-Name": "throttle_authenticated_api",
            "RateLimit-Limit": "2000",
            "RateLimit-Observed": "2001",
            "RateLimit-Remaining": "0",
            "RateLimit-Reset": str(reset),
            "RateLimit-ResetTime": formatdate(reset, usegmt=True),
            "Retry-After": str(seconds),
        }
        return answer(429, "Retry later\n", content_type="text/plain", headers=headers)

    def rate_limited_endpoint(self, seconds: int) -> Change:
        """As for one address of the API, which has a limit of its own."""
        body = json.dumps({"message": TOO_MANY})
        headers = {"Retry-After": str(seconds)}
        return answer(429, body, content_type="application/json", headers=headers)

    # The API

    def routes(self) -> Mapping[str, Route]:
        api = f"GET {self.RELATIVE_URL}/api/v4"
        project = f"{self.RELATIVE_URL}/api/v4/projects/{{project}}"
        return {
            f"GET {project}/hooks": self._list_hooks,
            f"POST {project}/hooks": self._add_hook,
            f"PUT {project}/hooks/{{number}}": self._change_hook,
            f"DELETE {project}/hooks/{{number}}": self._remove_hook,
            f"POST {project}/statuses/{{commit}}": self._set_status,
            f"GET {project}/deployments": self._list_deployments,
            f"POST {project}/deployments": self._add_deployment,
            f"PUT {project}/deployments/{{number}}": self._change_deployment,
            f"GET {project}/merge_requests": self._list_merge_requests,
            f"POST {project}/merge_requests": self._open_merge_request,
            f"GET {project}/merge_requests/{{number}}": self._one_merge_request,
            f"PUT {project}/merge_requests/{{number}}": self._change_merge_request,
            f"PUT {project}/merge_requests/{{number}}/merge": self._accept_merge_request,
            f"{api}/user": self._user,
            f"{api}/personal_access_tokens/self": self._access_token,
            f"GET {self.RELATIVE_URL}/oauth/token/info": self._oauth_token,
            f"{api}/projects": self._projects,
            f"{api}/groups/{{group}}/projects": self._projects_of_group,
            f"{api}/users/{{user}}/projects": self._projects_of_user,
            f"{api}/projects/{{project}}": self._one_project,
            f"{api}/projects/{{project}}/repository/branches": self._branches,
            f"{api}/projects/{{project}}/repository/branches/{{name}}": self._branch,
            **{
                f"{method} /{{rest*}}": self._nothing for method in ("GET", "POST", "PUT", "DELETE")
            },
        }

    def _nothing(self, request: Request, rest: str) -> Answer:
        return json_answer({"error": "404 Not Found"}, 404)

    def _user(self, request: Request) -> Answer:
        self.caller(request, *FOR_USER)
        return json_answer(shapes.user(self.USER, self.root))

    def _access_token(self, request: Request) -> Answer:
        """To classic tokens of whatever scopes."""
        caller = self.caller(request)
        if GRANULAR in caller.scopes:
            self.caller(request, "Personal Access Token: Read")
            return json_answer(shapes.access_token([GRANULAR]))
        if caller.mode == "oauth-token":
            reason = "This endpoint requires token type to be a personal access token"
            raise self.refused(400, f"400 Bad request - {reason}")
        return json_answer(shapes.access_token(caller.scopes))

    def _oauth_token(self, request: Request) -> Answer:
        """Not of the API: it knows OAuth tokens alone, and says otherwise what is wrong."""
        shown = self.shown(request)
        if shown is None or shown.mode != "oauth-token" or shown.access is Access.EXPIRED:
            expired = shown is not None and shown.access is Access.EXPIRED
            said = f"The access token {'expired' if expired else 'is invalid'}"
            body = {"error": "invalid_token", "error_description": said, "state": "unauthorized"}
            challenge = (
                f'Bearer realm="Doorkeeper", error="invalid_token", error_description="{said}"'
            )
            raise Refusal(with_headers(json_answer(body, 401), {"WWW-Authenticate": challenge}))
        return json_answer(shapes.oauth_token(shown.scopes))

    def _projects(self, request: Request) -> Answer:
        self.caller(request, *FOR_PROJECTS)
        membership = request.query.get("membership") == "true"
        rows = [
            row
            for owner in self.owners
            for row in self.owned(owner)
            if not membership or self._is_member(row.owner)
        ]
        return self._listed(request, rows)

    def _projects_of_user(self, request: Request, user: str) -> Answer:
        self.caller(request, *FOR_PROJECTS)
        if user != self.USER:
            raise self.refused(404, "404 User Not Found")
        return self._listed(request, self.owned(user) if user in self.owners else [])

    def _projects_of_group(self, request: Request, group: str) -> Answer:
        """By number alone, also where a keyset is asked for."""
        self.caller(request, *FOR_PROJECTS)
        below = request.query.get("include_subgroups") == "true"
        owners = [
            owner
            for owner in self.owners
            if owner == group or owner.startswith(f"{group}/")
            if owner != self.USER and (self._is_member(owner) or self.owned(owner))
        ]
        if not owners:
            raise self.refused(404, "404 Group Not Found")
        asked = [owner for owner in owners if below or owner == group]
        found = self._searched(request, [row for owner in asked for row in self.owned(owner)])
        rows = self._ordered(request, found)
        return numbered_pages(request, rows, self._project_json, names={"id": group})

    def _listed(self, request: Request, rows: Sequence[Repository]) -> Answer:
        found = self._searched(request, rows)
        if request.query.get("pagination") == "keyset":
            return keyset_pages(request, found, self._project_json)
        return numbered_pages(request, self._ordered(request, found), self._project_json, names={})

    def _ordered(self, request: Request, rows: Sequence[Repository]) -> Sequence[Repository]:
        """By number: that of their making, which is the order unless another one is asked for."""
        descending = request.query.get("sort", "desc") == "desc"
        return sorted(rows, key=lambda row: row.number, reverse=descending)

    def _searched(self, request: Request, rows: Sequence[Repository]) -> Sequence[Repository]:
        """By every word, in name or path; words of under three letters have to be all of it."""
        words = request.query.get("search", "").lower().split()
        if not words:
            return rows
        long = [word for word in words if len(word) >= 3]
        if not long:
            whole = " ".join(words)
            return [row for row in rows if whole in (row.name.lower(), row.slug.lower())]
        return [
            row
            for row in rows
            if any(all(w in text.lower() for w in long) for text in (row.name, row.slug))
        ]

    def _one_project(self, request: Request, project: str) -> Answer:
        return json_answer(self._project_json(self._project(request, project)))

    def _branches(self, request: Request, project: str) -> Answer:
        row = self._project(request, project)
        rows = self.branches(row)
        search = request.query.get("search", "")
        searched = [each for each in rows if _lets_through(search, each[0])] if search else None
        with self.git.commits(row) as commit:
            return branch_pages(
                request,
                rows,
                lambda each: shapes.branch(row, each[0], commit(each[1]), self.root),
                names={"id": project},
                searched=searched,
            )

    def _branch(self, request: Request, project: str, name: str) -> Answer:
        row = self._project(request, project)
        if INVALID_NAME.search(name):
            raise self.refused(400, "The branch refname is invalid")
        found = dict(self.branches(row)).get(name)
        if found is None:
            raise self.refused(404, "404 Branch Not Found")
        with self.git.commits(row) as commit:
            return json_answer(shapes.branch(row, name, commit(found), self.root))

    # Webhooks, statuses and deployments

    def _list_hooks(self, request: Request, project: str) -> Answer:
        row = self._managed(request, project, (*FOR_API, "Webhook: Read"), "Maintainer")
        return self._hooks.page(request, row)

    def _add_hook(self, request: Request, project: str) -> Answer:
        row = self._managed(request, project, (*FOR_WRITING, "Webhook: Create"), "Maintainer")
        return self._hooks.add(request, row)

    def _change_hook(self, request: Request, project: str, number: str) -> Answer:
        row = self._managed(request, project, (*FOR_WRITING, "Webhook: Update"), "Maintainer")
        return self._hooks.change(request, row, number)

    def _remove_hook(self, request: Request, project: str, number: str) -> Answer:
        row = self._managed(request, project, (*FOR_WRITING, "Webhook: Delete"), "Maintainer")
        return self._hooks.remove(row, number)

    def _set_status(self, request: Request, project: str, commit: str) -> Answer:
        scopes = (*FOR_WRITING, "Commit Status: Create")
        row = self._managed(request, project, scopes, "Developer")
        if not (is_commit_hash(commit) and self.git.has_commit(row, commit)):
            raise self.refused(404, "404 Commit Not Found")
        body = decoded(request)
        ref = body.get("ref") or next((n for n, c in self.branches(row) if c == commit), None)
        if ref is None:
            raise self.refused(404, "404 References for commit Not Found")
        status = changed_status(body, self.statuses(row.owner, row.slug, commit))
        self.show_status(row, commit, status)
        return json_answer(shapes.commit_status(status, commit, str(ref), body), 201)

    def _list_deployments(self, request: Request, project: str) -> Answer:
        row = self._managed(request, project, (*FOR_API, "Deployment: Read"), "Reporter")
        return self._deployments.page(request, row)

    def _add_deployment(self, request: Request, project: str) -> Answer:
        row = self._managed(request, project, (*FOR_WRITING, "Deployment: Create"), "Developer")
        body = decoded(request)
        found = {
            field
            for field in ("sha", "ref")
            if self._resolves(row, str(body.get(field)), is_ref=field == "ref")
        }
        return self._deployments.add(request, row, frozenset(found))

    def _change_deployment(self, request: Request, project: str, number: str) -> Answer:
        row = self._managed(request, project, (*FOR_WRITING, "Deployment: Update"), "Developer")
        return self._deployments.change(request, row, number)

    def _list_merge_requests(self, request: Request, project: str) -> Answer:
        row = self._project(request, project, FOR_READING_REQUESTS)
        return numbered_pages(
            request,
            self._merge_requests_api.listed(request, row),
            lambda found: self._merge_requests_api.shape(found, row, self.root),
            names={"id": row.full_name},
        )

    def _open_merge_request(self, request: Request, project: str) -> Answer:
        scopes = (*FOR_WRITING, "Merge Request: Create")
        row = self._managed(request, project, scopes, "Developer")
        opened = self._merge_requests_api.open(request, row)
        into = self._row(opened.repository) or row
        return json_answer(self._merge_requests_api.shape(opened, into, self.root), 201)

    def _one_merge_request(self, request: Request, project: str, number: str) -> Answer:
        row = self._project(request, project, FOR_READING_REQUESTS)
        found = self._merge_requests_api.found(row, number)
        return json_answer(self._merge_requests_api.shape(found, row, self.root))

    def _change_merge_request(self, request: Request, project: str, number: str) -> Answer:
        scopes = (*FOR_WRITING, "Merge Request: Update")
        row = self._managed(request, project, scopes, "Developer")
        found = self._merge_requests_api.found(row, number)
        changed = self._merge_requests_api.change(request, found)
        return json_answer(self._merge_requests_api.shape(changed, row, self.root))

    def _accept_merge_request(self, request: Request, project: str, number: str) -> Answer:
        """Default branches are protected: it takes a Maintainer to merge into one."""
        row = self._project(request, project, (*FOR_WRITING, "Merge Request: Update"))
        found = self._merge_requests_api.found(row, number)
        protected = found.target_branch == row.default_branch
        role = self._roles[self.caller(request).secret.get_secret_value()]
        if ROLES.index(role) < ROLES.index("Maintainer" if protected else "Developer"):
            raise self.refused(401, "401 Unauthorized")
        merged = self._merge_requests_api.merge(request, found)
        return json_answer(self._merge_requests_api.shape(merged, row, self.root))

    def _resolves(self, row: Repository, name: str, *, is_ref: bool) -> bool:
        if is_commit_hash(name):
            return self.git.has_commit(row, name)
        return is_ref and (name in dict(self.branches(row)) or name in self.git.tags(row))

    def _managed(
        self, request: Request, project: str, scopes: Sequence[str], role: Role
    ) -> Repository:
        """A project in which the caller has a role or a higher one."""
        row = self._project(request, project, scopes)
        has = self._roles[self.caller(request).secret.get_secret_value()]
        if ROLES.index(has) < ROLES.index(role):
            raise self.refused(403, "403 Forbidden")
        return row

    def deployments(self, owner: str, slug: str, commit: str) -> Sequence[ShownDeployment]:
        """The deployments of a commit, the oldest first."""
        return self._deployments.shown(self._existing(owner, slug), commit)

    def push_events(self, repository: Repository, updates: Sequence[RefUpdate]) -> Sequence[Event]:
        """One for each ref, but for none where there are too many."""
        with self.git.commits(repository) as read:
            told = events.pushes(
                repository,
                updates,
                user=self.USER,
                read=read,
                root=self.root,
                limit=self.PUSH_EVENT_HOOKS_LIMIT,
            )
            return list(told)

    def webhook_headers(self, hook: Hook, body: bytes) -> Mapping[str, str]:
        return delivery_headers(hook, body, self.root)

    def fork(self, owner: str, slug: str, *, into: str) -> Repository:
        """Copy a project with its branches into another namespace, which is made if need be."""
        source = self._existing(owner, slug)
        self.add_owner(into)
        copied = self.add_repository(into, slug, default_branch=source.default_branch)
        for branch, commit in self.branches(source):
            self.git.take(copied, branch, commit, source=source)
        return copied

    def open_merge_request(
        self,
        owner: str,
        slug: str,
        source_branch: str,
        target_branch: str,
        *,
        title: str = "",
        source: Repository | None = None,
    ) -> PullRequest:
        """Open a merge request, and tell webhooks.

        Args:
            source: Where its commits come from, if not from the same project.

        Raises:
            NotFound: There is no such project or branch.
        """
        row = self._existing(owner, slug)
        return self._merge_requests.open(row, source or row, source_branch, target_branch, title)

    def update_merge_request(self, request: PullRequest, **changes: str) -> PullRequest:
        """Give it another title or target_branch; new commits are told of by themselves."""
        return self._merge_requests.edit(request, **changes)

    def merge(self, request: PullRequest) -> PullRequest:
        """Move the target branch to its newest commit, and end it."""
        return self._merge_requests.merge(request)

    def close_merge_request(self, request: PullRequest) -> PullRequest:
        """End it without its commits."""
        return self._merge_requests.close(request)

    def reopen_merge_request(self, request: PullRequest) -> PullRequest:
        """Open again what was closed."""
        return self._merge_requests.reopen(request)

    def _tell(self, change: PullRequestChange) -> None:
        row, source = self._row(change.row.repository), self._row(change.row.source)
        if row is None or not self.webhooks.of(row.full_name):
            return
        with self.git.commits(source or row) as read:
            event = events.merge_request(
                change, row, source, user=self.USER, read=read, root=self.root
            )
        self.webhooks.fire(row.full_name, event)

    def _existing(self, owner: str, slug: str) -> Repository:
        row = self.find(owner, slug)
        if row is None:
            raise NotFound(f"The sandbox has no project {owner}/{slug}.")
        return row

    def _project(
        self, request: Request, project: str, scopes: Sequence[str] = FOR_BRANCHES
    ) -> Repository:
        """By its full path or its number; for who reads an old path is a redirect to the number."""
        self.caller(request, *scopes)
        moved = self.moved.get(project) if request.method == "GET" else None
        if moved is not None and self.readable(moved):
            place = request.target.replace(quote(project, safe=""), str(moved.number), 1)
            location = f"{request.origin}{place}"
            said = f"This resource has been moved permanently to {location}"
            redirect = with_headers(text_answer(said, 301), {"Location": location})
            raise Refusal(redirect)
        row = self._row(project)
        if row is None or not self.readable(row):
            raise self.refused(404, "404 Project Not Found")
        return row

    def _row(self, project: str) -> Repository | None:
        if project.isdecimal():
            rows = [row for owner in self.owners for row in self.owned(owner)]
            return next((row for row in rows if row.number == int(project)), None)
        owner, _, slug = project.rpartition("/")
        return self.find(owner, slug)

    def _project_json(self, row: Repository) -> dict[str, Any]:
        visibility = "private" if row.private else "public"
        return shapes.project(
            row,
            self.root,
            empty=not self.branches(row),
            archived=row.full_name in self.archived,
            of_user=row.owner == self.USER,
            visibility="internal" if row.full_name in self.internal else visibility,
        )

    def _is_member(self, owner: str) -> bool:
        return owner == self.USER or owner.partition("/")[0] == self.OWNER.partition("/")[0]

    # Git

    def permit_git(self, request: Request, name: str, service: Service) -> Repository:
        """Scopes come before the question whether there is a project."""
        if not f"/{name}".startswith(f"{self.RELATIVE_URL}/"):
            raise text_refusal(404, "Not found")
        path = f"/{name}".removeprefix(f"{self.RELATIVE_URL}/")
        row = self.moved.get(path) or self._row(path)
        pushes = service == "git-receive-pack"
        scopes = self._scopes_for_git(request, row)
        if scopes is None:
            if "authorization" in request.headers or pushes or row is None or row.private:
                raise self._denied()
            return row
        if scopes.isdisjoint(FOR_PUSHING if pushes else FOR_FETCHING):
            what = "upload" if pushes else "download"
            raise text_refusal(403, f"You are not allowed to {what} code.")
        if row is None or not self.readable(row):
            raise text_refusal(404, NO_PROJECT)
        return row

    def _scopes_for_git(self, request: Request, row: Repository | None) -> frozenset[str] | None:
        """What the credentials may do; ``None`` where there are none that are right.

        To GitLab a deploy token is wrong where it is for another group.
        """
        credential = self.shown(request, for_git=True)
        if credential is not None:
            return None if credential.access is Access.EXPIRED else credential.scopes
        username, secret = credentials_of(request)
        for token in list(self._deploy_tokens.values()):
            if (token.username, token.secret.get_secret_value()) == (username, secret):
                covered = row is None or f"{row.owner}/".startswith(f"{token.namespace}/")
                return token.scopes if covered and not token.expired else None
        return None

    def _denied(self) -> Refusal:
        challenge = {"WWW-Authenticate": f'Basic realm="{self.GIT_REALM}"'}
        return Refusal(with_headers(text_answer(DENIED.format(root=self.root), 401), challenge))

    def arrange(self, scenario: Scenario) -> tuple[Arranged, ...]:
        """Hold what a scenario asks for: nothing archived, internal, moved, merged or deployed."""
        self._merge_requests.clear()
        self._deployments.clear()
        self.archived.clear()
        self.internal.clear()
        self.moved.clear()
        return super().arrange(scenario)


def _lets_through(search: str, name: str) -> bool:
    """Whether a search of branches finds a name: by any part, or by ``^``, ``$`` and ``*``."""
    pattern = re.escape(search.lower())
    if re.search(r"[\^$*]", search):
        pattern = pattern.replace(r"\^", "^", 1).replace(r"\*", ".*?").replace(r"\$", "$", 1)
    return re.search(pattern, name.lower()) is not None
