"""Mode ``deploy-key``: GitLab with only an SSH key, and without its API."""

from __future__ import annotations

from deploycore.events import Delivered, WebhookDelivery
from deploycore.hookspecs import hookimpl
from deploycore.models import RepositoryId
from deploycore.refs_only import RefsOnlyProvider
from pydantic import SecretStr

from deploycore_gitlab import webhooks
from deploycore_gitlab.configuration import DeployKeyConfig

__all__ = ["GitLabKeyProvider"]


class GitLabKeyProvider(RefsOnlyProvider):
    """One configured host, with an SSH key for some of its repositories."""

    Config = DeployKeyConfig
    config: DeployKeyConfig

    @hookimpl
    def verify_webhook(self, delivery: WebhookDelivery, secrets: tuple[SecretStr, ...]) -> bool:
        """Verify ``webhook-signature``, or ``X-Gitlab-Token`` of versions before 19.0."""
        return webhooks.is_proved(delivery, secrets)

    @hookimpl
    def parse_webhook(self, delivery: WebhookDelivery) -> Delivered:
        """Pushes, and merge requests that are opened, changed, merged or closed."""
        return webhooks.delivered(delivery)

    @hookimpl
    def deploy_keys_page(self, repository: RepositoryId) -> str:
        """The repository settings of the project."""
        return f"{self.config.url}/{repository.path}/-/settings/repository"
