"""One deployment, from asking the provider to switching the link, each step recorded."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deploycore.deploy.releases import Releases
from deploycore.errors import Cancelled, DeploycoreError, DeployError, GitError, StoreError
from deploycore.git import (
    Cancellation,
    CheckedOut,
    GitSettings,
    Progress,
    RepositoryCache,
    Reuse,
    export,
)
from deploycore.models import RepositoryId
from deploycore.provider import Provider
from deploycore.store import ApplicationRecord, DeploymentRecord, DeploymentState, Store

__all__ = ["DeployListener", "DeployProgress", "deploy", "fetch_hint", "no_deploy_progress"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeployProgress:
    """How far a deployment is.

    Attributes:
        phase: ``authenticating``, ``resolving``, ``fetching`` or ``activating``.
        git: How far git is, while fetching.
    """

    phase: str
    git: Progress | None = None


DeployListener = Callable[[DeployProgress], None]


def no_deploy_progress(progress: DeployProgress) -> None:
    """Listen to nothing."""


def deploy(
    application: ApplicationRecord,
    store: Store,
    open_provider: Callable[[], Provider],
    *,
    requested_by: str = "",
    git_cache: RepositoryCache | None = None,
    reuse: Reuse = "copy",
    progress: DeployListener = no_deploy_progress,
    cancellation: Cancellation,
    git_settings: GitSettings | None = None,
) -> DeploymentRecord:
    """Put the newest commit of an application's branch live.

    Authenticates, resolves the branch to a commit, writes its files into a new release
    directory, and switches ``current`` to it in one step. Until that step the former
    release stays live, whatever happens; the deployment is recorded before it begins.

    Args:
        open_provider: Opens the application's provider.
        requested_by: Who or what asked for it, for the history.
        git_cache: What was fetched before; without it all is fetched and written anew.
        reuse: How files that did not change are taken over from the live release; see
            :func:`deploycore.git.export` for the risk of hard links.
        cancellation: Ends the deployment at the next safe point.

    Returns:
        The deployment as recorded: succeeded.

    Raises:
        Locked: Another deployment of this target runs.
        DeploycoreError: What went wrong; the deployment is recorded as failed, or as
            cancelled, and nothing of it stays in the target.
    """
    releases = Releases(application.target)
    releases.prepare()
    with releases.locked():
        _settle_interrupted(application, store, releases)
        record = store.start_deployment(application.name, requested_by)
        try:
            with open_provider() as provider:
                fetching = _Fetching(git_cache, reuse, git_settings)
                run = _Run(application, store, provider, releases, fetching, progress, cancellation)
                run.perform(record)
        except BaseException as error:
            _record_failure(store, record, error)
            raise
        return store.finish_deployment(record.id, "succeeded")


def fetch_hint(provider: Provider, error: GitError) -> None:
    """Let the provider say what to do about a refusal by its git server."""
    status = error.details.get("status")
    hint = provider.explain_git_refusal(status, error.message)
    if hint:
        error.hint = hint


@dataclass(frozen=True)
class _Fetching:
    cache: RepositoryCache | None
    reuse: Reuse
    settings: GitSettings | None


@dataclass(frozen=True)
class _Run:
    application: ApplicationRecord
    store: Store
    provider: Provider
    releases: Releases
    fetching: _Fetching
    progress: DeployListener
    cancellation: Cancellation

    def perform(self, record: DeploymentRecord) -> None:
        repository = RepositoryId(owner=self.application.owner, slug=self.application.slug)
        self._enter("authenticating")
        self.provider.authenticate()
        self._enter("resolving")
        commit = self.provider.find_branch(repository, self.application.branch).commit
        release = self.releases.new(commit, record.started_at)
        self.store.note_release(record.id, commit=commit, release=release.name)
        try:
            self._enter("fetching")
            self._fetch(repository, commit, release)
            self._enter("activating")
            self.releases.activate(release)
        except BaseException:
            self.releases.discard(release)
            raise

    def _enter(self, phase: str) -> None:
        self.cancellation.raise_if_cancelled()
        self.progress(DeployProgress(phase))

    def _fetch(self, repository: RepositoryId, commit: str, release: Path) -> CheckedOut:
        try:
            return export(
                self.provider.clone_url(repository),
                self.application.branch,
                release,
                commit=commit,
                submodules=self.application.submodules,
                cache=self.fetching.cache,
                former=self.releases.current,
                reuse=self.fetching.reuse,
                progress=lambda git: self.progress(DeployProgress("fetching", git)),
                cancellation=self.cancellation,
                settings=self.fetching.settings,
            )
        except GitError as error:
            fetch_hint(self.provider, error)
            raise


def _settle_interrupted(application: ApplicationRecord, store: Store, releases: Releases) -> None:
    """Give deployments whose process died their true end: we hold the lock, so none runs."""
    current = releases.current
    for record in store.list_deployments(application.name, state="running"):
        if current is not None and record.release == current.name:
            store.finish_deployment(record.id, "succeeded")
        else:
            if record.release is not None:
                releases.discard(releases.directory / record.release)
            interrupted = DeployError("The process ended before the deployment did.")
            store.finish_deployment(record.id, "failed", error=interrupted)


def _record_failure(store: Store, record: DeploymentRecord, error: BaseException) -> None:
    if isinstance(error, KeyboardInterrupt | SystemExit):
        error = Cancelled("The deployment was interrupted.")
    elif not isinstance(error, DeploycoreError):
        error = DeploycoreError(
            f"deploycore stopped at something unforeseen: {type(error).__name__}."
        )
    state: DeploymentState = "cancelled" if isinstance(error, Cancelled) else "failed"
    try:
        store.finish_deployment(record.id, state, error=error)
    except StoreError as failure:
        # The error that ended the deployment matters more; the next one settles the record.
        logger.warning("deployment %s could not be recorded as %s: %s", record.id, state, failure)
