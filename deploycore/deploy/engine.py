"""The deploy engine: deployments, rollbacks and recovery, one at a time for an application."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deploycore.deploy.activation import typed_error
from deploycore.deploy.cancelling import watch_for_cancellation
from deploycore.deploy.cleaning import Cleaning, forget_old
from deploycore.deploy.description import describe_deployment
from deploycore.deploy.environment import Variables
from deploycore.deploy.events import DeployListener, no_listener
from deploycore.deploy.lifecycle import Lifecycle
from deploycore.deploy.locks import Presence, wait_for_lock
from deploycore.deploy.log import Logs
from deploycore.deploy.orphans import end_orphans
from deploycore.deploy.own_key import opener_with_own_key
from deploycore.deploy.ownership import claim_target, refuse_elsewhere, refuse_taken_target
from deploycore.deploy.recorder import Recorder
from deploycore.deploy.recovery import settle
from deploycore.deploy.release_list import Release
from deploycore.deploy.releases import Releases
from deploycore.deploy.requests import DeployRequest, Outcome
from deploycore.deploy.rollback import find_former_release, find_releases
from deploycore.deploy.run import Git, Run
from deploycore.disk.removal import Remains
from deploycore.errors import (
    Cancelled,
    ConfigurationError,
    DeploycoreError,
    DeployError,
    Locked,
    with_next_step,
)
from deploycore.git import Cancellation, GitSettings
from deploycore.provider.observers import Observers, installed_observers
from deploycore.records import record
from deploycore.secrets import SecretBox
from deploycore.store import ApplicationRecord, DeploymentKind, DeploymentRecord, Store

if TYPE_CHECKING:
    from deploycore.deployment_records import DeploymentCause
    from deploycore.git import RepositoryCache
    from deploycore.provider import Provider

__all__ = ["Engine", "Outcome", "Release"]

logger = logging.getLogger(__name__)

_LAST_GOOD = "the last commit that worked"
_BY_DEFAULT = DeployRequest()
_RECOVER = " Then run: deploycore recover"


@record
class _Turn:
    """The application and the deployment that holds its lock."""

    application: ApplicationRecord
    run: Run
    recorder: Recorder


class Engine:
    """Deploys the applications of a store.

    Args:
        open_provider: Opens a configured provider by its name.
        home: The directory of logs and locks.
        git_cache: The cache of fetched repositories, or a function that opens it when it is
            needed (default: no cache).
        git_settings: Timeouts and limits of git.
        observers: The plugins that receive events of deployments (default: all installed ones).
    """

    def __init__(
        self,
        store: Store,
        secrets: SecretBox,
        open_provider: Callable[[str], Provider],
        *,
        home: Path,
        git_cache: RepositoryCache | Callable[[], RepositoryCache] | None = None,
        git_settings: GitSettings | None = None,
        observers: Observers | None = None,
    ) -> None:
        self.logs = Logs.of(home)
        self._home = home
        self._store = store
        self._secrets = secrets
        self._open_provider = open_provider
        self._presence = Presence(home / "locks")
        open_cache = git_cache if callable(git_cache) else lambda: git_cache
        self._git = Git(open_cache, git_settings or GitSettings())
        self._observers = installed_observers(home) if observers is None else observers

    def deploy(self, name: str, request: DeployRequest = _BY_DEFAULT) -> DeploymentRecord:
        """Put the newest commit of an application live, if it is not live already.

        Nothing is fetched or written if the commit is live and was deployed with the
        application's present definition and stored secrets. The values behind ``env:`` and
        ``file:`` references, and files in ``shared``, are not compared.

        While another deployment of the application runs, this one waits. If more than one
        waits, the one that was requested last supersedes the others.

        Returns:
            The deployment as recorded, ``healthy`` or ``skipped``.

        Raises:
            ConfigurationError: The application does not exist, or its target cannot be used.
                Nothing is recorded.
            Locked: Another deployment runs, and the request is not to wait. Nothing is recorded.
            Superseded: A newer deployment was requested while this one waited.
            DeploycoreError: The deployment failed. This is recorded, the new release is removed,
                and the release that was live before is live. Where that was not possible, the
                hint says what to do.
        """
        application = self._store.get_application(name)
        self._refuse_unusable(application)
        Releases(application.definition.target).prepare()
        with self._turn(application, "deploy", application.definition.ref, request) as turn:
            definition = turn.application.definition
            turn.run.deploy(
                opener_with_own_key(definition, self._open_provider, self._store, self._secrets),
                force=request.force,
                automatic=request.automatic,
                reuse=request.reuse,
            )
        forget_old(self._store, self.logs, turn.application, turn.recorder.record)
        return turn.recorder.record

    def deploy_many(
        self,
        names: Sequence[str],
        request: DeployRequest = _BY_DEFAULT,
        *,
        parallel: int = 4,
    ) -> Iterator[Outcome]:
        """Deploy several applications, and yield each outcome as soon as it is known.

        Args:
            request: The same for all; its cancellation stops all of them.
            parallel: How many to deploy at once.
        """
        from concurrent.futures import ThreadPoolExecutor, as_completed

        common = request.cancellation or Cancellation()
        request = replace(request, cancellation=common)

        def one(name: str) -> Outcome:
            try:
                common.raise_if_cancelled()
                done = self.deploy(name, request)
            except Exception as raised:
                error = typed_error(raised)
                error.add_context(application=name)
                known, record = error.details.get("deployment"), None
                with suppress(DeploycoreError):
                    record = self._store.deployments.get(known) if known else None
                return Outcome(name, record, error)
            return Outcome(name, done, None)

        with ThreadPoolExecutor(parallel, thread_name_prefix="deploycore-deploy") as pool:
            for done in as_completed([pool.submit(one, name) for name in names]):
                yield done.result()

    def roll_back(
        self, name: str, request: DeployRequest = _BY_DEFAULT, *, to: str | None = None
    ) -> DeploymentRecord:
        """Make a previous release of an application live, without a request to the git host.

        Args:
            request: Who requested the rollback and who receives its events. Fields that only
                deployments use are ignored.
            to: The release's name, or at least seven characters of its commit (default: the last
                release of a different commit that worked and that nobody rolled back from).

        Returns:
            The rollback as recorded, ``healthy``. Its ``previous`` and ``previous_commit`` are
            the release and the commit that it went back from.

        Raises:
            ConfigurationError: The release does not exist, or it never worked.
            DeploycoreError: As for ``deploy``.
        """
        application = self._store.get_application(name)
        self._refuse_unusable(application)
        # Refused before anything is recorded.
        find_former_release(self._store, application, to)
        with self._turn(application, "rollback", to or _LAST_GOOD, request) as turn:
            # Chosen again: which release is live may have changed meanwhile.
            release, made_by = find_former_release(self._store, turn.application, to)
            turn.run.roll_back(release, made_by)
        return turn.recorder.record

    def releases(self, name: str) -> list[Release]:
        """List the releases of an application that are on disk, the newest first.

        Raises:
            ConfigurationError: The application does not exist.
        """
        application = self._store.get_application(name)
        return find_releases(self._store, application)

    def leftovers(self, name: str) -> list[Remains]:
        """List what could not be removed from an application's target, with its size.

        Nothing is changed. The next deployment, and ``recover``, try again to remove it.

        Raises:
            ConfigurationError: The application does not exist.
        """
        releases = Releases(self._store.get_application(name).definition.target)
        return [] if releases.is_locked() else releases.leftovers()

    def recover(
        self, name: str | None = None, *, listener: DeployListener = no_listener
    ) -> list[DeploymentRecord]:
        """Finish deployments that a crash left unfinished; see ``recovery``.

        Deployments that run in another process are left alone.

        Args:
            name: The application (default: all applications).
            listener: Called with each event of these deployments.

        Returns:
            The deployments whose end was recorded by this call.

        Raises:
            DeployError: Deployments of some applications could not be recovered. Those of all
                other applications were.
            StoreError: The database cannot be used.
        """
        settled, failures, hints = [], [], dict[str, None]()
        for application in self._to_recover(name):
            try:
                settled += self._recovered(application, listener)
            except DeploycoreError as error:
                failures.append(f"{application.name}: {error.message}")
                hints[error.hint or "Correct the problems above."] = None
        if failures:
            raise DeployError(
                f"These interrupted deployments cannot be recovered: {'; '.join(failures)}",
                hint=f"{' '.join(hints).removesuffix(_RECOVER)}{_RECOVER}",
            )
        return settled

    def _to_recover(self, name: str | None) -> list[ApplicationRecord]:
        """The applications that may have unfinished deployments or leftovers on disk."""
        if name is not None:
            return list(self._store.find_applications([name]).values())
        on_record = {each.application for each in self._store.deployments.unfinished()}
        return [
            each
            for each in self._store.list_applications()
            if each.name in on_record or os.path.lexists(each.definition.target)
        ]

    def cancel(self, deployment: int) -> DeploymentRecord:
        """Ask a deployment to stop, in whichever process it runs.

        Raises:
            ConfigurationError: The deployment does not exist, or it has already ended.
        """
        return self._store.deployments.request_cancellation(deployment)

    def _refuse_unusable(self, application: ApplicationRecord) -> None:
        """Refuse an application that another machine deploys, or whose target belongs to another.

        This is checked for each deployment, since links on disk may have changed.
        """
        refuse_elsewhere(application)
        target = application.definition.target
        refuse_taken_target(application.name, target, self._target_of)

    def _target_of(self, name: str) -> Path:
        return self._store.get_application(name).definition.target

    @contextmanager
    def _turn(
        self,
        application: ApplicationRecord,
        kind: DeploymentKind,
        ref: str,
        request: DeployRequest,
    ) -> Iterator[_Turn]:
        """Record a request, wait for the application's lock, and record how the request ended.

        Args:
            ref: The ref that the history shows as requested.
        """
        own, outer = Cancellation(), request.cancellation or Cancellation()
        name, releases = application.name, Releases(application.definition.target)
        with ExitStack() as stack:
            stack.enter_context(outer.waking(own.cancel))
            stack.enter_context(self._presence.present(name, own, wait=request.wait))
            if not request.wait:
                # Take the lock first: a request that does not wait must not supersede one that
                # waits.
                stack.enter_context(releases.locked())
            record = self._store.deployments.request(
                name,
                ref=ref,
                requested_by=request.requested_by,
                kind=kind,
                home=str(self._home),
            )
            recorder = self._recorder(record, stack, (request.listener,), request.cause)
            try:
                stack.enter_context(watch_for_cancellation(self._store, record.id, own))
                recorder.begin()
                turn = wait_for_lock(releases, record, self._store, own)
                has_waited = request.wait and stack.enter_context(turn)
                has_waited |= bool(
                    self._settle(
                        application,
                        but=record.id,
                        everywhere=request.claimed,
                        note=recorder.note,
                        listener=request.listener if request.claimed else no_listener,
                    )
                )
                if has_waited:
                    application = self._store.get_application(name)  # as it is now
                run = self._run(application, recorder, own, outer.shielded)
                # After the end has been recorded, whatever it is, and before the lock is released.
                stack.callback(run.clean_up)
                recorder.start()
                yield _Turn(application, run, recorder)
            except BaseException as raised:
                error = typed_error(raised)
                error.add_context(application=name, deployment=record.id)
                recorder.end(error)
                raise

    def _recorder(
        self,
        record: DeploymentRecord,
        stack: ExitStack,
        listeners: Sequence[DeployListener] = (),
        cause: DeploymentCause = "",
    ) -> Recorder:
        log = stack.enter_context(self.logs.open(record.application, record.id))
        lifecycle = stack.enter_context(Lifecycle(self._observers))
        known = describe_deployment(self._store, self.logs, record, cause, self._observers)
        return Recorder(
            record,
            self._store,
            lifecycle,
            (log.write, *listeners),
            known,
            write_hint=log.write,
        )

    def _run(
        self,
        application: ApplicationRecord,
        recorder: Recorder,
        cancellation: Cancellation,
        shielded: Callable[[], AbstractContextManager[None]],
    ) -> Run:
        return Run(
            application,
            Variables(application, self._secrets),
            recorder,
            store=self._store,
            git=self._git,
            cancellation=cancellation,
            shielded=shielded,
        )

    def _recovered(
        self, application: ApplicationRecord, listener: DeployListener
    ) -> list[DeploymentRecord]:
        releases = Releases(application.definition.target)

        def note(text: str) -> None:
            logger.warning("%s: %s", application.name, text)

        with self._presence.alone(application.name) as is_alone:
            settled = []
            try:
                # If the directory is gone, there is nothing to lock or to clean.
                with releases.locked() if releases.exists() else nullcontext():
                    settled = self._settle(application, note=note, listener=listener)
            except Locked:
                pass  # a deployment is running
            except ConfigurationError as error:
                if not is_alone or "owner" not in error.details:
                    raise
                # The directory belongs to another application, so nothing in it may be repaired.
                settled += [self._ended(each, error) for each in self._unfinished(application.name)]
            except DeployError as error:
                if self._unfinished(application.name):
                    raise
                said = application.name, with_next_step(error)
                logger.warning("%s cannot be recovered: %s", *said)
            for record in self._unfinished(application.name):
                if is_alone and record.state == "queued" and record.home == str(self._home):
                    settled.append(self._abandoned(record))
            return settled

    def _abandoned(self, record: DeploymentRecord) -> DeploymentRecord:
        reason = "The process that requested this deployment ended while it was queued."
        return self._ended(record, Cancelled(reason))

    def _ended(self, record: DeploymentRecord, error: DeploycoreError) -> DeploymentRecord:
        with ExitStack() as stack:
            recorder = self._recorder(record, stack)
            recorder.end(error)
            return recorder.record

    def _unfinished(self, name: str, *, everywhere: bool = False) -> list[DeploymentRecord]:
        """The unfinished deployments of this machine.

        Args:
            everywhere: Whether to include those of other machines. Only the holder of the
                application's claim knows that no other machine works on them.
        """
        here = ("", socket.gethostname())
        found = self._store.deployments.unfinished(name)
        return [each for each in found if everywhere or each.host in here]

    def _settle(
        self,
        application: ApplicationRecord,
        *,
        but: int | None = None,
        everywhere: bool = False,
        note: Callable[[str], None],
        listener: DeployListener,
    ) -> list[DeploymentRecord]:
        """Finish what dead processes left, then clean up. The caller holds the target's lock.

        Args:
            but: The caller's own deployment.
            everywhere: As for ``_unfinished``.
            note: Called with a sentence on each release that was removed or could not be.
        """
        releases = Releases(application.definition.target)
        claim_target(application.name, releases, self._target_of)
        settled = []
        orphans = end_orphans(releases.step_record)
        for each in self._unfinished(application.name, everywhere=everywhere):
            if each.id == but or each.state == "queued":
                continue
            with ExitStack() as stack:
                recorder = self._recorder(each, stack, (listener,))
                if orphans:
                    recorder.note(f"{orphans} processes that its step left running were stopped")
                nobody = Cancellation()
                run = self._run(application, recorder, nobody, nobody.shielded)
                settle(releases, recorder, run.activation)
                run.clean_up()
                if not recorder.record.is_finished:
                    raise DeployError(
                        f"Deployment {each.id} of {each.application} could not be recovered.",
                        hint=f"Fix the cause that this command shows: deploycore logs {each.id}."
                        f"{_RECOVER}",
                        deployment=each.id,
                    )
                settled.append(recorder.record)
        Cleaning(releases, application.name, self._store, note).before()
        return settled
