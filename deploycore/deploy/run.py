"""One deployment, from the provider's first request to a release that is proved to work.

Each state is recorded before its work begins. Until ``activating`` nothing that is live changes,
so a failure before that has no effect on the live release.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from deploycore.applications.application import Links
from deploycore.deploy.activation import Activation, StepRunner
from deploycore.deploy.cleaning import Cleaning
from deploycore.deploy.environment import Variables
from deploycore.deploy.identity import confirm_repository
from deploycore.deploy.inputs import have_changed, remember
from deploycore.deploy.interruptible import InterruptibleProvider, fetch_hint
from deploycore.deploy.recorder import Recorder
from deploycore.deploy.releases import Releases
from deploycore.deploy.resolving import resolve_ref
from deploycore.deploy.selection import withdrawn_commits
from deploycore.deploy.shared import link_shared
from deploycore.disk.trees import sync_tree
from deploycore.errors import DeployError, GitError
from deploycore.git.watched import NothingWatchedChanged, Watched
from deploycore.models import is_commit_hash
from deploycore.records import record
from deploycore.store import ApplicationRecord, DeploymentRecord, Store

if TYPE_CHECKING:
    from deploycore.deploy.named_providers import NamedProviders
    from deploycore.git import Cancellation, CheckedOut, GitSettings, RepositoryCache, Reuse
    from deploycore.provider import Provider

__all__ = ["Run"]


class _Skipped(Exception):
    """There is nothing to deploy. The message says why."""

    def __init__(self, reason: str, commit: str) -> None:
        super().__init__(reason)
        self.commit = commit


@record
class Git:
    """The cache and the settings of git.

    Attributes:
        open_cache: Opens the cache of fetched repositories; returns ``None`` for no cache. It is
            called only when git is needed: its module imports dulwich, which a rollback and an
            unchanged commit do not need.
        settings: Timeouts and limits.
    """

    open_cache: Callable[[], RepositoryCache | None]
    settings: GitSettings


class Run:
    """Runs one deployment or rollback. The caller holds the application's lock.

    Args:
        variables: The application's variables.
        cancellation: Stops the deployment at the next safe point.
        shielded: See ``Activation``.

    Attributes:
        activation: Switches the application's link.
    """

    def __init__(
        self,
        application: ApplicationRecord,
        variables: Variables,
        recorder: Recorder,
        *,
        store: Store,
        git: Git,
        cancellation: Cancellation,
        shielded: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._record = application
        self._application = definition = application.definition
        self._revision = application.revision
        self._recorder = recorder
        self._store = store
        self._git = git
        self._cancellation = cancellation
        self._reuse: Reuse = definition.reuse
        self._releases = Releases(definition.target)
        self._deadline = time.monotonic() + definition.timeouts.deploy
        self._variables = variables
        recorder.hide(lambda: variables.secrets)
        self._steps = StepRunner(definition, variables, recorder, cancellation, self._deadline)
        self.activation = Activation(self._releases, self._steps, recorder, shielded)

    def deploy(
        self,
        open_provider: Callable[[str], Provider],
        *,
        force: bool = False,
        automatic: bool = False,
        reuse: Reuse | None = None,
    ) -> None:
        """Put the newest commit live.

        Args:
            open_provider: Opens the provider of a name.
            force, automatic, reuse: See ``DeployRequest``.

        Raises:
            DeploycoreError: The deployment failed. The caller records that, then cleans up.
        """
        self._reuse = reuse or self._application.reuse
        self._variables.require()
        try:
            live = self._live()
            if live is not None and self._has_other_inputs():
                self._recorder.note("the value of a variable has changed since the live release")
                force = True
            release = self._fetched(open_provider, live, force=force, automatic=automatic)
        except _Skipped as skipped:
            self._recorder.note(str(skipped))
            self._recorder.know(commit=skipped.commit)
            self._recorder.finish("skipped")
            return
        self._build(release)
        remember(self._releases, release.name, self._variables.referenced)
        self.activation.activate(release, previous_commit=live.commit if live else None)

    def roll_back(self, release: Path, made_by: DeploymentRecord) -> None:
        """Make a previous release live; nothing is fetched.

        Args:
            made_by: The deployment that made the release.

        Raises:
            DeploycoreError: The rollback failed; the release that was live is live again.
        """
        live = self._live()
        current = self._releases.current
        self._recorder.note(
            f"rolling back from commit {_short(live)} ({current.name if current else 'no release'})"
            f" to commit {_short(made_by)} ({release.name})"
        )
        self.activation.activate(
            release,
            previous_commit=live.commit if live else None,
            commit=made_by.commit,
            commit_url=made_by.commit_url,
            author=made_by.author,
            subject=made_by.subject,
            committed_at=made_by.committed_at,
            files=made_by.files,
            bytes=made_by.bytes,
        )

    def clean_up(self) -> None:
        """Remove what is no longer needed, after the deployment's end is recorded."""
        cleaning = Cleaning(
            self._releases, self._application.name, self._store, self._recorder.note
        )
        cleaning.after(self._recorder.record, self._application.keep)

    def _fetched(
        self,
        open_provider: Callable[[str], Provider],
        live: DeploymentRecord | None,
        *,
        force: bool,
        automatic: bool,
    ) -> Path:
        self._steps.refuse_late()
        self._recorder.enter("authenticating", revision=self._revision)
        with InterruptibleProvider(
            self._application.provider,
            lambda: open_provider(self._application.provider),
            seconds=self._application.timeouts.provider,
            look=self._steps.refuse_late,
        ) as provider:
            self._recorder.hide(lambda: provider.secrets)
            provider.authenticate()
            self._steps.refuse_late()
            self._recorder.enter("resolving")
            self._confirm_repository(provider)
            commit = self._resolve(provider)
            if not force and self._is_live(live, commit):
                raise _Skipped(f"commit {commit[:12]} is already live", commit)
            if automatic:
                self._skip_withdrawn(commit)
            self._refuse_vetoed(commit)
            with self._named_providers(open_provider) as named:
                return self._fetch(provider, named, commit, None if force else live)

    def _named_providers(self, open_provider: Callable[[str], Provider]) -> NamedProviders:
        from deploycore.deploy.named_providers import (
            NamedProviders,
        )  # a rollback does not need http

        application = self._application
        named = NamedProviders(
            application.credentials if application.submodules else (),
            open_provider,
            seconds=application.timeouts.provider,
            look=self._steps.refuse_late,
        )
        self._recorder.hide(lambda: named.secrets)
        return named

    def _confirm_repository(self, provider: Provider) -> None:
        """Use the repository's new name if it was renamed."""
        found = confirm_repository(
            self._store,
            provider,
            self._record,
            learn=lambda found: self._recorder.describe(
                repository=str(found.id), commit_url=found.commit_url
            ),
        ).definition
        if found.repository != self._application.repository:
            self._recorder.note(
                f"repository {self._application.repository} was renamed to {found.repository}"
            )
            update = {"repository": found.repository}
            self._application = self._application.model_copy(update=update)

    def _resolve(self, provider: Provider) -> str:
        ref, repository = self._application.ref, self._application.repository_id
        if is_commit_hash(ref):
            return ref
        return resolve_ref(
            provider,
            repository,
            ref,
            open_cache=self._git.open_cache,
            cancellation=self._cancellation,
            settings=self._git_settings,
        )

    def _live(self) -> DeploymentRecord | None:
        """Get the deployment that made the live release."""
        current = self._releases.current
        if current is None:
            return None
        made = self._store.deployments.of_releases(self._application.name, [current.name])
        return made.get(current.name)

    def _has_other_inputs(self) -> bool:
        current = self._releases.current
        values = self._variables.referenced
        return current is not None and have_changed(self._releases, current.name, values)

    def _is_live(self, live: DeploymentRecord | None, commit: str) -> bool:
        """Whether deploying this commit would change nothing.

        A release depends on the commit and on the application's revision, which grows with each
        change of its definition or of a stored secret. Values that it refers to are compared before
        (``inputs``). A release that is missing, is empty, or never worked is deployed again.
        """
        if live is None or (live.commit, live.revision) != (commit, self._revision):
            return False
        return live.state == "healthy" and self._releases.is_intact(has_files=bool(live.files))

    def _skip_withdrawn(self, commit: str) -> None:
        """Skip a commit that a person rolled back from, until a person deploys it."""
        history = self._store.deployments.commit_history(self._application.name, commit)
        if commit in withdrawn_commits(history):
            raise _Skipped(
                f"commit {commit[:12]} was rolled back from; to deploy it again: deploycore"
                f" deploy {self._application.name}",
                commit,
            )

    def _refuse_vetoed(self, commit: str) -> None:
        reason = self._recorder.veto(commit)
        if reason is not None:
            raise DeployError(
                f"A plugin refused to deploy commit {commit[:12]}: {reason}",
                hint="Follow the reason that the plugin gives, then deploy again.",
                commit=commit,
            )

    def _fetch(
        self,
        provider: Provider,
        named: NamedProviders,
        commit: str,
        live: DeploymentRecord | None,
    ) -> Path:
        self._steps.refuse_late()
        release = self._releases.new(commit, datetime.now(UTC))
        self._recorder.enter("fetching", commit=commit, release=release.name)
        watched = self._watched(live)
        try:
            done = self._export(provider, named, commit, release, watched)
            self._note_commit(done)
        except NothingWatchedChanged:
            since = watched.since if watched else ""
            reason = f"no watched file differs between {since[:12]} and {commit[:12]}"
            raise _Skipped(reason, commit) from None
        except GitError as error:
            fetch_hint(provider, error)
            named.explain(error)
            raise
        return release

    def _note_commit(self, done: CheckedOut) -> None:
        self._recorder.know(
            author=done.author,
            subject=done.subject,
            committed_at=done.committed_at,
            files=done.files,
            bytes=done.bytes,
        )
        self._recorder.note(done.headline)
        for note in done.notes:
            self._recorder.note(note)

    def _export(
        self,
        provider: Provider,
        named: NamedProviders,
        commit: str,
        release: Path,
        watched: Watched | None,
    ) -> CheckedOut:
        application = self._application
        from deploycore.git import export  # needs dulwich, which a rollback does not

        return export(
            provider.clone_url(application.repository_id),
            application.ref,
            release,
            # A full hash in the definition has not been checked at the host yet.
            commit=None if commit == application.ref else commit,
            submodules=application.submodules,
            attributes=application.attributes,
            lfs=application.lfs,
            cache=self._git.open_cache(),
            former=self._releases.current,
            reuse=self._reuse,
            escaping_links="refuse" if isinstance(application.links, Links) else application.links,
            allowed_links=application.links_written,
            name=application.repository,
            watched=watched,
            renew=provider.renew_credential(application.repository_id),
            find_source=named.find,
            progress=self._recorder.progress,
            cancellation=self._cancellation,
            settings=provider.git_settings(self._git_settings()),
        )

    def _git_settings(self) -> GitSettings:
        left = max(0.0, self._deadline - time.monotonic())
        most = min(self._git.settings.total_timeout, self._application.timeouts.fetch, left)
        limits = self._application.limits.git_settings
        return replace(self._git.settings, total_timeout=most, **limits)

    def _watched(self, live: DeploymentRecord | None) -> Watched | None:
        """Return what must have changed since the live release; ``None`` if that cannot be
        compared."""
        if not self._application.watch or live is None or live.commit is None:
            return None
        if live.revision != self._revision:
            return None  # the same files may need a new deployment now
        return Watched(live.commit, self._application.watch)

    def _build(self, release: Path) -> None:
        steps, shared = self._application.steps, self._application.shared
        if not (steps.build or steps.before_activate or shared.directories or shared.files):
            return
        self._steps.refuse_late()
        self._recorder.enter("building")
        try:
            opened = os.open(release, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._releases.unusable(error) from error
        try:
            link_shared(self._releases, release, shared, self._recorder.note)
            self._steps.perform("build", release)
            self._steps.perform("before_activate", release)
            self._flush(release, opened)
        finally:
            os.close(opened)

    def _flush(self, release: Path, opened_before: int) -> None:
        """Flush what steps wrote to disk, before the link points there."""
        try:
            sync_tree(release, opened_before)
        except OSError as error:
            raise self._releases.unusable(error) from error


def _short(made_by: DeploymentRecord | None) -> str:
    commit = made_by.commit if made_by is not None else None
    return commit[:12] if commit else "unknown"
