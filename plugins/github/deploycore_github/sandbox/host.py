"""The base of the sandbox's API: sign-in, permissions, error responses and pages.

Sources: https://docs.github.com/en/rest and, for what its git server says, GitHub's own answers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr

from deploycore.testing.faults import Change, answer
from deploycore.testing.git_http import is_git_request
from deploycore.testing.messages import (
    JSON,
    Answer,
    Refusal,
    Request,
    json_answer,
    text_answer,
    with_headers,
)
from deploycore.testing.oauth import AuthorizationServer
from deploycore.testing.paging import LinkHeader, Pages
from deploycore.testing.pull_request_sandbox import PullRequestSandbox
from deploycore.testing.repositories import Service
from deploycore.testing.sandbox import Credential, Repository, credentials_of
from deploycore.testing.scenarios import Access
from deploycore_github.sandbox import keys, sign_in
from deploycore_github.sandbox.permissions import (
    API,
    CLASSIC_SCOPES,
    READ,
    accepted,
    classic_scopes,
    includes,
    permissions,
)
from deploycore_github.sandbox.validation import DOCUMENTATION

__all__ = ["BY_APP", "GitHubHost"]

T = TypeVar("T")

VERSION = "2022-11-28"
DETAILS = {"archived": False, "size": 1, "topics": [], "pushed_at": "2026-01-01T00:00:00Z"}
LIMIT = 5000

BY_TOKEN = "Resource not accessible by personal access token"  # noqa: S105 - GitHub's words
BY_APP = "Resource not accessible by integration"
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
        key: The private key; ``None`` if the configured key does not belong to the app.
    """

    app_id: str
    client_id: str
    installation_id: str
    credential: Credential
    key: rsa.RSAPublicKey | None


@dataclass(frozen=True)
class IssuedToken:
    """An installation token, with its expiry and permissions."""

    credential: Credential
    ends: datetime


class RepositoryLinks(LinkHeader):
    """Pages with the ``Link`` header. A page is a list or, for an installation, an object with a
    list."""

    def items(self, answer: Answer) -> list[Any] | None:
        body = answer.json()
        found = body.get("repositories") if isinstance(body, dict) else body
        return found if isinstance(found, list) else None


class GitHubHost(PullRequestSandbox):
    """The part of the sandbox without the API.

    The scopes of credentials are permissions, such as ``statuses=write``. Classic tokens may also
    have classic scopes, such as ``repo:status``; those that can read have the scope ``repo``.
    Tokens of mode ``token`` are fine-grained.

    Attributes:
        token_lifetime: The lifetime of installation tokens.
        suspended: Whether the installations of apps are suspended.
    """

    MODES = {  # noqa: RUF012 - as the base class has it
        "token": "Fine-grained token",
        "app": "GitHub App",
        "classic": "Classic token",
    }
    SCOPES = (READ, "contents=write", *(f"{name}=write" for name in CLASSIC_SCOPES))
    OWNERS = ("guild",)
    PAGES = Pages(RepositoryLinks())
    GIT_REALM = "GitHub"

    def __init__(self, *, port: int = 0, latency: float = 0.0) -> None:
        self.oauth = AuthorizationServer(sign_in.RULES)
        super().__init__(port=port, latency=latency)
        self.token_lifetime = timedelta(hours=1)
        self.suspended = False
        self._renamed: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()
        self._apps: list[App] = []
        self._issued: dict[str, IssuedToken] = {}
        self._seen: list[SecretStr] = []
        self._keys_made = 0

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
        """Return a secret with the length and the alphabet of GitHub's secrets."""
        if mode == "app":
            self._keys_made += 1
            return keys.new_private_key(self._keys_made)
        if mode == "classic":
            return SecretStr(f"ghp_{keys.letters(36)}")
        return SecretStr(f"github_pat_{keys.letters(22)}_{keys.letters(59)}")

    def add_credential(
        self, mode: str, access: Access = Access.FULL, *, scopes: Collection[str] | None = None
    ) -> Credential:
        credential = super().add_credential(mode, access, scopes=scopes)
        if mode == "app":
            refused = access in (Access.WRONG, Access.EXPIRED)
            key = None if refused else keys.public_key(credential.secret)
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

    def add_sign_in(self, scopes: Collection[str] = sign_in.SCOPES) -> Mapping[str, str]:
        """Register an app for mode ``oauth-device``; see ``sign_in.register``."""
        return sign_in.register(self.oauth, self.url, scopes)

    def credential_of(self, secret: str) -> Credential | None:
        signed_in = sign_in.credential_of(self.oauth, secret)
        if signed_in is not None:
            return signed_in
        issued = self._issued.get(secret)
        if issued is not None:
            return issued.credential if datetime.now(UTC) < issued.ends else None
        found = super().credential_of(secret)
        return None if found is not None and found.mode == "app" else found

    def usernames(self, credential: Credential, *, for_git: bool) -> Collection[str | None] | None:
        """Accept personal tokens for git with any username, and installation tokens with only
        one."""
        return ["x-access-token"] if for_git and credential.mode == "app" else None

    @property
    def secrets(self) -> Iterable[SecretStr]:
        return [*super().secrets, *self._seen, *self.oauth.secrets]

    def revoke_installation_tokens(self) -> None:
        """Let all issued installation tokens expire now."""
        self._issued.clear()

    def rename(self, owner: str, slug: str, new_slug: str) -> None:
        """Rename a repository. From now on, the API redirects from the old name."""
        self._renamed[owner, slug] = new_slug

    # GitHub's responses.

    def rate_limited(self, seconds: int | None) -> Change:
        """Return the response for the primary rate limit, which has an end, or for the secondary
        one, which has none."""
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
        """Return GitHub's error. For a classic token without the scope, it is 'Not Found'."""
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
                "X-OAuth-Scopes": ", ".join(classic_scopes(credential)),
                "X-Accepted-OAuth-Scopes": ", ".join(accepted(request)),
            }
        if credential is not None and credential.expires_at is not None:
            at = credential.expires_at.astimezone(UTC)
            headers["GitHub-Authentication-Token-Expiration"] = f"{at:%Y-%m-%d %H:%M:%S} UTC"
        return headers

    def _limits(self, remaining: int, seconds: int) -> dict[str, str]:
        return {
            "X-RateLimit-Limit": str(LIMIT),
            "X-RateLimit-Remaining": str(remaining),
            "X-RateLimit-Used": str(LIMIT - remaining),
            "X-RateLimit-Reset": str(int(time.time()) + seconds),
            "X-RateLimit-Resource": "core",
        }

    # Requests of an app itself.

    def app_installation(self, request: Request, number: str) -> Answer:
        app = self._as_app(request, number)
        suspended_at = "2026-01-01T00:00:00Z" if self.suspended else None
        return json_answer(
            {
                "id": int(number),
                "account": self._account_json(self.OWNER),
                "app_id": int(app.app_id),
                "permissions": permissions(app.credential),
                "repository_selection": "all",
                "suspended_at": suspended_at,
            }
        )

    def app_token(self, request: Request, number: str) -> Answer:
        app = self._as_app(request, number)
        if self.suspended:
            raise self.refused(403, "This installation has been suspended")
        granted = permissions(app.credential)
        wanted = (_body(request) or {}).get("permissions", granted)
        if not all(includes(granted.get(name), level) for name, level in wanted.items()):
            raise self.refused(422, UNGRANTED)
        token = SecretStr(f"ghs_{keys.letters(36)}")
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

    # Permissions.

    def _reader(self, request: Request, permission: str) -> Credential:
        """Return the caller, if it has the permission. Every permission of a repository includes
        Metadata."""
        caller = self.caller(request)
        name, _, level = permission.partition("=")
        if caller.mode == "classic" or includes(permissions(caller).get(name), level):
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
        """Return the repository, if the caller has this permission. A classic token without the
        scope gets 'Not Found'."""
        self._send_on(request, owner, slug)
        caller = self._reader(request, f"{permission}={level}")
        row = self.repository(owner, slug)
        if caller.mode == "classic" and not {*classic_scopes(caller)} & {
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
            raise self.refused(401, keys.UNDECODABLE)
        with self._lock:
            self._seen.append(SecretStr(token))
        issuer = keys.issuer_of(token, self.refused)
        app = next((app for app in self._apps if issuer in (app.app_id, app.client_id)), None)
        if app is None:
            raise self.refused(404, "Integration not found")
        keys.verify(token, app.key, self.refused)
        if app.installation_id != number:
            raise self.refused(404, "Not Found")
        return app

    # Content of responses.

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
        """Return a page with all of GitHub's links, in which owners and repositories have numbers.

        Args:
            here: The address without its query, in the form of links.
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
            **DETAILS,
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


def _positive(request: Request, name: str, default: int) -> int:
    """Return a number from the query. GitHub ignores a text that is not a number."""
    text = request.query.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and int(text) > 0 else default


def _body(request: Request) -> dict[str, Any] | None:
    given = Answer(200, {"Content-Type": JSON}, request.body).json()
    return given if isinstance(given, dict) else None
