"""What deploycore's conformance kit has to know of GitLab; ``deploycore plugin check gitlab``."""

from __future__ import annotations

from deploycore.testing import ProviderContract

from deploycore_gitlab.configuration import API_SCOPE
from deploycore_gitlab.sandbox import GitLabSandbox

__all__ = ["GitLabContract"]


class GitLabContract(ProviderContract):
    """Runs every check of the kit against the sandbox."""

    kind = "gitlab"
    sandbox = GitLabSandbox
    required_scope = API_SCOPE
