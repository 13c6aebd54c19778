"""Which commit an application's ref is now: the host's API is asked first, then its git server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from deploycore.deploy.interruptible import fetch_hint
from deploycore.errors import GitError, NotFound
from deploycore.models import RepositoryId

if TYPE_CHECKING:
    from deploycore.git import Cancellation, GitSettings, RepositoryCache
    from deploycore.provider import Provider

__all__ = ["resolve_ref"]


def resolve_ref(
    provider: Provider,
    repository: RepositoryId,
    ref: str,
    *,
    open_cache: Callable[[], RepositoryCache | None],
    cancellation: Cancellation | None,
    settings: Callable[[], GitSettings],
) -> str:
    """The full hash of the commit that a branch, a tag or another ref points to.

    Args:
        open_cache: Gives the cache. What it knows of the git server may save a request.
        settings: Gives the limits of git, at the moment when it is needed.

    Raises:
        NotFound: There is no such repository or ref.
        DeploycoreError: As ``find_branch`` and ``deploycore.git.resolve`` raise it.
    """
    missing: NotFound | None = None
    if not ref.startswith("refs/"):
        try:
            return provider.find_branch(repository, ref).commit
        except NotFound as error:
            if "branch" not in error.details:  # the repository is what was not found
                raise
            missing = error
    from deploycore.git import resolve  # needs dulwich, which the host's answer does not

    # The contract knows branches; of tags and other refs the git server tells.
    try:
        return resolve(
            provider.clone_url(repository),
            ref,
            cache=open_cache(),
            cancellation=cancellation,
            settings=settings(),
        )
    except GitError as error:
        if missing and error.details.get("ref"):
            raise missing from None
        fetch_hint(provider, error)
        raise
