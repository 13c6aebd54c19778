"""Mode ``deploy-key``: GitLab with only an SSH key, and without its API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploycore.hookspecs import hookimpl
from deploycore.refs_only import RefsOnlyProvider
from pydantic import SecretStr

from deploycore_gitlab.configuration import DeployKeyConfig

if TYPE_CHECKING:
    from deploycore.events import Delivered, WebhookDelivery
    from deploycore.models import RepositoryId

__all__ = ["GitLabKeyProvider"]


class GitLabKeyProvider(RefsOnlyProvider):
    """One configured host, with an SSH key for some of its repositories."""

    Config = DeployKeyConfig
    config: DeployKeyConfig

    @hookimpl
    def verify_webhook(self, delivery: WebhookDelivery, secrets: tuple[SecretStr, ...]) -> bool:
        """Verify ``webhook-signature``, or ``X-Gitlab-Token`` of versions before 19.0."""
        from deploycore_gitlab import webhooks

        return webhooks.is_proved(delivery, secrets)

    @hookimpl
    def parse_webhook(self, delivery: WebhookDelivery) -> Delivered:
        """Pushes, and merge requests that are opened, changed, merged or closed."""
        from deploycore_gitlab import webhooks

        return webhooks.delivered(delivery)

    @hookimpl
    def deploy_keys_page(self, repository: RepositoryId) -> str:
        """The repository settings of the project."""
        return f"{self.config.url}/{repository.path}/-/settings/repository"
