"""Bitbucket Cloud for deploycore."""

from deploycore_bitbucket.provider import BitbucketProvider

__all__ = ["BitbucketProvider"]
