"""GitLab, gitlab.com and self-managed, for deploycore."""

from deploycore_gitlab.provider import GitLabProvider

__all__ = ["GitLabProvider"]
