"""Run deploycore's conformance kit."""

import pytest
from deploycore_bitbucket.contract import BitbucketContract


@pytest.mark.outside_description("the kit lets the host link to addresses that are not there")
class TestBitbucket(BitbucketContract):
    pass
