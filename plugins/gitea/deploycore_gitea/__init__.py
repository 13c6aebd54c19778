"""Gitea and Forgejo as a deploycore provider."""

from deploycore_gitea.provider import GiteaProvider

__all__ = ["GiteaProvider"]
