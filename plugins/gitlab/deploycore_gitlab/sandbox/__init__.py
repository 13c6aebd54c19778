"""A sandbox of GitLab, for the demo, ``deploycore sandbox`` and tests."""

from deploycore_gitlab.sandbox.sandbox import GitLabSandbox

__all__ = ["GitLabSandbox"]
