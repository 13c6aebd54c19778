"""Run deploycore's conformance kit."""

from deploycore_gitea.contract import GiteaContract


class TestGitea(GiteaContract):
    """The checks are inherited."""
