"""The base class of a provider's sandbox.

A subclass defines the addresses of the host's API and its JSON. The base class has users,
repositories, credentials, error responses, pages, git and faults. ``deploycore sandbox`` and the
conformance kit use the same class.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Self, TypeVar

from pydantic import SecretStr

from deploycore.models import is_commit_hash
from deploycore.sandbox import SandboxConnection, secret_source
from deploycore.testing.content import RIVAL, HostContent
from deploycore.testing.deploy_keys import DeployKeys
from deploycore.testing.faults import Change, rate_limited
from deploycore.testing.git_http import SmartHttp, is_git_request, text_refusal
from deploycore.testing.host import Route, route_of
from deploycore.testing.messages import (
    Answer,
    Refusal,
    Request,
    json_answer,
    text_answer,
    with_headers,
)
from deploycore.testing.paging import LinkHeader, Pages
from deploycore.testing.repositories import RefUpdate, Served, Service
from deploycore.testing.rows import Credential, Repository, credentials_of
from deploycore.testing.scenarios import HIDDEN, Access, Arranged, Scenario
from deploycore.testing.webhooks import DeliveryRules, Event, Hook, ShownStatus, Webhooks

__all__ = ["RIVAL", "Credential", "Repository", "Sandbox", "credentials_of"]

T = TypeVar("T")


class Sandbox(HostContent, ABC):
    """A git host on 127.0.0.1, which a subclass completes.

    Private names of the base class cannot collide with names of a subclass.

    Args:
        port: The port to listen on; 0 for any free port.
        latency: Seconds to wait before each response.

    Attributes:
        MODES: The ways to sign in: the name in the configuration, and a short title.
        SCOPES: All scopes that credentials can have. Listing and cloning require the first one,
            unless ``granted`` says otherwise.
        PREFIX: The start of the host's secrets.
        TOKEN_HEADER: The host's own header for a token; empty if it has only ``Authorization``.
        PAGES: How the host divides listings into pages.
        GIT_REALM: The name with which its git server asks for credentials.
        WEBHOOK_RULES: How it delivers webhooks, if a subclass has them.
    """

    MODES: ClassVar[Mapping[str, str]] = {"token": "Token"}
    SCOPES: ClassVar[tuple[str, ...]] = ("read",)
    PREFIX: ClassVar[str] = ""
    TOKEN_HEADER: ClassVar[str] = ""
    PAGES: ClassVar[Pages] = Pages(LinkHeader())
    GIT_REALM: ClassVar[str] = "git"
    WEBHOOK_RULES: ClassVar[DeliveryRules] = DeliveryRules()

    def __init__(self, *, port: int = 0, latency: float = 0.0) -> None:
        super().__init__(port=port, latency=latency)
        self.git.watchers.append(self.__pushed)
        self.webhooks = Webhooks(self.WEBHOOK_RULES, self.webhook_headers)
        self.deploy_keys = DeployKeys()
        self.__lock = threading.RLock()
        self.__credentials: dict[str, Credential] = {}
        self.__withdrawn: list[SecretStr] = []
        self.__api = self.routes()
        self.__smart_http = SmartHttp(self.git, self.permit_git)

    # Methods that a subclass implements or overrides.

    @abstractmethod
    def settings(self, credential: Credential) -> Mapping[str, str | SecretStr]:
        """Return the fields of the provider's ``Config`` for a credential, without ``name``."""

    @abstractmethod
    def routes(self) -> Mapping[str, Route]:
        """Return the API: functions by ``METHOD /path/{name}/…`` (see ``host.route_of``)."""

    def refusal(self, status: int, message: str) -> Answer:
        """Return an error response of the API."""
        return json_answer({"message": message}, status)

    def granted(self, mode: str, access: Access) -> Collection[str]:
        """Return the scopes of new credentials (default: all, one or none of ``SCOPES``)."""
        if access is Access.UNSCOPED:
            return ()
        return self.SCOPES[:1] if access is Access.LEAST else self.SCOPES

    def unauthorised(self, shown: Credential | None) -> Answer:
        """Return the API's response to a request without valid credentials.

        Args:
            shown: Credentials that have expired; ``None`` if they are unknown or missing.
        """
        return self.refusal(401, "Bad credentials")

    def out_of_scope(self, credential: Credential, scopes: Sequence[str]) -> Answer:
        """Return the API's response to credentials that have none of the scopes of which one is
        required."""
        return self.refusal(403, f"The scope {' or '.join(scopes)} is missing")

    def usernames(self, credential: Credential, *, for_git: bool) -> Collection[str | None] | None:
        """Return the usernames with which a credential is valid; ``None`` for any username, or
        none."""
        return None

    def new_secret(self, mode: str) -> SecretStr:
        """Return a new secret in the host's format, from ``deploycore.sandbox.secret_source``."""
        return SecretStr(self.PREFIX + secret_source().token_hex(16))

    def credential_of(self, secret: str) -> Credential | None:
        """Return the credential that belongs to the secret in a request.

        Extend this if the host exchanges secrets for tokens that expire.
        """
        with self.__lock:
            return self.__credentials.get(secret)

    def rate_limited(self, seconds: int | None) -> Change:
        """Return the host's response when its rate limit is exceeded (default: status 429)."""
        return rate_limited(retry_after=seconds)

    def push_event(self, repository: Repository, updates: Sequence[RefUpdate]) -> Event | None:
        """Return the webhook event of a push; ``None`` if the host has no webhooks."""
        return None

    def push_events(self, repository: Repository, updates: Sequence[RefUpdate]) -> Iterable[Event]:
        """Return the webhook events of a push (default: the one of ``push_event``).

        Override this if the host sends an event for each branch and tag.
        """
        event = self.push_event(repository, updates)
        return () if event is None else (event,)

    def webhook_headers(self, hook: Hook, body: bytes) -> Mapping[str, str]:
        """Return the headers that differ for each delivery, such as its identifier and its
        signature (``deploycore.testing.webhooks.hmac_sha256``)."""
        return {}

    # Methods for the functions of routes.

    def caller(self, request: Request, *scopes: str) -> Credential:
        """Return the credential of a request to the API.

        Args:
            request: The request.
            scopes: The scopes of which one is required.

        Raises:
            Refusal: The credentials are missing, unknown or expired (401), or lack such a scope
                (403).
        """
        credential = self.shown(request)
        if credential is None or credential.access is Access.EXPIRED:
            raise Refusal(self.unauthorised(credential))
        if scopes and credential.scopes.isdisjoint(scopes):
            raise Refusal(self.out_of_scope(credential, scopes))
        return credential

    def shown(self, request: Request, *, for_git: bool = False) -> Credential | None:
        """Return the credential of a request if its username is valid, even if it has expired."""
        username, secret = credentials_of(request, token_header=self.TOKEN_HEADER)
        credential = self.credential_of(secret)
        if credential is None or (for_git and username is None):
            return None
        usernames = self.usernames(credential, for_git=for_git)
        return credential if usernames is None or username in usernames else None

    def refused(self, status: int, message: str) -> Refusal:
        """Return an error response of the API as an exception to raise."""
        return Refusal(self.refusal(status, message))

    def owned(self, owner: str) -> Sequence[Repository]:
        """Return the repositories of an owner that callers can read, in the order of creation.

        Raises:
            Refusal: The owner does not exist (404).
        """
        rows = self.repositories_of(owner)
        if rows is None:
            raise self.refused(404, f"There is no owner {owner}")
        return [row for row in rows if self.readable(row)]

    def readable(self, row: Repository) -> bool:
        """Whether callers can read a repository."""
        return row.owner != RIVAL or not row.private

    def repository(self, owner: str, slug: str) -> Repository:
        """Return a repository that callers can read.

        Raises:
            Refusal: It does not exist, or is hidden (404).
        """
        row = self.find(owner, slug)
        if row is None or not self.readable(row):
            raise self.refused(404, f"There is no repository {owner}/{slug}")
        return row

    def page(self, request: Request, rows: Sequence[T], render: Callable[[T], Any]) -> Answer:
        """Return the page of a listing for a request."""
        return self.PAGES.answer(request, rows, render)

    def show_status(self, repository: Repository, commit: str, status: ShownStatus) -> None:
        """Show a status of a commit. It replaces the status with the same key.

        Raises:
            Refusal: The commit does not exist (404).
        """
        if not is_commit_hash(commit) or not self.git.has_commit(repository, commit):
            raise self.refused(404, f"There is no commit {commit} in {repository.full_name}")
        self.put_status(repository, commit, status)

    # Methods for the kit and for the commands ``sandbox`` and ``demo``.

    @classmethod
    def demo(cls, port: int = 0) -> Self:
        """Start a sandbox with two repositories and a credential for each way to sign in."""
        made = cls(port=port).start()
        made.publish(made.OWNER, "shop", "main", {"README.md": b"# Shop\n"}, "Open the shop")
        made.publish(made.OWNER, "notes", "main", {"README.md": b"# Notes\n"}, "Start")
        for mode in cls.MODES:
            made.add_credential(mode)
        return made

    @property
    def connections(self) -> Sequence[SandboxConnection]:
        """Return a connection for each credential."""
        return [self.connection(credential) for credential in self.credentials]

    @property
    def credentials(self) -> Sequence[Credential]:
        """The credentials that the sandbox accepts or accepted, in the order of adding."""
        with self.__lock:
            return list(self.__credentials.values())

    @property
    def secrets(self) -> Iterable[SecretStr]:
        """The secrets to mask in its log."""
        with self.__lock:
            withdrawn = list(self.__withdrawn)
        known = [credential.secret for credential in self.credentials]
        return [*known, *withdrawn, *self.webhooks.secrets]

    def add_credential(
        self, mode: str, access: Access = Access.FULL, *, scopes: Collection[str] | None = None
    ) -> Credential:
        """Create a credential. A wrong one is created, but never accepted.

        Args:
            mode: The way to sign in.
            access: What the credential can do.
            scopes: Its scopes (default: those of ``granted``).
        """
        credential = Credential(
            mode=mode,
            access=access,
            username=self.OWNER,
            secret=self.new_secret(mode),
            scopes=frozenset(self.granted(mode, access) if scopes is None else scopes),
        )
        self.store_credential(credential)
        return credential

    def store_credential(self, credential: Credential) -> None:
        """Accept a credential from now on, except a wrong one, which is only masked in logs."""
        with self.__lock:
            if credential.access is Access.WRONG:
                self.__withdrawn.append(credential.secret)
            else:
                self.__credentials[credential.secret.get_secret_value()] = credential

    def revoke_credential(self, credential: Credential) -> None:
        """Reject a credential from now on, as after a person revoked it at the host."""
        with self.__lock:
            self.__credentials.pop(credential.secret.get_secret_value(), None)
            self.__withdrawn.append(credential.secret)

    def expire_credential(self, credential: Credential, at: datetime) -> Credential:
        """Let a credential expire at a time. If the time has passed, the credential has expired.

        Returns:
            The credential as it is from now on.
        """
        access = Access.EXPIRED if at <= datetime.now(UTC) else credential.access
        changed = replace(credential, expires_at=at, access=access)
        self.store_credential(changed)
        return changed

    def connect(self, mode: str, access: Access) -> SandboxConnection:
        """Create a credential, and return how to configure the provider with it."""
        return self.connection(self.add_credential(mode, access))

    def connection(self, credential: Credential) -> SandboxConnection:
        """Return how to configure the provider with a credential."""
        title = self.MODES[credential.mode]
        return SandboxConnection(title, self.settings(credential), self.OWNER)

    def arrange(self, scenario: Scenario) -> tuple[Arranged, ...]:
        """Create the repositories of a scenario, and one of another owner."""
        self.clear_repositories()
        self.webhooks.clear()
        self.add_repository(RIVAL, HIDDEN.slug)
        arranged = []
        for wanted in scenario.repositories:
            row = self.add_repository(
                self.OWNER,
                wanted.slug,
                name=wanted.name,
                private=wanted.private,
                default_branch=wanted.default_branch,
            )
            if wanted.files is not None:
                commit = self.git.commit(
                    row, wanted.default_branch, dict(wanted.files.items()), scenario.name
                )
                self.git.add_branches(row, dict.fromkeys(wanted.branches, commit))
            arranged.append(
                Arranged(
                    owner=row.owner,
                    slug=row.slug,
                    name=wanted.name,
                    private=row.private,
                    default_branch=row.default_branch,
                    branches=dict(self.branches(row)),
                )
            )
        return tuple(arranged)

    def start(self) -> Self:
        """Listen and serve.

        Raises:
            OSError: The port is in use.
        """
        try:
            return super().start()
        except OSError:
            self.stop()
            raise

    def stop(self) -> None:
        """Close all connections and remove the repositories. You can call this twice."""
        self.webhooks.stop()
        super().stop()
        self.git.close()

    def answer(self, request: Request) -> Answer:
        """Answer a request, to git or to the API."""
        if is_git_request(request):
            return self.__smart_http.answer(request)
        found = route_of(self.__api, request)
        if found is None:
            raise self.refused(404, f"There is no {request.method} {request.path}")
        function, names = found
        return function(request, **names)

    def permit_git(self, request: Request, name: str, service: Service) -> Repository:
        """Decide whether a request may fetch or push; see ``git_http.Permit``."""
        row = self.named(name)
        signed = "authorization" in request.headers
        credential = self.shown(request, for_git=True)
        if credential is not None and credential.access is Access.EXPIRED:
            credential = None
        if (signed and credential is None) or (credential is None and not _is_public(row, service)):
            challenge = {"WWW-Authenticate": f'Basic realm="{self.GIT_REALM}"'}
            raise Refusal(with_headers(text_answer("Sign in first\n", 401), challenge))
        if row is None or not self.readable(row):
            raise text_refusal(404, "There is no such repository")
        if credential is not None and self.SCOPES[0] not in credential.scopes:
            raise text_refusal(403, f"The scope {self.SCOPES[0]} is missing")
        return row

    def __pushed(self, served: Served, updates: Sequence[RefUpdate]) -> None:
        row = self.named(served.full_name)
        if row is None or not self.webhooks.of(row.full_name):
            return
        for event in self.push_events(row, updates):
            self.webhooks.fire(row.full_name, event)


def _is_public(row: Repository | None, service: Service) -> bool:
    return row is not None and not row.private and service == "git-upload-pack"
