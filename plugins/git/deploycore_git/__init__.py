"""Any git server without an API as a deploycore provider."""

from deploycore_git.provider import PlainGitProvider

__all__ = ["PlainGitProvider"]
