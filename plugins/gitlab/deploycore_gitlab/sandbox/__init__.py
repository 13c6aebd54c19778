"""GitLab on loopback: for the demo, for ``deploycore sandbox``, and for tests."""

from deploycore_gitlab.sandbox.sandbox import GitLabSandbox

__all__ = ["GitLabSandbox"]
