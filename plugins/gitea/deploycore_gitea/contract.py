"""What the conformance kit needs to test Gitea; ``deploycore plugin check gitea``."""

from __future__ import annotations

from deploycore.testing import ProviderContract

from deploycore_gitea.configuration import READ_REPOSITORY, WRITE_REPOSITORY
from deploycore_gitea.sandbox import GiteaSandbox

__all__ = ["GiteaContract"]


class GiteaContract(ProviderContract):
    """Run every check of the kit against the sandbox."""

    kind = "gitea"
    sandbox = GiteaSandbox
    required_scope = READ_REPOSITORY
    modes_without_scopes = ("basic",)
    modes_over_ssh = ("deploy-key",)
    signature_header = "x-gitea-signature"
    webhook_scope = WRITE_REPOSITORY
    status_scope = WRITE_REPOSITORY
