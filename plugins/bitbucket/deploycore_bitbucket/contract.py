"""What the conformance kit needs to test Bitbucket (``plugin check bitbucket``)."""

from __future__ import annotations

from dataclasses import replace

from deploycore.sandbox import SandboxConnection
from deploycore.testing import ProviderContract
from deploycore.testing.faults import Change, rate_limited
from deploycore.testing.paging import JsonLink
from deploycore.testing.scenarios import Access, Arranged, Scenario
from deploycore_bitbucket.configuration import MOST_PREFETCH_PAGES, Mode
from deploycore_bitbucket.sandbox import Credential, Sandbox, User
from deploycore_bitbucket.sandbox.sandbox import DEFAULT_SCOPES
from deploycore_bitbucket.sandbox.state import new_secret

__all__ = ["BitbucketContract"]

ADA = User(username="ada", email="ada@example.com", display_name="Ada Lovelace")
WORKSPACE = "acme"
RIVAL = "rival"

_LEAST: dict[Mode, tuple[str, ...]] = {
    "app-password": ("repository",),
    "api-token": ("read:repository:bitbucket",),
    "access-token": ("repository",),
}
_OTHER: dict[Mode, tuple[str, ...]] = {
    "app-password": ("webhook",),
    "api-token": ("read:pullrequest:bitbucket",),
    "access-token": ("webhook",),
}


class ContractSandbox(Sandbox):
    """The sandbox with one workspace that has the content of a scenario."""

    MODES = ("app-password", "api-token", "access-token")

    def arrange(self, scenario: Scenario) -> tuple[Arranged, ...]:
        """Create the workspace again, with a scenario's repositories in it."""
        self.add_user(ADA.username, ADA.email, ADA.display_name)
        self.remove_workspace(WORKSPACE)
        self.add_workspace(WORKSPACE, members=[ADA])
        self.add_workspace(RIVAL)
        self.add_repository(RIVAL, "hidden")
        arranged = []
        for wanted in scenario.repositories:
            self.add_repository(
                WORKSPACE,
                wanted.slug,
                name=wanted.name or None,
                private=wanted.private,
                main_branch=wanted.default_branch,
                files=None if wanted.files is None else dict(wanted.files.items()),
            )
            branches = self.branches(WORKSPACE, wanted.slug)
            if branches:
                commit = branches[wanted.default_branch]
                self.add_branches(WORKSPACE, wanted.slug, wanted.branches, at=commit)
                branches = self.branches(WORKSPACE, wanted.slug)
            arranged.append(
                Arranged(
                    owner=WORKSPACE,
                    slug=wanted.slug,
                    name=wanted.name,
                    private=wanted.private,
                    default_branch=wanted.default_branch,
                    branches=dict(branches),
                )
            )
        return tuple(arranged)

    def connect(self, mode: Mode, access: Access) -> SandboxConnection:
        """Create credentials, and the provider's configuration with them."""
        self.add_user(ADA.username, ADA.email, ADA.display_name)
        granted = {Access.LEAST: _LEAST, Access.UNSCOPED: _OTHER}.get(access, DEFAULT_SCOPES)
        scopes = granted[mode]
        expired = access is Access.EXPIRED
        credential: Credential
        match mode:
            case "app-password":
                credential = self.add_app_password(ADA, expired=expired, scopes=scopes)
            case "api-token":
                credential = self.add_api_token(ADA, expired=expired, scopes=scopes)
            case "access-token":
                self.add_workspace(WORKSPACE, members=[ADA])
                credential = self.add_access_token(WORKSPACE, expired=expired, scopes=scopes)
        if access is Access.WRONG:
            credential = replace(credential, secret=new_secret(mode))
        connection = self.connection(credential)
        settings = {**connection.settings, "workspace": WORKSPACE}
        return SandboxConnection(connection.title, settings, WORKSPACE)

    def rate_limited(self, seconds: int | None) -> Change:
        """Respond with status 429; Bitbucket itself never says how long to wait."""
        return rate_limited(retry_after=seconds)


class BitbucketContract(ProviderContract):
    """Run every check of the kit against the sandbox."""

    kind = "bitbucket"
    sandbox = ContractSandbox
    required_scope = "repository"
    next_link = JsonLink()
    read_ahead = MOST_PREFETCH_PAGES
    signature_header = "x-hub-signature"
    webhook_scope = "webhook"
    status_scope = "repository"
