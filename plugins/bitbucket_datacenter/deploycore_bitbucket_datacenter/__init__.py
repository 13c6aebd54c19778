"""Bitbucket Data Center as a deploycore provider."""

from deploycore_bitbucket_datacenter.provider import BitbucketDataCenterProvider

__all__ = ["BitbucketDataCenterProvider"]
