"""How GitLab signs in, permits and refuses: the part of the sandbox below its API."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from typing import ClassVar, Literal, get_args

from deploycore.sandbox import secret_source
from deploycore.testing.faults import Change, answer
from deploycore.testing.git_http import text_refusal
from deploycore.testing.messages import (
    Answer,
    Refusal,
    Request,
    json_answer,
    text_answer,
    with_headers,
)
from deploycore.testing.oauth import AuthorizationServer, OAuthRules
from deploycore.testing.pull_request_sandbox import PullRequestSandbox
from deploycore.testing.repositories import Service
from deploycore.testing.sandbox import Credential, Repository, credentials_of
from deploycore.testing.scenarios import Access
from pydantic import SecretStr

from deploycore_gitlab.configuration import API_SCOPE, GIT_SCOPE, GIT_USERNAME
from deploycore_gitlab.sandbox.hooks import ProjectHook

__all__ = ["DeployToken", "GitLabHost"]

# With the permissions of fine-grained tokens, which are told apart by the colon.
# https://docs.gitlab.com/auth/tokens/fine_grained_access_tokens_rest/
FOR_API = ("api", API_SCOPE)
FOR_USER = ("read_user", *FOR_API, "User: Read")
FOR_PROJECTS = (*FOR_API, "Project: Read")
FOR_BRANCHES = (*FOR_API, "Branch: Read")
FOR_TAGS = (*FOR_API, "Tag: Read")
FOR_NAMESPACES = (*FOR_API, "Namespace: Read")
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


class GitLabHost(PullRequestSandbox):
    """GitLab without its API: tokens, refusals and the rules for git.

    Attributes:
        RELATIVE_URL: The path that it lives below, such as ``/gitlab``.
        USER: The one whose tokens there are, and who may have projects of their own.
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

    def __init__(self, *, port: int = 0, latency: float = 0.0) -> None:
        self.oauth = AuthorizationServer(OAuthRules(lifetime=7200))
        super().__init__(port=port, latency=latency)
        self._roles: dict[str, Role] = {}
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

    def add_sign_in(
        self, scopes: Collection[str] = ("api", API_SCOPE, GIT_SCOPE), *, is_public: bool = False
    ) -> Mapping[str, str | SecretStr]:
        """Register an OAuth application for mode ``oauth``. The account that signs in is
        ``oauth.account``.

        Returns:
            The fields of the provider's ``Config``, without ``name``.
        """
        client = self.oauth.add_client(
            redirect_uri="http://127.0.0.1/callback", scopes=scopes, is_public=is_public
        )
        secret = {} if client.secret is None else {"client_secret": client.secret}
        given = {"mode": "oauth", "url": self.root, "client_id": client.client_id}
        return {**given, "namespace": self.OWNER, **secret}

    def credential_of(self, secret: str) -> Credential | None:
        grant = self.oauth.granted(secret)
        if grant is None:
            return super().credential_of(secret)
        self._roles.setdefault(secret, "Maintainer")
        return Credential(
            mode="oauth-token",
            access=Access.FULL,
            username=grant.account,
            secret=SecretStr(secret),
            scopes=frozenset(grant.scopes),
        )

    @property
    def secrets(self) -> Iterable[SecretStr]:
        hooks = [hook for hook in self.webhooks.all if isinstance(hook, ProjectHook)]
        signing = [hook.signing_token for hook in hooks if hook.signing_token is not None]
        deploy_tokens = [token.secret for token in self._deploy_tokens.values()]
        return [*super().secrets, *deploy_tokens, *signing, *self.oauth.secrets]

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

    def _row(self, project: str) -> Repository | None:
        if project.isdecimal():
            rows = [row for owner in self.owners for row in self.owned(owner)]
            return next((row for row in rows if row.number == int(project)), None)
        owner, _, slug = project.rpartition("/")
        return self.find(owner, slug)

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
