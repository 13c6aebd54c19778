"""A Bitbucket Data Center on loopback: for the demo, for ``deploycore sandbox``, and for the
conformance kit.

Only what Bitbucket Data Center alone has is here; all the rest is deploycore's ``Sandbox``. Its
answers have the fields of Atlassian's description of the API, version 9.4.
"""

from deploycore.testing.pull_requests import PullRequest

from deploycore_bitbucket_datacenter.sandbox.sandbox import BitbucketDataCenterSandbox

__all__ = ["BitbucketDataCenterSandbox", "PullRequest"]
