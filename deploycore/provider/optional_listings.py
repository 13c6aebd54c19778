"""The methods of ``Provider`` for optional listings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from deploycore.provider.limits import CallLimit, limited
from deploycore.provider.listings import ModelT, Query
from deploycore.provider.registry import Plugin

if TYPE_CHECKING:
    from deploycore.models import (
        Owner,
        OwnerQuery,
        PullRequest,
        PullRequestQuery,
        RepositoryId,
        Tag,
        TagQuery,
    )

__all__ = ["LISTINGS", "OptionalListings"]

LISTINGS = ("list_owners", "list_tags", "list_pull_requests")


class OptionalListings:
    """A part of ``Provider``: the optional hooks that list something."""

    name: str
    plugin: Plugin
    limit: CallLimit | None
    unlimited: Any

    @limited
    def list_owners(self, query: OwnerQuery | None = None) -> Iterator[Owner]:
        """List the owners whose repositories the credentials may be able to list, lazily.

        Raises:
            ConfigurationError: The plugin does not have this hook.
            ProviderError, PluginError: As for ``authenticate``, also during the iteration.
        """
        from deploycore.models import Owner, OwnerQuery

        self._demand("list_owners")
        query = query or OwnerQuery()
        return self._listing("list_owners", Owner, query, query=query)

    @limited
    def list_tags(self, repository: RepositoryId, query: TagQuery | None = None) -> Iterator[Tag]:
        """List the tags of a repository, lazily, in the host's order.

        Raises:
            ConfigurationError: The plugin does not have this hook.
            NotFound: The repository does not exist, or these credentials cannot read it.
            ProviderError, PluginError: As for ``authenticate``, also during the iteration.
        """
        from deploycore.models import Tag, TagQuery

        self._demand("list_tags")
        query = query or TagQuery()
        return self._listing("list_tags", Tag, query, repository=repository, query=query)

    @limited
    def list_pull_requests(
        self, repository: RepositoryId, query: PullRequestQuery | None = None
    ) -> Iterator[PullRequest]:
        """List the open pull requests into a repository, or the one with a number, lazily.

        Raises:
            ConfigurationError: The plugin does not have this hook.
            NotFound: The repository does not exist, or these credentials cannot read it.
            ProviderError, PluginError: As for ``authenticate``, also during the iteration.
        """
        from deploycore.models import PullRequest, PullRequestQuery

        self._demand("list_pull_requests")
        query = query or PullRequestQuery()
        return self._listing(
            "list_pull_requests", PullRequest, query, repository=repository, query=query
        )

    def _demand(self, hook: str) -> None:
        raise NotImplementedError  # pragma: no cover

    def _listing(
        self, hook: str, expected: type[ModelT], wanted: Query[ModelT], /, **arguments: object
    ) -> Iterator[ModelT]:
        raise NotImplementedError  # pragma: no cover
