"""A sandbox of GitHub, with webhooks, statuses, deployments and pull requests."""

from deploycore.testing.pull_requests import PullRequest
from deploycore_github.sandbox.sandbox import GitHubSandbox

__all__ = ["GitHubSandbox", "PullRequest"]
