"""Run deploycore's conformance kit."""

import pytest

from deploycore_bitbucket_datacenter.contract import BitbucketDataCenterContract


@pytest.mark.outside_description("the kit lets the host say what it never says")
class TestBitbucketDataCenter(BitbucketDataCenterContract):
    """The checks are inherited."""
