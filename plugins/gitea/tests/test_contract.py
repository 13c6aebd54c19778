"""All that the contract asks, checked by deploycore's own kit."""

from deploycore_gitea.contract import GiteaContract


class TestGitea(GiteaContract):
    """The checks are inherited."""
