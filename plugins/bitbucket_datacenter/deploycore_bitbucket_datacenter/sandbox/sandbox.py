"""The sandbox's addresses and error responses, and its methods for tests and the demo."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from deploycore.models import is_commit_hash
from deploycore.sandbox import secret_source
from deploycore.testing.git_http import is_git_request, text_refusal
from deploycore.testing.host import Exchange, Route
from deploycore.testing.messages import Answer, Refusal, Request, json_answer, with_headers
from deploycore.testing.paging import Pages
from deploycore.testing.pull_request_sandbox import PullRequestSandbox
from deploycore.testing.pull_requests import PullRequest, PullRequestChange
from deploycore.testing.repositories import RefUpdate, Service
from deploycore.testing.sandbox import RIVAL, Credential, Repository, credentials_of
from deploycore.testing.scenarios import Access
from deploycore.testing.webhooks import Event, Hook, ShownStatus
from pydantic import SecretStr

from deploycore_bitbucket_datacenter.configuration import REPOSITORY_ADMIN, REPOSITORY_READ
from deploycore_bitbucket_datacenter.sandbox import events, shapes
from deploycore_bitbucket_datacenter.sandbox.events import TimeFormat
from deploycore_bitbucket_datacenter.sandbox.hooks import RULES, HooksApi, body_of, signed
from deploycore_bitbucket_datacenter.sandbox.paging import NextPageStart, page
from deploycore_bitbucket_datacenter.statuses import LONGEST_URL, STATES

__all__ = ["BitbucketDataCenterSandbox"]

T = TypeVar("T")

CONTEXT = "/bitbucket"
REST = f"{CONTEXT}/rest"
API = f"{REST}/api/latest"
REPO = f"{API}/projects/{{project}}/repos/{{slug}}"
KEYS = f"{REST}/keys/latest/projects/{{project}}/repos/{{slug}}/ssh"
SCM = f"{CONTEXT.strip('/')}/scm/"

PACKAGE = "com.atlassian.bitbucket"
NOT_PERMITTED = "You are not permitted to access this resource"
WRONG = "Authentication failed. Please check your credentials and try again."
BASIC_IS_OFF = "Basic Authentication has been disabled on this instance."
EXCEPTIONS = {
    NOT_PERMITTED: f"{PACKAGE}.AuthorisationException",
    WRONG: f"{PACKAGE}.auth.IncorrectPasswordAuthenticationException",
}
FIRST_PROJECT = 1


class BitbucketDataCenterSandbox(PullRequestSandbox):
    """Bitbucket Data Center's API, as far as the provider uses it.

    Attributes:
        basic: Whether Basic authentication is turned on. In version 10, it is off by default.
        tells_default_branch: Whether a repository's JSON has its default branch.
        has_builds: Whether build statuses have an address below a repository, as in version 7.4 and
            later.
        knows_cancelled: Whether ``CANCELLED`` is a state of a build.
        times: The form of times in deliveries.
    """

    MODES = {
        "personal-token": "Personal token",
        "access-token": "Project token",
        "password": "Password",
    }
    SCOPES = (REPOSITORY_READ, "Repository write", REPOSITORY_ADMIN)
    PREFIX = "BBDC-"
    PAGES = Pages(NextPageStart(), size="limit", number="start", size_default=25, size_most=100)
    GIT_REALM = "Atlassian Bitbucket"
    WEBHOOK_RULES = RULES
    OWNER = "WEB"
    OWNERS = (f"~{shapes.USER}",)
    VERSION = "9.4.0"

    watchers: ClassVar[list[Callable[[Exchange], None]]] = []

    basic = True
    tells_default_branch = True
    has_builds = True
    knows_cancelled = True
    times: TimeFormat = "milliseconds"

    def __init__(self, *, port: int = 0, latency: float = 0.0) -> None:
        super().__init__(port=port, latency=latency)
        self._hooks = HooksApi(self.webhooks, self.refused)

    @property
    def base_url(self) -> str:
        """The base URL to configure, with the context path."""
        return f"{self.url}{CONTEXT}"

    def settings(self, credential: Credential) -> Mapping[str, str | SecretStr]:
        where = {"mode": credential.mode, "url": self.base_url, "project": self.OWNER}
        if credential.mode == "password":
            return {**where, "username": shapes.USER, "password": credential.secret}
        return {**where, "token": credential.secret}

    def new_secret(self, mode: str) -> SecretStr:
        """Return a token, which has a prefix and characters of Base64."""
        source = secret_source()
        made = source.token_urlsafe(12 if mode == "password" else 33)
        return SecretStr(made if mode == "password" else f"{self.PREFIX}{made}")

    def shown(self, request: Request, *, for_git: bool = False) -> Credential | None:
        """Accept project and repository tokens only with Bearer, passwords only with Basic, and the
        tokens of users with both."""
        username, secret = credentials_of(request)
        credential = self.credential_of(secret)
        if credential is None:
            return None
        accepted: dict[str, tuple[str | None, ...]] = {
            "access-token": (None,),
            "password": (shapes.USER,),
            "personal-token": (None, shapes.USER),
        }
        return credential if username in accepted[credential.mode] else None

    def refusal(self, status: int, message: str) -> Answer:
        exception = EXCEPTIONS.get(message, f"{PACKAGE}.NoSuchEntityException")
        row = {"context": None, "message": message, "exceptionName": exception}
        return json_answer({"errors": [row]}, status)

    def unauthorised(self, shown: Credential | None) -> Answer:
        return self.refusal(401, WRONG)

    def out_of_scope(self, credential: Credential, scopes: Sequence[str]) -> Answer:
        """Return 401 with ``X-AUSERNAME``, which shows that the caller is signed in."""
        return self.refusal(401, NOT_PERMITTED)

    def answer(self, request: Request) -> Answer:
        """Reject Basic if it is off, and add the header with the signed-in user."""
        is_basic = request.headers.get("authorization", "").lower().startswith("basic ")
        if is_basic and not self.basic:
            if is_git_request(request):
                raise text_refusal(403, BASIC_IS_OFF)
            raise self.refused(403, BASIC_IS_OFF)
        try:
            found = super().answer(request)
        except Refusal as refusal:
            found = refusal.answer
        credential = self.shown(request)
        is_known = credential is not None and credential.access is not Access.EXPIRED
        return with_headers(found, {"X-AUSERNAME": self.account(credential)}) if is_known else found

    def account(self, credential: Credential | None) -> str:
        """Return the username of a credential. Tokens of projects have their own accounts."""
        is_person = credential is None or credential.mode != "access-token"
        return shapes.USER if is_person else f"access-token-user%2F{self.OWNER.lower()}"

    def owned(self, owner: str) -> Sequence[Repository]:
        """Return the repositories of a project. The case of its key is ignored."""
        key = self._key(owner)
        if key is None:
            raise self.refused(404, f"Project {owner} does not exist.")
        if key == RIVAL:
            raise self.refused(401, NOT_PERMITTED)
        return super().owned(key)

    def repository(self, owner: str, slug: str) -> Repository:
        """Return a repository that callers may see; respond with 401 for any other."""
        row = self._found(owner, slug)
        if row is None:
            raise self.refused(404, f"Repository {owner}/{slug} does not exist.")
        if not self.readable(row):
            raise self.refused(401, NOT_PERMITTED)
        return row

    def permit_git(self, request: Request, name: str, service: Service) -> Repository:
        """Return ``/scm/{project}/{slug}``, with the project key in lower case."""
        owner, _, slug = name.removeprefix(SCM).partition("/")
        row = self._found(owner, slug) if name.startswith(SCM) else None
        full_name = f"{owner}/{slug}" if row is None else row.full_name
        return super().permit_git(request, full_name, service)

    def push_event(self, repository: Repository, updates: Sequence[RefUpdate]) -> Event:
        return events.push(self._repository_json(repository), updates, self.times)

    def webhook_headers(self, hook: Hook, body: bytes) -> Mapping[str, str]:
        return signed(hook, body)

    def ping(self, hook: Hook) -> None:
        """Send the delivery of a webhook's button *Test connection*."""
        self.webhooks.send(hook, events.ping())

    def pull_request_events(
        self, change: PullRequestChange, repository: Repository, source: Repository | None
    ) -> Iterable[Event]:
        return events.pull_request(change.action, self._pull_json(change.row), self.times)

    def page(self, request: Request, rows: Sequence[T], render: Callable[[T], Any]) -> Answer:
        return page(request, rows, render, sizes=self.PAGES, refuse=self.refused)

    def routes(self) -> Mapping[str, Route]:
        return {
            f"GET {API}/application-properties": self._properties,
            f"GET {API}/profile/recent/repos": self._recent,
            f"GET {API}/projects": self._projects,
            f"GET {API}/repos": self._all,
            f"GET {API}/projects/{{project}}/repos": self._repositories,
            f"GET {REPO}": self._repository,
            f"GET {REPO}/default-branch": self._default_branch,
            f"GET {REPO}/branches": self._branches,
            f"GET {REPO}/tags": self._tags,
            f"GET {REPO}/webhooks": self._list_hooks,
            f"POST {REPO}/webhooks": self._add_hook,
            f"PUT {REPO}/webhooks/{{id}}": self._change_hook,
            f"DELETE {REPO}/webhooks/{{id}}": self._remove_hook,
            f"GET {KEYS}": self._list_keys,
            f"POST {KEYS}": self._add_key,
            f"GET {KEYS}/{{id}}": self._one_key,
            f"DELETE {KEYS}/{{id}}": self._remove_key,
            f"GET {REPO}/commits/{{commit}}": self._commit,
            f"POST {REPO}/commits/{{commit}}/builds": self._add_build,
            f"POST {REST}/build-status/latest/commits/{{commit}}": self._add_older_build,
            f"GET {REPO}/pull-requests": self._list_pulls,
            f"GET {REPO}/pull-requests/{{number}}": self._one_pull,
        }

    # Responses.

    def _properties(self, request: Request) -> Answer:
        told = {"version": self.VERSION, "buildNumber": "9004000", "displayName": "Bitbucket"}
        return json_answer({**told, "buildDate": str(shapes.MADE)})

    def _recent(self, request: Request) -> Answer:
        credential = self.caller(request)
        rows = self._readable() if REPOSITORY_READ in credential.scopes else []
        return self.page(request, rows, self._repository_json)

    def _projects(self, request: Request) -> Answer:
        self.caller(request, REPOSITORY_READ)
        keys = [key for key in self.owners if key != RIVAL and not key.startswith("~")]
        return self.page(request, keys, self._project_json)

    def _all(self, request: Request) -> Answer:
        """Leave out everything that is not permitted."""
        credential = self.caller(request)
        rows = self._readable() if REPOSITORY_READ in credential.scopes else []
        return self.page(request, rows, self._repository_json)

    def _repositories(self, request: Request, project: str) -> Answer:
        self.caller(request, REPOSITORY_READ)
        return self.page(request, self.owned(project), self._repository_json)

    def _repository(self, request: Request, project: str, slug: str) -> Answer:
        return json_answer(self._repository_json(self._may(request, project, slug)))

    def _default_branch(self, request: Request, project: str, slug: str) -> Answer:
        row = self._may(request, project, slug)
        if row.default_branch not in self.git.branches(row):
            raise self.refused(404, f"The default branch of {row.full_name} does not exist.")
        id = f"refs/heads/{row.default_branch}"
        return json_answer({"id": id, "displayId": row.default_branch, "type": "BRANCH"})

    def _branches(self, request: Request, project: str, slug: str) -> Answer:
        row = self._may(request, project, slug)
        rows = _filtered(request, self.branches(row))

        def shape(each: tuple[str, str]) -> dict[str, Any]:
            return shapes.branch(*each, is_default=each[0] == row.default_branch)

        return self.page(request, rows, shape)

    def _tags(self, request: Request, project: str, slug: str) -> Answer:
        row = self._may(request, project, slug)
        rows = _filtered(request, sorted(self.git.tags(row).items()))
        return self.page(request, rows, lambda each: shapes.tag(*each))

    def _list_hooks(self, request: Request, project: str, slug: str) -> Answer:
        row = self._may(request, project, slug, REPOSITORY_ADMIN)
        return self.page(request, self.webhooks.of(row.full_name), self._hooks.shape)

    def _add_hook(self, request: Request, project: str, slug: str) -> Answer:
        return self._hooks.add(request, self._may(request, project, slug, REPOSITORY_ADMIN))

    def _change_hook(self, request: Request, project: str, slug: str, id: str) -> Answer:
        row = self._may(request, project, slug, REPOSITORY_ADMIN)
        return self._hooks.change(request, row, id)

    def _remove_hook(self, request: Request, project: str, slug: str, id: str) -> Answer:
        return self._hooks.remove(self._may(request, project, slug, REPOSITORY_ADMIN), id)

    def _list_keys(self, request: Request, project: str, slug: str) -> Answer:
        row = self._may(request, project, slug, REPOSITORY_ADMIN)
        return self.page(request, self.deploy_keys.of(row.full_name), shapes.access_key)

    def _add_key(self, request: Request, project: str, slug: str) -> Answer:
        row = self._may(request, project, slug, REPOSITORY_ADMIN)
        body = body_of(request, self.refused)
        key = body.get("key")
        text = str(key.get("text", "")) if isinstance(key, Mapping) else ""
        label = str(key.get("label", "")) if isinstance(key, Mapping) else ""
        if not text.startswith("ssh-") or body.get("permission") not in ("REPO_READ", "REPO_WRITE"):
            raise self.refused(400, "The SSH key or the permission is not valid.")
        read_only = body["permission"] == "REPO_READ"
        made = self.deploy_keys.add(row.full_name, text, label, read_only=read_only)
        if made is None:
            raise self.refused(409, "The SSH key already has access to this repository.")
        return json_answer(shapes.access_key(made), 201)

    def _one_key(self, request: Request, project: str, slug: str, id: str) -> Answer:
        row = self._may(request, project, slug, REPOSITORY_ADMIN)
        found = self.deploy_keys.find(row.full_name, id)
        if found is None:
            raise self.refused(404, f"No SSH key with ID {id} has access to this repository.")
        return json_answer(shapes.access_key(found))

    def _remove_key(self, request: Request, project: str, slug: str, id: str) -> Answer:
        row = self._may(request, project, slug, REPOSITORY_ADMIN)
        found = self.deploy_keys.find(row.full_name, id)
        if found is not None:
            self.deploy_keys.remove(found)
        return Answer(204, {})

    def _commit(self, request: Request, project: str, slug: str, commit: str) -> Answer:
        row = self._may(request, project, slug)
        if not is_commit_hash(commit) or not self.git.has_commit(row, commit):
            raise self.refused(404, f"Commit {commit} does not exist in {row.full_name}.")
        return json_answer({"id": commit, "displayId": commit[:11], "parents": []})

    def _add_build(self, request: Request, project: str, slug: str, commit: str) -> Answer:
        row = self._may(request, project, slug)
        if not self.has_builds:
            raise self.refused(404, "HTTP 404 Not Found")
        self.show_status(row, commit, self._build(request))
        return Answer(204, {})

    def _add_older_build(self, request: Request, commit: str) -> Answer:
        """Return the statuses of a commit in any repository."""
        self.caller(request)
        shown = self._build(request)
        for row in self._readable():
            if self.git.has_commit(row, commit):
                self.show_status(row, commit, shown)
        return Answer(204, {})

    def _build(self, request: Request) -> ShownStatus:
        body = body_of(request, self.refused)
        texts = {name: str(body.get(name) or "") for name in ("key", "url", "name", "description")}
        states = {said: state for state, said in STATES.items()}
        if not texts["key"] or len(texts["key"]) > 255:
            raise self.refused(400, "The build key is blank or longer than 255 characters.")
        if not texts["url"] or len(texts["url"]) > LONGEST_URL:
            raise self.refused(400, "The build URL is blank or longer than 450 characters.")
        state = body.get("state")
        if state not in states or (state == "CANCELLED" and not self.knows_cancelled):
            raise self.refused(400, "The state of the build is invalid.")
        return ShownStatus(state=states[state], **texts)

    def _list_pulls(self, request: Request, project: str, slug: str) -> Answer:
        row = self._may(request, project, slug)
        state = request.query.get("state", "OPEN")
        rows = [
            each
            for each in self.pull_requests.of(row.full_name)
            if state in ("ALL", shapes.STATES[each.state])
        ]
        return self.page(request, rows, self._pull_json)

    def _one_pull(self, request: Request, project: str, slug: str, number: str) -> Answer:
        row = self._may(request, project, slug)
        found = self.pull_requests.find(row.full_name, number)
        if found is None:
            raise self.refused(404, f"No pull request with ID {number} was found.")
        return json_answer(self._pull_json(found))

    # Parts of responses.

    def _may(
        self, request: Request, project: str, slug: str, permission: str = REPOSITORY_READ
    ) -> Repository:
        """Return a repository for a caller with a permission. It is checked first whether the
        repository exists."""
        self.caller(request)
        row = self.repository(project, slug)
        self.caller(request, permission)
        return row

    def _key(self, owner: str) -> str | None:
        """Return the key of a project. Case is ignored."""
        return next((key for key in self.owners if key.lower() == owner.lower()), None)

    def _found(self, owner: str, slug: str) -> Repository | None:
        key = self._key(owner)
        return None if key is None else self.find(key, slug)

    def _readable(self) -> Sequence[Repository]:
        rows = [row for key in self.owners for row in self.repositories_of(key) or ()]
        return [row for row in rows if self.readable(row)]

    def _project_json(self, key: str) -> dict[str, Any]:
        return shapes.project(key, self._number(key), self.base_url)

    def _number(self, key: str) -> int:
        return FIRST_PROJECT + list(self.owners).index(key)

    def _repository_json(self, row: Repository) -> dict[str, Any]:
        told = row.default_branch if self.tells_default_branch else None
        number = self._number(row.owner)
        return shapes.repository(row, self.base_url, project_number=number, default_branch=told)

    def _pull_json(self, row: PullRequest) -> dict[str, Any]:
        target, source = self.named(row.repository), self.named(row.source)
        if target is None:
            raise self.refused(404, row.repository)
        told = None if source is None else self._repository_json(source)
        return shapes.pull_request(row, self._repository_json(target), told)


def _filtered(request: Request, rows: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the items whose names contain the requested text; case is ignored. If requested, the
    exact match is first."""
    wanted = request.query.get("filterText", "").lower()
    found = [row for row in rows if wanted in row[0].lower()]
    if request.query.get("boostMatches") == "true":
        found.sort(key=lambda row: row[0].lower() != wanted)
    return found
