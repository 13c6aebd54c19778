"""The Python API for the providers and applications that are configured on this machine."""

from __future__ import annotations

from deploycore.lazy import lazy_exports

TYPE_CHECKING = False  # type checkers treat this as true; importing typing would cost 10 ms
if TYPE_CHECKING:
    from deploycore.installation.installation import Installation as Installation
    from deploycore.installation.installation import SecretReference as SecretReference
else:
    __getattr__ = lazy_exports(
        __name__,
        {"deploycore.installation.installation": ("Installation", "SecretReference")},
    )

__all__ = ["Installation", "SecretReference"]
