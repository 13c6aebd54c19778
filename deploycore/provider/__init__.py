"""Everything that finds, loads, guards and calls plugins.

``handle`` has the one caller of provider hooks, :class:`Provider`; ``registry`` finds and checks
plugins; ``observers`` are the plugins that only watch. What others need most is here, and is loaded
when it is first used.
"""

from __future__ import annotations

TYPE_CHECKING = False  # what type checkers take for true; importing typing would cost 10 ms
if TYPE_CHECKING:
    from deploycore.events import ProviderCall as ProviderCall
    from deploycore.provider.handle import Provider as Provider
    from deploycore.provider.handle import open_provider as open_provider

_MODULES = {
    "Provider": "deploycore.provider.handle",
    "ProviderCall": "deploycore.events",
    "open_provider": "deploycore.provider.handle",
}

__all__ = ["Provider", "ProviderCall", "open_provider"]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value: object = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value
