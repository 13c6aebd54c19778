"""All that the contract asks, checked by deploycore's own kit."""

import pytest
from deploycore_github.contract import GitHubContract


class TestGitHub(GitHubContract):
    """By fine-grained tokens, and as an app."""


class TestClassicTokens(GitHubContract):
    """The same checks once more by classic tokens, in which GitHub treats them otherwise."""

    modes = ("classic",)

    @pytest.mark.xfail(
        reason="A classic token without scopes is not refused: it lists what is public"
    )
    def test_a_missing_scope_is_named(self, host, connect, mode):
        super().test_a_missing_scope_is_named(host, connect, mode)
