"""Run deploycore's conformance kit."""

from deploycore_gitlab.contract import GitLabContract


class TestGitLab(GitLabContract):
    """The checks are inherited. None is set aside."""
