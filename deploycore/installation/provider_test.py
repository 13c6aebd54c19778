"""Test a provider's credentials, and count the repositories that they can read."""

from __future__ import annotations

from dataclasses import dataclass

from deploycore.errors import PermissionDenied
from deploycore.models import Account, BranchQuery, RepositoryId, RepositoryQuery
from deploycore.provider import Provider

__all__ = ["RepositoryCount", "count_repositories", "prove_credentials"]


@dataclass(frozen=True)
class RepositoryCount:
    """The number of repositories that credentials can read.

    Attributes:
        count: The number; ``None`` if the credentials cannot list repositories, but can read the
            given one.
        has_more: Whether there are more, which were not counted.
        hint: The next step; empty if there is none.
    """

    count: int | None
    has_more: bool = False
    hint: str = ""


def prove_credentials(provider: Provider, repository: RepositoryId | None) -> Account:
    """Test the credentials.

    Args:
        repository: A repository to test with, if the credentials cannot list repositories.

    Raises:
        ProviderError: The host rejects them, or they cannot read the repository.
    """
    try:
        account = provider.authenticate()
    except PermissionDenied:
        if repository is None:
            raise
        account = Account(username=repository.owner)
    if repository is not None:
        list(provider.list_branches(repository, BranchQuery(limit=1)))
    return account


def count_repositories(
    provider: Provider, repository: RepositoryId | None, *, most: int | None = None
) -> RepositoryCount:
    """Count the repositories that can be listed.

    Args:
        repository: As for :func:`prove_credentials`.
        most: The maximum number to count (default: all).

    Raises:
        ProviderError: The request failed.
    """
    query = None if most is None else RepositoryQuery(limit=most + 1)
    try:
        count = sum(1 for _ in provider.list_repos(query))
    except PermissionDenied as error:
        if repository is None:
            raise
        return RepositoryCount(None, hint=f"{error.message} {error.hint}".strip())
    has_more = most is not None and count > most
    hint = "" if count else provider.no_repositories_hint
    return RepositoryCount(min(count, most) if most is not None else count, has_more, hint)
