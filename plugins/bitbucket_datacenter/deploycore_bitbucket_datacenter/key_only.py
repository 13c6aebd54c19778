"""Mode ``deploy-key``: Bitbucket Data Center with only an SSH key, and without its API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploycore.hookspecs import hookimpl
from deploycore.refs_only import RefsOnlyProvider
from pydantic import SecretStr

from deploycore_bitbucket_datacenter.configuration import DeployKeyConfig

if TYPE_CHECKING:
    from deploycore.events import Delivered, WebhookDelivery
    from deploycore.models import RepositoryId

__all__ = ["BitbucketDataCenterKeyProvider"]


class BitbucketDataCenterKeyProvider(RefsOnlyProvider):
    """One configured host, with an SSH key for some of its repositories."""

    Config = DeployKeyConfig
    config: DeployKeyConfig

    @hookimpl
    def verify_webhook(self, delivery: WebhookDelivery, secrets: tuple[SecretStr, ...]) -> bool:
        """Verify ``X-Hub-Signature``."""
        from deploycore_bitbucket_datacenter import webhooks

        return webhooks.is_signed(delivery, secrets)

    @hookimpl
    def parse_webhook(self, delivery: WebhookDelivery) -> Delivered:
        """``repo:refs_changed``, and pull requests that are opened, changed or ended."""
        from deploycore_bitbucket_datacenter import webhooks

        return webhooks.delivered(delivery)

    @hookimpl
    def deploy_keys_page(self, repository: RepositoryId) -> str:
        """The access keys in the settings of the repository."""
        from deploycore_bitbucket_datacenter import deploy_keys

        return deploy_keys.page_of(self.config.url, repository)
