"""Tools for testing providers: the conformance kit, and the parts of a sandbox.

The tests of a provider are one small class::

    from deploycore.testing import ProviderContract

    class TestAcme(ProviderContract):
        kind = "acme"
        sandbox = AcmeSandbox

The parts of a sandbox are separate modules: ``sandbox`` (the base class), ``host`` (HTTP on the
loopback address), ``faults``, ``git_http`` and ``repositories`` (git over HTTP). They need only
deploycore. The kit also needs pytest: install ``deploycore[testing]``.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deploycore.testing.contract import ProviderContract as ProviderContract

__all__ = ["ProviderContract"]


def __getattr__(name: str) -> object:
    # Loaded only when it is used, because sandboxes also run if pytest is not installed.
    if name != "ProviderContract":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        import_module("pytest")
    except ImportError as error:
        raise ImportError(
            "The conformance kit needs pytest: install deploycore[testing].", name="pytest"
        ) from error
    return import_module("deploycore.testing.contract").ProviderContract
