"""Open a provider so that none of its hooks can keep a deployment from being stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from deploycore.applications import PROVIDER_SECONDS
from deploycore.errors import GitError, KeyRefused, PluginError
from deploycore.provider.limits import CallLimit
from deploycore.text.sentences import sentences

if TYPE_CHECKING:
    from deploycore.provider import Provider

__all__ = ["InterruptibleProvider", "fetch_hint"]


class InterruptibleProvider:
    """Opens a configured provider whose calls have a limit, and closes it.

    Every method of the provider then raises what ``look`` raises, and ``PluginError`` if a hook
    takes too long; see ``deploycore.provider.limits``.

    Args:
        name: The provider's name.
        open_provider: Opens the provider.
        seconds: Time limit of one call.
        look: Called about 20 times a second during a call; raises to abandon the call.
    """

    def __init__(
        self,
        name: str,
        open_provider: Callable[[], Provider],
        *,
        seconds: float = PROVIDER_SECONDS,
        look: Callable[[], None],
    ) -> None:
        self._name = name
        self._open = open_provider
        self._limit = CallLimit(seconds, look)
        self._opened: Provider | None = None

    def __enter__(self) -> Provider:
        try:
            self._opened = self._limit.run(
                "opening the provider",
                self._open,
                provider=self._name,
                late=lambda opened: opened.close(),
            )
        except PluginError as error:
            error.add_context(provider=self._name)
            raise
        return self._opened.within(self._limit)

    def __exit__(self, *exception: object) -> None:
        if self._opened is not None:
            self._opened.close()


def fetch_hint(provider: Provider, error: GitError) -> None:
    """Replace the hint of a git error by the provider's own explanation, if it has one.

    Errors of Git LFS and of submodules, which may be on another server, are left unchanged, and so
    are those of SSH, where another credential is used.

    Raises:
        PluginError: The plugin failed. The hint repeats the error that the plugin should have
            explained.
    """
    if error.details.keys() & {"oid", "service", "submodule"}:
        return
    if str(error.details.get("url", "")).startswith("ssh://"):
        # Plugins explain only errors about passwords and tokens.
        if isinstance(error, KeyRefused):
            provider.explain_rejection(error)
        return
    try:
        hint = provider.explain_git_refusal(error.details.get("status"), error.message)
    except PluginError as failure:
        failure.hint = sentences(failure.hint, f"It was asked about this: {error.message}")
        raise
    if hint:
        error.hint = hint
    provider.explain_rejection(error)
