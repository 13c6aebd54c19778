"""What the conformance kit needs to test GitLab; ``deploycore plugin check gitlab``."""

from __future__ import annotations

from deploycore.events import WebhookDelivery
from deploycore.testing import ProviderContract
from pydantic import SecretStr

from deploycore_gitlab.configuration import API_SCOPE
from deploycore_gitlab.sandbox import GitLabSandbox
from deploycore_gitlab.webhooks import signature

__all__ = ["GitLabContract"]


class GitLabContract(ProviderContract):
    """Run every check of the kit against the sandbox."""

    kind = "gitlab"
    sandbox = GitLabSandbox
    required_scope = API_SCOPE
    modes_over_ssh = ("deploy-key",)
    signature_header = "webhook-signature"
    webhook_scope = "api"
    status_scope = "api"

    def forged(self, delivery: WebhookDelivery, known: SecretStr, other: SecretStr) -> str:
        """Sign with the signing token of another secret."""
        return signature(delivery, other)
