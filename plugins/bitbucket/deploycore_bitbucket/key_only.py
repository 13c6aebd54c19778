"""Mode ``deploy-key``: Bitbucket Cloud with only an SSH key, and without its API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import SecretStr

from deploycore.hookspecs import hookimpl
from deploycore.refs_only import RefsOnlyProvider
from deploycore_bitbucket.configuration import DeployKeyConfig

if TYPE_CHECKING:
    from deploycore.events import Delivered, WebhookDelivery
    from deploycore.models import RepositoryId

__all__ = ["BitbucketKeyProvider"]


class BitbucketKeyProvider(RefsOnlyProvider):
    """One configured host, with an SSH key for some of its repositories."""

    Config = DeployKeyConfig
    config: DeployKeyConfig

    @hookimpl
    def verify_webhook(self, delivery: WebhookDelivery, secrets: tuple[SecretStr, ...]) -> bool:
        """Verify ``X-Hub-Signature``."""
        from deploycore_bitbucket import webhooks

        return webhooks.is_signed(delivery, secrets)

    @hookimpl
    def parse_webhook(self, delivery: WebhookDelivery) -> Delivered:
        """``repo:push``, and pull requests that are opened, updated, merged or declined."""
        from deploycore_bitbucket import webhooks

        return webhooks.delivered(delivery)

    @hookimpl
    def deploy_keys_page(self, repository: RepositoryId) -> str:
        """The access keys in the settings of the repository."""
        return f"{self.config.git_url}/{repository.path}/admin/access-keys/"
