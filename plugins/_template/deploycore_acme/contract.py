"""What the conformance kit needs to test Acme; see ``deploycore plugin check acme``."""

from __future__ import annotations

from deploycore.testing import ProviderContract

from deploycore_acme.configuration import READ_SCOPE
from deploycore_acme.sandbox import AcmeSandbox

__all__ = ["AcmeContract"]


class AcmeContract(ProviderContract):
    """Run every check of the kit against the sandbox."""

    kind = "acme"
    sandbox = AcmeSandbox
    required_scope = READ_SCOPE
