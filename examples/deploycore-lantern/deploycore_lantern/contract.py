"""What the conformance kit needs to test Lantern; see ``deploycore plugin check lantern``."""

from __future__ import annotations

from deploycore.testing import ProviderContract

from deploycore_lantern.configuration import READ_SCOPE
from deploycore_lantern.sandbox import LanternSandbox

__all__ = ["LanternContract"]


class LanternContract(ProviderContract):
    """Run every check of the kit against the sandbox."""

    kind = "lantern"
    sandbox = LanternSandbox
    required_scope = READ_SCOPE
    sign_in_path = "*/api/token"
    clone_requests = 1
