"""Resolve an application's ref to a commit: first by the host's API, then by its git server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from deploycore.deploy.interruptible import fetch_hint
from deploycore.errors import GitError, NotFound
from deploycore.models import RepositoryId
from deploycore.text.sentences import sentences
from deploycore.text.suggestions import about_hashes

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
    """Resolve a branch, a tag or another ref to the full hash of its commit.

    Args:
        open_cache: Opens the cache. What it knows of the git server may save a request.
        settings: Returns the limits of git at the time of the call; the provider's own network
            is added to them.

    Raises:
        NotFound: The repository or the ref does not exist.
        DeploycoreError: As for ``find_branch`` and ``deploycore.git.resolve``.
    """
    missing: NotFound | None = None
    if not ref.startswith("refs/"):
        try:
            return provider.find_branch(repository, ref).commit
        except NotFound as error:
            if "branch" not in error.details:  # the repository was not found
                raise
            missing = error
    from deploycore.git import resolve  # needs dulwich, which the host's answer does not

    # Providers know branches; tags and other refs are read from the git server.
    try:
        return resolve(
            provider.clone_url(repository),
            ref,
            cache=open_cache(),
            cancellation=cancellation,
            settings=provider.git_settings(settings()),
            renew=provider.renew_credential(repository),
        )
    except GitError as error:
        if missing and error.details.get("ref"):
            missing.hint = sentences(about_hashes(ref), missing.hint)
            raise missing from None
        fetch_hint(provider, error)
        raise
