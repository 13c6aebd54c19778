"""What the conformance kit needs to test Quay; see ``deploycore plugin check quay``."""

from __future__ import annotations

from deploycore.testing import ProviderContract

from deploycore_quay.configuration import READ_PERMISSION
from deploycore_quay.sandbox import QuaySandbox

__all__ = ["QuayContract"]


class QuayContract(ProviderContract):
    """Run every check of the kit against the sandbox."""

    kind = "quay"
    sandbox = QuaySandbox
    required_scope = READ_PERMISSION
