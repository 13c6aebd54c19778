"""Any git server without an API: the contract's hooks, answered by git alone.

The core's :class:`~deploycore.refs_only.RefsOnlyProvider` asks for refs, as ``git ls-remote`` does
it. What git does not tell, such as the date of a branch's last commit, is left out.
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
    """One configured git server: where it is, how to sign in, and which repositories it has."""

    Config = GitConfig
    DISPLAY_NAME = "Plain git"
    config: AnyConfig
    IGNORES_CASE_OF_OWNERS = False
    REFUSALS_OF_ONE = (NotFound, PermissionDenied)

    @classmethod
    def repository_of_url(cls, url: str) -> RepositoryId | None:
        """``_/site`` for an address whose path is ``site.git``; others are read by the core."""
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
        """A push, as the README documents it."""
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
