"""What the conformance kit needs to test Harbour; see ``deploycore plugin check harbour``."""

from __future__ import annotations

from deploycore.testing import ProviderContract

from deploycore_harbour.configuration import READ_PERMISSION
from deploycore_harbour.sandbox import HarbourSandbox

__all__ = ["HarbourContract"]


class HarbourContract(ProviderContract):
    """Run every check of the kit against the sandbox."""

    kind = "harbour"
    sandbox = HarbourSandbox
    required_scope = READ_PERMISSION
