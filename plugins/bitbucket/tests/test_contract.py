"""All that the contract asks, checked by deploycore's own kit."""

import pytest
from deploycore_bitbucket.contract import BitbucketContract


@pytest.mark.outside_description("the kit lets the host link to addresses that are not there")
class TestBitbucket(BitbucketContract):
    pass
