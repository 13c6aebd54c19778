"""GitHub and GitHub Enterprise Server as a deploycore provider."""

from deploycore_github.provider import GitHubProvider

__all__ = ["GitHubProvider"]
