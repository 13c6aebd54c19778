"""The providers that an application names in ``credentials``, for submodules at other hosts.

A submodule is fetched from the URL that the provider itself gives for the repository, so a
credential never goes to another origin than the provider's own, whatever ``.gitmodules`` says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import SecretStr

from deploycore.applications.repository_address import is_on_host_of, read_repository
from deploycore.deploy.interruptible import InterruptibleProvider
from deploycore.errors import (
    ConfigurationError,
    GitError,
    HostKeyRefused,
    KeyRefused,
    RemoteRefused,
)
from deploycore.http.origin import Origin
from deploycore.models import CloneUrl, RepositoryId
from deploycore.text.sentences import sentences

if TYPE_CHECKING:
    from deploycore.git import GrantedSource
    from deploycore.provider import Provider

__all__ = ["NamedProviders"]

# Prefixes of host names that hosts offer for SSH over the https port.
_SSH_HOSTS = ("ssh.", "altssh.")
_NOT_ALLOWED = (401, 403, 404)  # hosts hide what a credential cannot read


class NamedProviders:
    """Finds the sources of submodules. The providers are opened when the first source is needed.

    Args:
        names: The names of the providers, in the order in which they are tried.
        open_provider: Opens the provider of a name.
        seconds: Time limit of one call of a provider.
        look: As for ``InterruptibleProvider``.
    """

    def __init__(
        self,
        names: Sequence[str],
        open_provider: Callable[[str], Provider],
        *,
        seconds: float,
        look: Callable[[], None],
    ) -> None:
        self._names = names
        self._open = open_provider
        self._seconds = seconds
        self._look = look
        self._stack = ExitStack()
        self._opened: list[Provider] = []
        self._found: dict[str, GrantedSource | None] = {}
        self._given: dict[Origin, Provider] = {}

    def __enter__(self) -> NamedProviders:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """The secrets to mask, of the providers that are open."""
        return tuple(secret for each in self._opened for secret in each.secrets)

    def find(self, url: str) -> GrantedSource | None:
        """Find what a submodule is fetched from; ``None`` if no provider serves its origin.

        Raises:
            ConfigurationError: A provider does not exist.
            ProviderError, PluginError: A provider cannot say where the repository is.
        """
        if url not in self._found:
            self._found[url] = self._asked(url)
        return self._found[url]

    def explain(self, error: GitError) -> None:
        """Add to an error of a submodule which provider's credential was rejected, and how to
        replace it."""
        provider = self._provider_of(error)
        status = error.details.get("status")
        is_key = isinstance(error, KeyRefused)
        is_refusal = is_key or (isinstance(error, RemoteRefused) and status in _NOT_ALLOWED)
        if provider is not None and isinstance(error, HostKeyRefused):
            error.add_context(provider=provider.name)
            error.hint = error.hint.replace(" NAME ", f" {provider.name} ")
        if provider is None or not is_refusal:
            return
        error.message = f"{error.message} The credential is that of the provider {provider.name!r}."
        error.args = (error.message,)
        error.add_context(provider=provider.name)
        provider.explain_rejection(error)
        if (is_key or status == 401) and "deploycore provider " not in error.hint:
            command = f"deploycore provider rotate {provider.name}"
            error.hint = sentences(error.hint, f"Then replace the stored secret: {command}")

    def _provider_of(self, error: GitError) -> Provider | None:
        if "submodule" not in error.details:
            return None
        return self._given.get(Origin.of(str(error.details.get("url", ""))))

    def _asked(self, url: str) -> GrantedSource | None:
        host, origin = urlsplit(url).hostname or "", Origin.of(url)
        serving = [each for each in self._all() if is_on_host_of(host, each.addresses)]
        # Those on another port of the host, or with another host for git, come last.
        serving.sort(key=lambda each: origin not in map(Origin.of, each.addresses))
        for provider in serving:
            repository = _repository_of(provider, url)
            source = provider.clone_url(repository) if repository else None
            if repository and source and _is_served(url, source, provider.addresses):
                from deploycore.git import GrantedSource

                self._given[Origin.of(source.url)] = provider
                return GrantedSource(source, provider.renew_credential(repository))
        return None

    def _all(self) -> list[Provider]:
        for name in self._names[len(self._opened) :]:
            opening = InterruptibleProvider(
                name, partial(self._open, name), seconds=self._seconds, look=self._look
            )
            self._opened.append(self._stack.enter_context(opening))
        return self._opened


def _repository_of(provider: Provider, url: str) -> RepositoryId | None:
    """The repository that a URL names at a provider's host; ``None`` if it names none."""
    from deploycore.provider.recognition import repository_by  # imports all plugins' metadata

    # So that no part of the path is treated as a page of the host.
    whole = url.rstrip("/").removesuffix(".git") + ".git"
    try:
        return read_repository(
            whole, lambda: provider.addresses, partial(repository_by, provider.plugin)
        )
    except ConfigurationError:
        return None


def _is_served(url: str, source: CloneUrl, addresses: Sequence[str]) -> bool:
    """Whether a submodule's URL leads to the server that a provider clones from.

    Ports of SSH and HTTPS differ, so for a URL of the other transport the host must be the same,
    or the origin must be one of the provider's addresses.
    """
    wanted, own = Origin.of(url), Origin.of(source.url)
    if wanted == own:
        return True
    if wanted.scheme == "ssh":
        return _plain_host(wanted) == _plain_host(own)
    return own.scheme == "ssh" and wanted in map(Origin.of, addresses)


def _plain_host(origin: Origin) -> str:
    for prefix in _SSH_HOSTS:
        if origin.host.startswith(prefix):
            return origin.host.removeprefix(prefix)
    return origin.host
