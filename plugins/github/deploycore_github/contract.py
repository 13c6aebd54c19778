"""What the conformance kit needs to test GitHub; ``deploycore plugin check github``."""

from __future__ import annotations

from deploycore.testing import ProviderContract
from deploycore_github.sandbox import GitHubSandbox

__all__ = ["GitHubContract"]


class GitHubContract(ProviderContract):
    """Run every check of the kit against the sandbox.

    GitHub does not reject classic tokens without scopes: it lists public repositories, and responds
    with 'Not Found' for the others.
    """

    kind = "github"
    sandbox = GitHubSandbox
    modes_without_scopes = ("classic",)
    required_scope = "Contents: Read-only"
    clone_requests = 1
    sign_in_path = "*/app/installations/*/access_tokens"
    modes_over_ssh = ("deploy-key",)
    signature_header = "x-hub-signature-256"
    webhook_scope = "Webhooks: Read"
    status_scope = "Commit statuses: Read and write"
