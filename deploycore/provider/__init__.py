"""Everything that finds, loads, guards and calls plugins.

``handle`` has the one caller of provider hooks, :class:`Provider`; ``registry`` finds and checks
plugins; ``observers`` are the plugins that only watch.
"""

from __future__ import annotations

from deploycore.lazy import lazy_exports

TYPE_CHECKING = False  # what type checkers take for true; importing typing would cost 10 ms
if TYPE_CHECKING:
    from deploycore.events import ProviderCall as ProviderCall
    from deploycore.provider.handle import Provider as Provider
    from deploycore.provider.opening import open_provider as open_provider
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "deploycore.events": ("ProviderCall",),
            "deploycore.provider.handle": ("Provider",),
            "deploycore.provider.opening": ("open_provider",),
        },
    )

__all__ = ["Provider", "ProviderCall", "open_provider"]
