"""Run deploycore's conformance kit."""

from deploycore_github.contract import GitHubContract


class TestGitHub(GitHubContract):
    """By fine-grained tokens, by classic ones, and as an app."""
