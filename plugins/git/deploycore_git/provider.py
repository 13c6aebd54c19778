"""The hooks for any git server without an API.

The core's :class:`~deploycore.refs_only.RefsOnlyProvider` reads refs, as ``git ls-remote`` does.
Facts that refs do not contain, such as the date of a branch's last commit, are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from deploycore.errors import ConfigurationError, NotFound, PermissionDenied
from deploycore.hookspecs import hookimpl
from deploycore.models import CloneUrl
from deploycore.refs_only import RefsOnlyProvider
from pydantic import SecretStr

from deploycore_git import explanations
from deploycore_git.addresses import fields_of
from deploycore_git.configuration import (
    GIT,
    NO_OWNER,
    AnonymousConfig,
    AnyConfig,
    GitConfig,
)

if TYPE_CHECKING:
    from deploycore.events import Delivered, WebhookDelivery
    from deploycore.models import Repository, RepositoryId

__all__ = ["PlainGitProvider"]


class PlainGitProvider(RefsOnlyProvider):
    """One configured git server: its address, credentials and repositories."""

    Config = GitConfig
    DISPLAY_NAME = "Plain git"
    SUMMARY = (
        "Any other git server that you can clone from over HTTPS or SSH. It needs no API; you name"
        " the repositories."
    )
    config: AnyConfig
    IGNORES_CASE_OF_OWNERS = False
    REFUSALS_OF_ONE = (NotFound, PermissionDenied)

    @classmethod
    def accept_url(cls, url: str) -> dict[str, str]:
        """The fields that the address of a repository tells, whatever its host is."""
        return fields_of(url)

    @classmethod
    def repository_of_url(cls, url: str) -> RepositoryId | None:
        """Return ``_/site`` for an address with the path ``site.git``. The core reads all
        others."""
        from deploycore.models import RepositoryId

        name = unquote(urlsplit(url).path.strip("/")).removesuffix(GIT)
        return RepositoryId(owner=NO_OWNER, slug=name) if name and "/" not in name else None

    @hookimpl
    def explain_git_refusal(self, status: int | None, message: str) -> str | None:
        """Explain what the user should do, for the configured way to sign in."""
        return explanations.explain_git_refusal(self.config, status)

    @hookimpl
    def verify_webhook(self, delivery: WebhookDelivery, secrets: tuple[SecretStr, ...]) -> bool:
        """Verify ``X-Deploycore-Signature``."""
        from deploycore_git import webhooks

        return webhooks.is_signed(delivery, secrets)

    @hookimpl
    def parse_webhook(self, delivery: WebhookDelivery) -> Delivered:
        """Parse a push in the form that the README documents."""
        from deploycore_git import webhooks

        return webhooks.delivered(delivery)

    def not_found_at(self, repository: RepositoryId) -> str:
        return (
            f"Repository {repository} was not found at {self.config.url}, or these credentials"
            " cannot read it."
        )

    def check_name(self, repository: RepositoryId) -> str:
        return explanations.check_path(self.config)

    def check_credentials(self, repository: RepositoryId) -> str:
        return explanations.check_credentials(self.config)

    def no_key_over_https(self, source: CloneUrl) -> ConfigurationError:
        return explanations.no_key_over_https(self.config)

    def describe(self, repository: RepositoryId, branch: str | None) -> Repository:
        found = super().describe(repository, branch or self.config.default_branch)
        is_private = not isinstance(self.config, AnonymousConfig)
        return found.model_copy(update={"private": is_private})
