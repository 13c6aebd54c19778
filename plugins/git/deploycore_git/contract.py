"""What the conformance kit needs to test the plugin; ``deploycore plugin check git``."""

from __future__ import annotations

from deploycore.testing import ProviderContract

from deploycore_git.sandbox import PlainGitSandbox

__all__ = ["PlainGitContract"]


class PlainGitContract(ProviderContract):
    """Run every check of the kit that is not about an API against the sandbox."""

    kind = "git"
    sandbox = PlainGitSandbox
    has_api = False
    modes_without_credentials = ("anonymous",)
    modes_over_ssh = ("ssh",)
    modes_without_scopes = ("anonymous", "basic", "bearer")
    signature_header = "x-deploycore-signature"

    def ssh_settings(self, mode: str, ssh_url: str, repository: str) -> dict[str, str]:
        """Return the address of the server in the field ``url``."""
        return {"mode": mode, "url": ssh_url, "repositories": repository}
