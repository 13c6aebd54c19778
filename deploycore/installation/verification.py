"""Check that the repositories and refs of applications exist at the git host."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from deploycore.applications.application import Application
from deploycore.deploy.interruptible import InterruptibleProvider
from deploycore.deploy.resolving import resolve_ref
from deploycore.errors import (
    ConfigurationError,
    DeploycoreError,
    NotFound,
    RemoteRefused,
)
from deploycore.git import GitSettings
from deploycore.models import BranchQuery, Repository, RepositoryId, RepositoryQuery, is_commit_hash
from deploycore.provider import Provider
from deploycore.provider.suggesting import SUGGESTED_FROM, first_items
from deploycore.text.suggestions import did_you_mean

__all__ = ["suggest_repository", "verify_applications"]

_AT_ONCE = 8
_SECONDS = 60.0


def verify_applications(
    applications: Sequence[Application],
    open_provider: Callable[[Application], Provider],
    settings: GitSettings,
) -> None:
    """Request the repository and ref of each application from the git hosts, several at once.

    If a ref is the hash of a commit, only the repository is requested.

    Raises:
        DeploycoreError: The first problem, in the order of the applications. It names the
            application. If there are several problems, the message has all of them.
    """
    with ThreadPoolExecutor(min(_AT_ONCE, len(applications)) or 1) as pool:
        found = pool.map(lambda each: _problem(each, open_provider, settings), applications)
        problems = [problem for problem in found if problem is not None]
    if not problems:
        return
    first = problems[0]
    if len(problems) > 1:
        first.message = " ".join(
            f"{each.details['application']}: {each.message}" for each in problems
        )
        first.args = (first.message,)
    raise first


def suggest_repository(
    error: DeploycoreError,
    repository: RepositoryId,
    list_repos: Callable[[RepositoryQuery], Iterable[Repository]],
) -> None:
    """If a repository does not exist, add a similar name to the hint of the error.

    Args:
        list_repos: ``Provider.list_repos``.
    """
    absent = isinstance(error, NotFound | RemoteRefused) and error.exit_code == NotFound.exit_code
    if not absent or error.details.keys() & {"branch", "ref", "commit", "submodule"}:
        return
    for owner in (repository.owner, None):
        query = RepositoryQuery(owner=owner, limit=SUGGESTED_FROM)
        found = first_items(partial(list_repos, query))
        meant = did_you_mean(str(repository), [str(each.id) for each in found])
        if meant:
            error.hint = f"{meant}{error.hint}".strip()
            return


def _problem(
    application: Application,
    open_provider: Callable[[Application], Provider],
    settings: GitSettings,
) -> DeploycoreError | None:
    try:
        _verify(application, open_provider, settings)
    except DeploycoreError as error:
        error.add_context(application=application.name)
        return error
    return None


def _verify(
    application: Application,
    open_provider: Callable[[Application], Provider],
    settings: GitSettings,
) -> None:
    repository, ref = application.repository_id, application.ref
    with InterruptibleProvider(
        application.provider,
        lambda: open_provider(application),
        seconds=_SECONDS,
        look=lambda: None,
    ) as provider:
        try:
            if is_commit_hash(ref):
                list(provider.list_branches(repository, BranchQuery(limit=1)))
                return
            resolve_ref(
                provider,
                repository,
                ref,
                open_cache=lambda: None,
                cancellation=None,
                settings=lambda: replace(settings, total_timeout=_SECONDS),
            )
        except ConfigurationError:
            raise
        except DeploycoreError as error:
            suggest_repository(error, repository, provider.list_repos)
            raise
