"""Read the repository that a person names, with the help of the provider that it is on."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from deploycore.applications.repository_address import read_repository

if TYPE_CHECKING:
    from deploycore.models import RepositoryId
    from deploycore.provider import Provider

__all__ = ["read_repository_of"]


def read_repository_of(open_provider: Callable[[], Provider], text: str) -> RepositoryId:
    """Return the repository that a text names. The provider is opened only if the text may be an
    address.

    Raises:
        ConfigurationError: As for :meth:`deploycore.Installation.read_repository`.
        PluginError: The provider's plugin fails to read an address.
    """

    def addresses() -> Collection[str]:
        with open_provider() as opened:
            return opened.addresses

    def by_host(url: str) -> RepositoryId | None:
        from deploycore.provider.recognition import repository_by

        with open_provider() as opened:
            return repository_by(opened.plugin, url)

    return read_repository(text, addresses, by_host)
