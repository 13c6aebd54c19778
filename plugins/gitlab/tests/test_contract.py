"""All that the contract asks, checked by deploycore's own kit."""

from deploycore_gitlab.contract import GitLabContract


class TestGitLab(GitLabContract):
    """The checks are inherited; none is set aside."""
