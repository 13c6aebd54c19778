"""What is configured on this machine, and what can be done with it: the Python API."""

from __future__ import annotations

from deploycore.lazy import lazy_exports

TYPE_CHECKING = False  # what type checkers take for true; importing typing would cost 10 ms
if TYPE_CHECKING:
    from deploycore.installation.installation import Installation as Installation
    from deploycore.installation.installation import SecretReference as SecretReference
else:
    __getattr__ = lazy_exports(
        __name__,
        {"deploycore.installation.installation": ("Installation", "SecretReference")},
    )

__all__ = ["Installation", "SecretReference"]
