"""All that the contract asks, checked by deploycore's own kit."""

from deploycore_bitbucket_datacenter.contract import BitbucketDataCenterContract


class TestBitbucketDataCenter(BitbucketDataCenterContract):
    """The checks are inherited."""
