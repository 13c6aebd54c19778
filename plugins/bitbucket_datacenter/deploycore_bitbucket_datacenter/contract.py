"""What the conformance kit needs to test Bitbucket Data Center; ``deploycore plugin check
bitbucket-datacenter``."""

from __future__ import annotations

from deploycore.testing import ProviderContract

from deploycore_bitbucket_datacenter.configuration import REPOSITORY_ADMIN, REPOSITORY_READ
from deploycore_bitbucket_datacenter.sandbox import BitbucketDataCenterSandbox

__all__ = ["BitbucketDataCenterContract"]


class BitbucketDataCenterContract(ProviderContract):
    """Run every check of the kit against the sandbox."""

    kind = "bitbucket-datacenter"
    sandbox = BitbucketDataCenterSandbox
    required_scope = REPOSITORY_READ
    modes_over_ssh = ("deploy-key",)
    signature_header = "x-hub-signature"
    webhook_scope = REPOSITORY_ADMIN
    status_scope = REPOSITORY_READ
