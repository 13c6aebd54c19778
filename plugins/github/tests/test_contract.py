"""Run deploycore's conformance kit."""

from deploycore_github.contract import GitHubContract


class TestGitHub(GitHubContract):
    """Run the kit with fine-grained tokens, with classic tokens, and as an app."""
