"""All that the contract asks of a provider without an API, checked by deploycore's own kit."""

from deploycore_git.contract import PlainGitContract


class TestPlainGit(PlainGitContract):
    """The checks are inherited."""
