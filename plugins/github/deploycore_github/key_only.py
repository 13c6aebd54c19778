"""Mode ``deploy-key``: GitHub with only an SSH key, and without its API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import SecretStr

from deploycore.hookspecs import hookimpl
from deploycore.refs_only import RefsOnlyProvider
from deploycore_github.configuration import DeployKeyConfig

if TYPE_CHECKING:
    from deploycore.events import Delivered, WebhookDelivery
    from deploycore.models import RepositoryId

__all__ = ["GitHubKeyProvider"]


class GitHubKeyProvider(RefsOnlyProvider):
    """One configured host, with an SSH key for some of its repositories."""

    Config = DeployKeyConfig
    config: DeployKeyConfig

    @hookimpl
    def verify_webhook(self, delivery: WebhookDelivery, secrets: tuple[SecretStr, ...]) -> bool:
        """Verify ``X-Hub-Signature-256``."""
        from deploycore_github import webhooks

        return webhooks.is_signed(delivery, secrets)

    @hookimpl
    def parse_webhook(self, delivery: WebhookDelivery) -> Delivered:
        """``push``, and pull requests that are opened, changed, merged or closed."""
        from deploycore_github import webhooks

        return webhooks.delivered(delivery)

    @hookimpl
    def deploy_keys_page(self, repository: RepositoryId) -> str:
        """The deploy keys in the settings of the repository."""
        return f"{self.config.url}/{repository.path}/settings/keys"
