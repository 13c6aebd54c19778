"""The base of the sandbox's API: sign-in, permissions and error responses."""

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

# Includes permissions of fine-grained tokens, which have a colon.
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
    """A token only for git. It does not belong to a user.

    Attributes:
        namespace: The group that it is for, subgroups included.
        expired: Whether it has expired or was never known.
    """

    username: str
    secret: SecretStr
    scopes: frozenset[str]
    namespace: str
    expired: bool = False


class GitLabHost(PullRequestSandbox):
    """The part of the sandbox without the API: tokens, error responses and the rules for git.

    Attributes:
        RELATIVE_URL: The path below which GitLab is installed, such as ``/gitlab``.
        USER: The user to whom the tokens belong, and who may have projects.
        moved: The current path of each moved project, by its old full path.
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
        """The address to configure."""
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
        """Return a secret. OAuth tokens have no prefix."""
        if mode == "oauth-token":
            return SecretStr(secret_source().token_hex(32))
        return SecretStr(f"{self.PREFIX}{secret_source().token_urlsafe(15)}")

    def granted(self, mode: str, access: Access) -> Collection[str]:
        """Return the scopes of new credentials: all, or the least that can list and clone. With a
        deploy token for git, the other token needs only the API. There are no credentials without
        scopes."""
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
        """Create credentials; in mode ``deploy-token``, two of them.

        Args:
            scopes: The scopes of the token for the API. A fine-grained token has ``granular`` and
                permissions such as ``Project: Read``.
            role: Its user's role in all projects (default: the role that the access requires).
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
        """Return the accepted usernames: none for the API, and any for git with an access token."""
        if not for_git:
            return [None]
        return [GIT_USERNAME] if credential.mode == "oauth-token" else None

    def shown(self, request: Request, *, for_git: bool = False) -> Credential | None:
        """Return the credential of a request. The API accepts an OAuth token only with ``Bearer``,
        and an access token in both ways. Git requires a username that is not empty."""
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
        """Return the error without the header that RFC 6750 requires, because GitLab does not send
        it."""
        permissions = [scope for scope in scopes if ":" in scope]
        if GRANULAR in credential.scopes:
            said = GRANULAR_LACKING.format(", ".join(permissions))
            body = {"error": "insufficient_granular_scope", "error_description": said}
            return json_answer(body, 403)
        classic = " ".join(scope for scope in scopes if scope not in permissions)
        body = {"error": "insufficient_scope", "error_description": LACKING, "scope": classic}
        return json_answer(body, 403)

    def rate_limited(self, seconds: int | None) -> Change:
        """Return the error for the limit of the whole API, with headers; or without headers, like a
        proxy in front of GitLab.

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
        """Return the error for the limit of one address of the API."""
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
        """Check scopes before it is checked whether the project exists."""
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
        """Return the scopes of the credentials; ``None`` if there are no valid ones.

        A deploy token is invalid for projects of another group, like in GitLab.
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
