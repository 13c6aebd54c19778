"""A sandbox of Bitbucket Data Center, for the demo, ``deploycore sandbox`` and the conformance kit.

This package has only what is specific to Bitbucket Data Center; deploycore's ``Sandbox`` does the
rest. The responses have the fields of Atlassian's API description, version 9.4.
"""

from deploycore.testing.pull_requests import PullRequest

from deploycore_bitbucket_datacenter.sandbox.sandbox import BitbucketDataCenterSandbox

__all__ = ["BitbucketDataCenterSandbox", "PullRequest"]
