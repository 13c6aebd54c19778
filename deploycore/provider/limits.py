"""Limit how long a call of a provider may take, and let the caller end the wait earlier.

A hook is a plugin's code, and sends requests to a host that may be slow. A limited call runs in its
own thread. A call that does not return in time is abandoned; it ends when its connections are
closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

from deploycore.errors import PluginError
from deploycore.provider.background import Unanswered, call_within
from deploycore.records import record

if TYPE_CHECKING:
    from deploycore.provider.registry import Plugin

__all__ = ["CallLimit", "limited"]

T = TypeVar("T")
P = ParamSpec("P")
S = TypeVar("S", bound="_Limitable")


class _Limitable(Protocol):
    """The attributes of a ``Provider`` that limits need."""

    name: str
    plugin: Plugin
    limit: CallLimit | None
    unlimited: Any


@record
class CallLimit:
    """The limit of each call of a provider.

    Attributes:
        seconds: The maximum time of one call.
        look: Called about every twentieth of a second during a call. If it raises, the wait ends.
    """

    seconds: float
    look: Callable[[], None]

    def run(
        self,
        hook: str,
        action: Callable[[], T],
        *,
        provider: str,
        plugin: str = "",
        late: Callable[[T], object] = lambda result: None,
    ) -> T:
        """Run an action within the limit.

        Args:
            hook: The hook, for the error.
            action: The action.
            late: Called with the result of an abandoned action.

        Raises:
            PluginError: The action took too long.
        """
        try:
            return call_within(action, self.seconds, look=self.look, late=late)
        except Unanswered as error:
            under_way = error.under_way
        raise PluginError(
            f"The plugin did not answer within {self.seconds:g} s, and the call was abandoned.",
            hint="Try again. For a slow host, raise the application's timeouts:"
            " {provider: SECONDS}. If it happens again, report it to the plugin's author.",
            provider=provider,
            plugin=(under_way.plugin if under_way else "") or plugin or None,
            hook=under_way.hook if under_way else hook,
        )


def limited(
    method: Callable[Concatenate[S, P], T],
) -> Callable[Concatenate[S, P], T]:
    """Run a method of ``Provider`` within the provider's limit, if it has one.

    A listing is then read completely before it is returned, so its query should have a limit.
    """

    @wraps(method)
    def call(self: S, /, *arguments: P.args, **options: P.kwargs) -> T:
        limit, unlimited = self.limit, self.unlimited
        if limit is None:
            return method(self, *arguments, **options)
        return limit.run(
            method.__name__,
            lambda: _whole(method(unlimited, *arguments, **options)),
            provider=self.name,
            plugin=self.plugin.label,
        )

    return call


def _whole(result: T) -> T:
    return cast("T", iter(list(cast("Any", result)))) if isinstance(result, Iterator) else result
