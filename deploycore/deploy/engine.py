"""The deploy engine: deployments, rollbacks and recovery, one at a time for an application."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

from deploycore.deploy.activation import typed_error
from deploycore.deploy.cleaning import Cleaning
from deploycore.deploy.environment import Variables
from deploycore.deploy.events import DeployListener, no_listener
from deploycore.deploy.lifecycle import Lifecycle
from deploycore.deploy.locks import Presence, wait_for_lock
from deploycore.deploy.log import Logs
from deploycore.deploy.orphans import end_orphans
from deploycore.deploy.ownership import claim_target, refuse_taken_target
from deploycore.deploy.recorder import Recorder
from deploycore.deploy.recovery import settle
from deploycore.deploy.release_list import Release, list_releases
from deploycore.deploy.releases import Releases
from deploycore.deploy.run import Git, Run
from deploycore.deploy.selection import find_way_back
from deploycore.disk.removal import Remains
from deploycore.errors import (
    Cancelled,
    ConfigurationError,
    DeploycoreError,
    DeployError,
    Locked,
    StoreError,
)
from deploycore.git import Cancellation, GitSettings
from deploycore.provider.observers import Observers, installed_observers
from deploycore.secrets import SecretBox
from deploycore.store import ApplicationRecord, DeploymentKind, DeploymentRecord, Store

if TYPE_CHECKING:
    from deploycore.git import RepositoryCache, Reuse
    from deploycore.provider import Provider

__all__ = ["Engine", "Outcome", "Release"]

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
_SHORT = 7  # what a commit may be shortened to
_LISTED = 5  # releases that an error names
_LAST_GOOD = "the last commit that worked"


@dataclass(frozen=True)
class Outcome:
    """How one of several deployments has ended.

    Attributes:
        deployment: ``None`` where there was not even a record.
        error: ``None`` where all went well.
    """

    application: str
    deployment: DeploymentRecord | None
    error: DeploycoreError | None


@dataclass(frozen=True)
class _Asked:
    """What somebody asked for; ``ref`` is what the history says about it."""

    kind: DeploymentKind
    ref: str
    requested_by: str
    wait: bool
    claimed: bool = False


@dataclass(frozen=True)
class _Turn:
    """An application's turn: as it is now, and what brings it forward."""

    application: ApplicationRecord
    run: Run
    recorder: Recorder


class Engine:
    """Deploys the applications of a store.

    Args:
        open_provider: Opens a configured provider, by its name.
        home: Where logs and locks are.
        git_cache: What was fetched before, or what opens it when it is needed; without it all is
            fetched and written anew.
        observers: Who is told of deployments; by default the installed ones.
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
        self._observers = installed_observers() if observers is None else observers

    def deploy(
        self,
        name: str,
        *,
        requested_by: str = "",
        force: bool = False,
        automatic: bool = False,
        reuse: Reuse | None = None,
        wait: bool = True,
        claimed: bool = False,
        listener: DeployListener = no_listener,
        cancellation: Cancellation | None = None,
    ) -> DeploymentRecord:
        """Put the newest commit of an application live, if it is not live already.

        Nothing is fetched or written where the commit is live, and the application's definition
        and stored secrets are what it was deployed with. The values behind ``env:`` and ``file:``
        references, and files in ``shared``, are not compared.

        Waits for its turn where another deployment of the application runs; one that is asked
        for later supersedes those that wait.

        Args:
            requested_by: Who or what asked for it, for the history.
            force: Whether to make a new release of a commit that is live already.
            automatic: Whether no person asked for it. Then a commit that somebody rolled back
                from is skipped.
            reuse: Instead of what the application says.
            wait: Whether to wait for a turn.
            claimed: Whether the caller has the application's claim (``Store.claims``), so that
                what dead workers of other machines left is brought to its end too, and the
                listener gets the events of that.
            listener: Gets each event.
            cancellation: Ends the deployment at the next safe point.

        Returns:
            The deployment as recorded, ``healthy`` or ``skipped``.

        Raises:
            ConfigurationError: There is no such application, or its target can't be used; then
                nothing is recorded, as where another one runs and this one was not to wait.
            Locked: Another one runs, and this one was not to wait.
            Superseded: A newer one was asked for while it waited.
            DeploycoreError: What went wrong. It is recorded, nothing of it stays in the target,
                and what was live before is live; or its hint says what to do to make it so.
        """
        application = self._store.get_application(name)
        self._refuse_unusable(application)
        releases = Releases(application.definition.target)
        releases.prepare()
        asked = _Asked("deploy", application.definition.ref, requested_by, wait, claimed)
        with self._turn(application, asked, listener, cancellation) as turn:
            provider = turn.application.definition.provider
            turn.run.deploy(
                lambda: self._open_provider(provider),
                force=force,
                automatic=automatic,
                reuse=reuse,
            )
        self._forget_old(turn.application, turn.recorder.record)
        return turn.recorder.record

    def deploy_many(
        self,
        names: list[str],
        *,
        parallel: int = 4,
        requested_by: str = "",
        force: bool = False,
        reuse: Reuse | None = None,
        wait: bool = True,
        listener: DeployListener = no_listener,
        cancellation: Cancellation | None = None,
    ) -> Iterator[Outcome]:
        """Deploy several applications, so many at once; each outcome as soon as it is known.

        Args:
            listener: Gets the events of all, in several threads.
            cancellation: Ends all.
        """
        common = cancellation or Cancellation()

        def one(name: str) -> Outcome:
            try:
                common.raise_if_cancelled()
                done = self.deploy(
                    name,
                    requested_by=requested_by,
                    force=force,
                    reuse=reuse,
                    wait=wait,
                    listener=listener,
                    cancellation=common,
                )
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
        self,
        name: str,
        *,
        to: str | None = None,
        requested_by: str = "",
        wait: bool = True,
        listener: DeployListener = no_listener,
        cancellation: Cancellation | None = None,
    ) -> DeploymentRecord:
        """Make a former release of an application the live one, without asking the git host.

        Args:
            to: The release's name, or at least seven characters of its commit; by default the
                last release of another commit that worked, and that nobody rolled back from.

        Returns:
            The rollback as recorded, ``healthy``; ``previous`` and ``previous_commit`` are what
            it went back from.

        Raises:
            ConfigurationError: There is no such release, or it never worked.
            DeploycoreError: As ``deploy`` does.
        """
        application = self._store.get_application(name)
        self._refuse_unusable(application)
        self._former(application, to)  # refused before anything is recorded
        asked = _Asked("rollback", to or _LAST_GOOD, requested_by, wait)
        with self._turn(application, asked, listener, cancellation) as turn:
            # Chosen when it is known what is live by now.
            release, made_by = self._former(turn.application, to)
            turn.run.roll_back(release, made_by)
        return turn.recorder.record

    def releases(self, name: str) -> list[Release]:
        """The releases of an application that are on disk, the newest first.

        Raises:
            ConfigurationError: There is no such application.
        """
        application = self._store.get_application(name)
        return self._releases(application)

    def leftovers(self, name: str) -> list[Remains]:
        """What was to be removed from an application's target, and is still there, with its size.

        Nothing is changed. The next deployment, and ``recover``, try again to remove it.

        Raises:
            ConfigurationError: There is no such application.
        """
        releases = Releases(self._store.get_application(name).definition.target)
        return [] if releases.is_locked() else releases.leftovers()

    def recover(
        self, name: str | None = None, *, listener: DeployListener = no_listener
    ) -> list[DeploymentRecord]:
        """Bring all deployments whose processes have died to their true end; see ``recovery``.

        What runs in another process is left alone.

        Args:
            name: Only those of this application.
            listener: Gets each event of theirs.

        Returns:
            The deployments that had no end on record until now.

        Raises:
            DeployError: Of some applications that could not be done; of all others it was.
            StoreError: The database can't be used.
        """
        settled, failures = [], []
        for application in self._to_recover(name):
            try:
                settled += self._recovered(application, listener)
            except DeploycoreError as error:
                failures.append(f"{application.name}: {error.message}")
        if failures:
            raise DeployError(
                f"These interrupted deployments cannot be recovered: {'; '.join(failures)}",
                hint="Correct the problems above, then run: deploycore recover",
            )
        return settled

    def _to_recover(self, name: str | None) -> list[ApplicationRecord]:
        """The applications of which a dead process may have left something: on record, or where
        their releases are."""
        if name is not None:
            return list(self._store.find_applications([name]).values())
        on_record = {each.application for each in self._store.deployments.unfinished()}
        return [
            each
            for each in self._store.list_applications()
            if each.name in on_record or os.path.lexists(each.definition.target)
        ]

    def cancel(self, deployment: int) -> DeploymentRecord:
        """Ask for a deployment to stop, in whatever process it is.

        Raises:
            ConfigurationError: There is no such deployment, or it has come to an end.
        """
        return self._store.deployments.request_cancellation(deployment)

    def _refuse_unusable(self, application: ApplicationRecord) -> None:
        """Refuse an application that another machine deploys, or whose target is another's.

        Links may have changed since it was written down.
        """
        _refuse_elsewhere(application)
        target = application.definition.target
        refuse_taken_target(application.name, target, self._target_of)

    def _target_of(self, name: str) -> Path:
        return self._store.get_application(name).definition.target

    @contextmanager
    def _turn(
        self,
        application: ApplicationRecord,
        asked: _Asked,
        listener: DeployListener,
        cancellation: Cancellation | None,
    ) -> Iterator[_Turn]:
        """Record a request, wait for its turn, and record whatever ends it."""
        own, outer = Cancellation(), cancellation or Cancellation()
        name, releases = application.name, Releases(application.definition.target)
        with ExitStack() as stack:
            stack.enter_context(outer.waking(own.cancel))
            stack.enter_context(self._presence.present(name, own, wait=asked.wait))
            if not asked.wait:
                # First the lock: who would not wait supersedes nobody who does.
                stack.enter_context(releases.locked())
            record = self._store.deployments.request(
                name,
                ref=asked.ref,
                requested_by=asked.requested_by,
                kind=asked.kind,
                home=str(self._home),
            )
            recorder = self._recorder(record, stack, (listener,))
            try:
                stack.enter_context(self._watching(record.id, own))
                recorder.begin()
                turn = wait_for_lock(releases, record, self._store, own)
                has_waited = asked.wait and stack.enter_context(turn)
                has_waited |= bool(
                    self._settle(
                        application,
                        but=record.id,
                        everywhere=asked.claimed,
                        note=recorder.note,
                        listener=listener if asked.claimed else no_listener,
                    )
                )
                if has_waited:
                    application = self._store.get_application(name)  # as it is now
                run = self._run(application, recorder, own, outer.shielded)
                # After the end is on record, whatever it is, and before the lock is released.
                stack.callback(run.clean_up)
                recorder.start()
                yield _Turn(application, run, recorder)
            except BaseException as raised:
                error = typed_error(raised)
                error.add_context(application=name, deployment=record.id)
                recorder.end(error)
                raise

    def _recorder(
        self, record: DeploymentRecord, stack: ExitStack, listeners: Sequence[DeployListener] = ()
    ) -> Recorder:
        log = stack.enter_context(self.logs.open(record.application, record.id))
        lifecycle = stack.enter_context(Lifecycle(self._observers))
        return Recorder(record, self._store, lifecycle, (log.write, *listeners))

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

    @contextmanager
    def _watching(self, deployment: int, cancellation: Cancellation) -> Iterator[None]:
        """Look now and then whether another process wants the deployment to stop."""
        done = Event()

        def look() -> None:
            while not done.wait(_LOOK_SECONDS):
                with suppress(StoreError):
                    if self._store.deployments.is_cancelled(deployment):
                        cancellation.cancel()
                        return

        thread = Thread(target=look, name="deploycore-cancellation", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _recovered(
        self, application: ApplicationRecord, listener: DeployListener
    ) -> list[DeploymentRecord]:
        releases = Releases(application.definition.target)

        def note(text: str) -> None:
            logger.warning("%s: %s", application.name, text)

        with self._presence.alone(application.name) as is_alone:
            settled = []
            try:
                # Where the directory is gone, there is nothing to lock, nor to clear.
                with releases.locked() if releases.exists() else nullcontext():
                    settled = self._settle(application, note=note, listener=listener)
            except Locked:
                pass  # it is being deployed
            except ConfigurationError as error:
                if not is_alone or "owner" not in error.details:
                    raise
                # The directory is another application's, so there is nothing to put right.
                settled += [self._ended(each, error) for each in self._unfinished(application.name)]
            except DeployError as error:
                if self._unfinished(application.name):
                    raise
                logger.warning("%s cannot be looked after: %s", application.name, error)
            for record in self._unfinished(application.name):
                if is_alone and record.state == "queued" and record.home == str(self._home):
                    settled.append(self._abandoned(record))
            return settled

    def _abandoned(self, record: DeploymentRecord) -> DeploymentRecord:
        reason = "The process that asked for it ended before its turn came."
        return self._ended(record, Cancelled(reason))

    def _ended(self, record: DeploymentRecord, error: DeploycoreError) -> DeploymentRecord:
        with ExitStack() as stack:
            recorder = self._recorder(record, stack)
            recorder.end(error)
            return recorder.record

    def _unfinished(self, name: str, *, everywhere: bool = False) -> list[DeploymentRecord]:
        """What has no end on record of this machine's; of others nobody here can tell, unless
        the application's claim says that nobody else works on it."""
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
        """Settle what dead processes left, then clean up; for who holds the target's lock."""
        releases = Releases(application.definition.target)
        claim_target(application.name, releases, self._target_of)
        settled = []
        orphans = end_orphans(releases.step_record)
        for record in self._unfinished(application.name, everywhere=everywhere):
            if record.id == but or record.state == "queued":
                continue
            with ExitStack() as stack:
                recorder = self._recorder(record, stack, (listener,))
                if orphans:
                    recorder.note(f"{orphans} processes of its step ran on, and are ended")
                nobody = Cancellation()
                run = self._run(application, recorder, nobody, nobody.shielded)
                settle(releases, recorder, run.activation)
                run.clean_up()
                if not recorder.record.is_finished:
                    raise DeployError(
                        f"The interrupted deployment {record.id} of {application.name} could not"
                        " be recovered.",
                        hint=f"See the reason: deploycore logs {record.id}. Then run: deploycore"
                        " recover",
                        deployment=record.id,
                    )
                settled.append(recorder.record)
        Cleaning(releases, application.name, self._store, note).before()
        return settled

    def _releases(self, application: ApplicationRecord) -> list[Release]:
        of_releases = self._store.deployments.of_releases
        return list_releases(
            Releases(application.definition.target), partial(of_releases, application.name)
        )

    def _former(
        self, application: ApplicationRecord, to: str | None
    ) -> tuple[Path, DeploymentRecord]:
        """The release to go back to, and what made it.

        Raises:
            ConfigurationError: There is none, it is live, or it never worked; or releases of
                several commits are meant.
        """
        found = self._releases(application)
        if to is None:
            return self._way_back(application, found)
        former = _named(found, to)
        if former is not None and former.name != to:
            _refuse_ambiguous(application.name, found, to)
        if former is None:
            problem = "does not exist"
        elif former.is_live:
            problem = "is live already"
        elif former.deployment is None or former.deployment.state != "healthy":
            problem = "is not known to have worked"
        else:
            return former.path, former.deployment
        raise ConfigurationError(
            f"The release {to!r} of {application.name} {problem}.",
            hint=("" if former else _similar(found, to))
            + f"List the releases: deploycore releases {application.name}",
            application=application.name,
        )

    def _way_back(
        self, application: ApplicationRecord, found: Sequence[Release]
    ) -> tuple[Path, DeploymentRecord]:
        names = [each.name for each in found]
        live = next((each for each in found if each.is_live), None)
        history = self._store.deployments.release_history(application.name, names)
        name = find_way_back(names, live.name if live else None, history)
        for each in found:
            if each.name == name and each.deployment is not None:
                return each.path, each.deployment
        commit = (live and live.deployment and live.deployment.commit) or ""
        raise ConfigurationError(
            f"The application {application.name} has no release to roll back to: none on the disk"
            " has another commit"
            + (f" than {commit[:12]}, which is live," if commit else "")
            + " that worked before and was not rolled back from.",
            hint=_choose(application.name, has_others=any(not each.is_live for each in found)),
            application=application.name,
        )

    def _forget_old(self, application: ApplicationRecord, newest: DeploymentRecord) -> None:
        """What is known of deployments of long ago; that this fails fails no deployment."""
        try:
            gone = self._store.deployments.forget(
                application.name,
                days=application.definition.history_days,
                before=newest.id,
                but=Releases(application.definition.target).names(),
            )
        except DeploycoreError as error:
            logger.warning("old deployments of %s are not forgotten: %s", application.name, error)
        else:
            self.logs.remove(application.name, gone)


def _choose(name: str, *, has_others: bool) -> str:
    if not has_others:
        return f"Deploy another commit: deploycore deploy {name}"
    return (
        f"List the releases: deploycore releases {name}. Then choose one:"
        f" deploycore rollback {name} --to RELEASE"
    )


def _refuse_elsewhere(application: ApplicationRecord) -> None:
    """Leave an application that names its machine to that one."""
    host = application.definition.host
    if host not in (None, socket.gethostname()):
        raise ConfigurationError(
            f"The application {application.name!r} is deployed by the machine {host!r}, and this"
            f" machine is {socket.gethostname()!r}.",
            hint=f"Run the command there, or change the host of {application.name}.",
            application=application.name,
            host=host,
        )


def _named(found: Sequence[Release], text: str) -> Release | None:
    """The release of a name or commit: of several copies the live one, else the newest that
    worked."""
    named = [each for each in found if _is_named(each, text)]
    exact = [each for each in named if each.name == text]
    live = [each for each in named if each.is_live]
    good = [each for each in named if each.deployment and each.deployment.state == "healthy"]
    return next(iter([*exact, *live, *good, *named]), None)


def _refuse_ambiguous(application: str, found: Sequence[Release], text: str) -> None:
    """Refuse what several commits begin with."""
    named = [each for each in found if _is_named(each, text)]
    commits = {each.deployment.commit for each in named if each.deployment}
    if len(commits) > 1:
        raise ConfigurationError(
            f"The commit {text!r} is ambiguous: releases of {len(commits)} commits of"
            f" {application} match.",
            hint=f"Give the name of a release or more of its commit: {_listed(named)}",
            application=application,
            releases=[each.name for each in named],
        )


def _similar(found: Sequence[Release], text: str) -> str:
    """Which releases may be meant by too little of a name or commit."""
    begin = [
        each
        for each in found
        if text and (each.name.startswith(text) or _commit(each).startswith(text))
    ]
    if not begin:
        return ""
    return f"Give a full name, or {_SHORT} characters of a commit: {_listed(begin)}. "


def _listed(releases: Sequence[Release]) -> str:
    """Some releases, each with its commit."""
    shown = [f"{each.name} ({_commit(each) or 'commit unknown'})" for each in releases[:_LISTED]]
    rest = len(releases) - len(shown)
    return ", ".join(shown) + (f", and {rest} more" if rest else "")


def _commit(release: Release) -> str:
    return (release.deployment and release.deployment.commit) or ""


def _is_named(release: Release, text: str) -> bool:
    return release.name == text or (len(text) >= _SHORT and _commit(release).startswith(text))
