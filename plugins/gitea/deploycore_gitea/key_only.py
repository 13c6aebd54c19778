"""Mode ``deploy-key``: Gitea or Forgejo with only an SSH key, and without its API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploycore.hookspecs import hookimpl
from deploycore.refs_only import RefsOnlyProvider

from deploycore_gitea.configuration import DeployKeyConfig

if TYPE_CHECKING:
    from deploycore.events import Delivered, WebhookDelivery
    from deploycore.models import RepositoryId
    from pydantic import SecretStr

__all__ = ["GiteaKeyProvider"]


class GiteaKeyProvider(RefsOnlyProvider):
    """One configured host, with an SSH key for some of its repositories."""

    Config = DeployKeyConfig
    config: DeployKeyConfig

    @hookimpl
    def verify_webhook(self, delivery: WebhookDelivery, secrets: tuple[SecretStr, ...]) -> bool:
        """Verify ``X-Gitea-Signature``, which Forgejo also sends."""
        from deploycore_gitea import webhooks

        return webhooks.is_signed(delivery, secrets)

    @hookimpl
    def parse_webhook(self, delivery: WebhookDelivery) -> Delivered:
        """``push`` and ``delete``, and pull requests that are opened, changed or closed."""
        from deploycore_gitea import webhooks

        return webhooks.delivered(delivery)

    @hookimpl
    def deploy_keys_page(self, repository: RepositoryId) -> str:
        """The deploy keys in the settings of the repository."""
        return f"{self.config.url}/{repository.path}/settings/keys"
