"""What is configured on this machine, and what can be done with it: the Python API.

Loaded when it is first used, so that importing one of the modules beside it costs little.
"""

from __future__ import annotations

TYPE_CHECKING = False  # what type checkers take for true; importing typing would cost 10 ms
if TYPE_CHECKING:
    from deploycore.installation.installation import Installation as Installation
    from deploycore.installation.installation import SecretReference as SecretReference

__all__ = ["Installation", "SecretReference"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from deploycore.installation import installation

    value: object = getattr(installation, name)
    globals()[name] = value
    return value
