"""Find, load, check and call plugins.

``handle`` has :class:`Provider`, which alone calls the hooks of providers. ``registry`` finds and
checks plugins. ``observers`` calls the hooks of observers.
"""

from __future__ import annotations

from deploycore.lazy import lazy_exports

TYPE_CHECKING = False  # type checkers treat this as true; importing typing would cost 10 ms
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
