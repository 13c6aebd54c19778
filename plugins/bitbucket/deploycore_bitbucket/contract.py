"""What the conformance kit needs to test Bitbucket; ``deploycore plugin check bitbucket``."""

from __future__ import annotations

import warnings

from deploycore.testing import ProviderContract
from deploycore.testing.paging import JsonLink
from deploycore_bitbucket.configuration import MOST_PREFETCH_PAGES
from deploycore_bitbucket.sandbox import Sandbox

__all__ = ["BitbucketContract"]


class BitbucketContract(ProviderContract):
    """Run every check of the kit against the sandbox."""

    kind = "bitbucket"
    sandbox = Sandbox
    required_scope = "repository"
    clone_requests = 1
    sign_in_path = "*/site/oauth2/access_token"
    next_link = JsonLink()
    read_ahead = MOST_PREFETCH_PAGES
    modes_over_ssh = ("deploy-key",)
    signature_header = "x-hub-signature"
    webhook_scope = "webhook"
    status_scope = "repository"


def __getattr__(name: str) -> object:
    if name == "ContractSandbox":
        warnings.warn(
            "ContractSandbox is now deploycore_bitbucket.sandbox.Sandbox; this name will be"
            " removed in the next minor release.",
            DeprecationWarning,
            stacklevel=2,
        )
        return Sandbox
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
