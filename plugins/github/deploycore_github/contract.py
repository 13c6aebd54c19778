"""What deploycore's conformance kit has to know of GitHub; ``deploycore plugin check github``."""

from __future__ import annotations

from deploycore.testing import ProviderContract
from deploycore_github.sandbox import GitHubSandbox

__all__ = ["GitHubContract"]


class GitHubContract(ProviderContract):
    """Runs every check of the kit against the sandbox.

    Classic tokens have checks of their own in the tests: GitHub lets one without scopes list
    what is public, so that there is no refusal which could name the scope.
    """

    kind = "github"
    sandbox = GitHubSandbox
    modes = ("token", "app")
    required_scope = "Contents: Read-only"
    clone_requests = 1
