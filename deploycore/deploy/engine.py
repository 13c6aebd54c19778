"""The deploy engine: deployments, rollbacks and recovery, one at a time for an application."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from pydantic import SecretStr

from deploycore.application import SecretSource
from deploycore.deploy.activation import typed_error
from deploycore.deploy.events import DeployListener, no_listener
from deploycore.deploy.lifecycle import Lifecycle
from deploycore.deploy.log import Logs
from deploycore.deploy.recorder import Recorder
from deploycore.deploy.recovery import settle
from deploycore.deploy.releases import Releases
from deploycore.deploy.run import Environment, Git, Run
from deploycore.deploy.turns import Presence, wait_for_turn
from deploycore.errors import (
    Cancelled,
    ConfigurationError,
    DeploycoreError,
    DeployError,
    Locked,
    StoreError,
)
from deploycore.git import Cancellation, GitSettings, RepositoryCache, Reuse
from deploycore.observers import Observers, installed_observers
from deploycore.provider import Provider
from deploycore.secrets import SecretBox
from deploycore.store import ApplicationRecord, DeploymentRecord, Store

__all__ = ["Engine", "Outcome", "Release"]

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
_SHORT = 7  # what a commit may be shortened to
_STORED = "stored"


@dataclass(frozen=True)
class Release:
    """A release that is on disk.

    Attributes:
        path: Its directory.
        is_live: Whether ``current`` leads to it.
        deployment: What made it; ``None`` where that is no longer known.
    """

    name: str
    path: Path
    is_live: bool
    deployment: DeploymentRecord | None


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


class Engine:
    """Deploys the applications of a store.

    Args:
        open_provider: Opens a configured provider, by its name.
        home: Where logs and locks are.
        git_cache: What was fetched before; without it all is fetched and written anew.
        observers: Who is told of deployments; by default the installed ones.
    """

    def __init__(
        self,
        store: Store,
        secrets: SecretBox,
        open_provider: Callable[[str], Provider],
        *,
        home: Path,
        git_cache: RepositoryCache | None = None,
        git_settings: GitSettings | None = None,
        observers: Observers | None = None,
    ) -> None:
        self.logs = Logs(home / "logs")
        self._store = store
        self._secrets = secrets
        self._open_provider = open_provider
        self._presence = Presence(home / "locks")
        self._git = Git(git_cache, git_settings or GitSettings())
        self._observers = installed_observers() if observers is None else observers

    def deploy(
        self,
        name: str,
        *,
        requested_by: str = "",
        only_if_changed: bool = False,
        reuse: Reuse | None = None,
        wait: bool = True,
        listener: DeployListener = no_listener,
        cancellation: Cancellation | None = None,
    ) -> DeploymentRecord:
        """Put the newest commit of an application live.

        Waits for its turn where another deployment of the application runs; one that is asked
        for later supersedes those that wait.

        Args:
            requested_by: Who or what asked for it, for the history.
            only_if_changed: Whether to leave it at that where the commit is live already, and
                the application has not changed since.
            reuse: Instead of what the application says.
            wait: Whether to wait for a turn.
            listener: Gets each event.
            cancellation: Ends the deployment at the next safe point.

        Returns:
            The deployment as recorded: ``healthy``, or ``skipped``.

        Raises:
            Superseded: A newer one was asked for while it waited.
            Locked: Another one runs, and this one was not to wait.
            DeploycoreError: What went wrong. It is recorded, nothing of it stays in the target,
                and what was live before is live.
        """
        application = self._store.get_application(name)
        releases = Releases(application.definition.target)
        releases.prepare()
        with self._turn(
            application,
            lambda: self._store.deployments.request(
                name, ref=application.definition.ref, requested_by=requested_by
            ),
            listener,
            cancellation or Cancellation(),
            wait=wait,
        ) as (run, recorder):
            provider = application.definition.provider
            run.deploy(
                lambda: self._open_provider(provider), only_if_changed=only_if_changed, reuse=reuse
            )
        self._forget_old(application)
        return recorder.record

    def deploy_many(
        self,
        names: list[str],
        *,
        parallel: int = 4,
        requested_by: str = "",
        only_if_changed: bool = False,
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
                    only_if_changed=only_if_changed,
                    listener=listener,
                    cancellation=common,
                )
            except DeploycoreError as error:
                known = error.details.get("deployment")
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
            to: The release's name; by default the one that was made before the live one.

        Returns:
            The rollback as recorded: ``healthy``.

        Raises:
            ConfigurationError: There is no such release, or it never worked.
            DeploycoreError: As ``deploy`` does.
        """
        application = self._store.get_application(name)
        release = self._former(application, to)
        if release.deployment is None:
            raise ConfigurationError(
                f"Nothing is known of release {release.name!r}, so it is not put live.",
                hint=f"See what is known: deploycore releases {name}",
                release=release.name,
            )
        made_by = release.deployment
        with self._turn(
            application,
            lambda: self._store.deployments.request(
                name, ref=release.name, requested_by=requested_by, kind="rollback"
            ),
            listener,
            cancellation or Cancellation(),
            wait=wait,
        ) as (run, recorder):
            # It may have been pruned meanwhile.
            run.roll_back(Releases(application.definition.target).path(release.name), made_by)
        return recorder.record

    def releases(self, name: str) -> list[Release]:
        """The releases of an application that are on disk, the newest first.

        Raises:
            ConfigurationError: There is no such application.
        """
        application = self._store.get_application(name)
        return self._releases(application)

    def recover(self) -> list[DeploymentRecord]:
        """Bring all deployments whose processes have died to their true end; see ``recovery``.

        What runs in another process is left alone.

        Returns:
            The deployments that had no end on record until now.

        Raises:
            StoreError: The database can't be used.
        """
        return [
            record
            for application in self._store.list_applications()
            for record in self._recovered(application)
        ]

    def cancel(self, deployment: int) -> DeploymentRecord:
        """Ask for a deployment to stop, in whatever process it is.

        Raises:
            ConfigurationError: There is no such deployment, or it has come to an end.
        """
        return self._store.deployments.request_cancellation(deployment)

    @contextmanager
    def _turn(
        self,
        application: ApplicationRecord,
        request: Callable[[], DeploymentRecord],
        listener: DeployListener,
        cancellation: Cancellation,
        *,
        wait: bool,
    ) -> Iterator[tuple[Run, Recorder]]:
        """Record a request, wait for its turn, and record whatever ends it."""
        own = Cancellation()
        releases = Releases(application.definition.target)
        with ExitStack() as stack:
            stack.enter_context(cancellation.waking(own.cancel))
            stack.enter_context(self._presence.present(application.name))
            record = request()
            log = stack.enter_context(self.logs.open(application.name, record.id))
            lifecycle = stack.enter_context(Lifecycle(self._observers))
            recorder = Recorder(record, self._store, lifecycle, (log.write, listener))
            try:
                stack.enter_context(self._watching(record.id, own))
                recorder.begin()
                stack.enter_context(wait_for_turn(releases, record, self._store, own, wait=wait))
                self._settle(application, but=record.id)
                environment = self._environment(application)
                lifecycle.started(record)
                yield self._run(application, environment, recorder, lifecycle, own), recorder
            except BaseException as raised:
                error = typed_error(raised)
                error.add_context(application=application.name, deployment=record.id)
                recorder.end(error)
                raise

    def _run(
        self,
        application: ApplicationRecord,
        environment: Environment,
        recorder: Recorder,
        lifecycle: Lifecycle,
        cancellation: Cancellation,
    ) -> Run:
        return Run(
            application,
            environment,
            recorder,
            store=self._store,
            lifecycle=lifecycle,
            git=self._git,
            cancellation=cancellation,
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

    def _recovered(self, application: ApplicationRecord) -> list[DeploymentRecord]:
        releases = Releases(application.definition.target)
        with self._presence.alone(application.name) as is_alone:
            settled = []
            try:
                # Where the directory is gone, there is nothing to lock, nor to clear.
                with releases.locked() if releases.exists() else nullcontext():
                    settled = self._settle(application)
            except Locked:
                pass
            except DeployError as error:
                # The others are none the worse for it.
                logger.warning("%s can't be recovered: %s", application.name, error)
            for record in self._store.deployments.unfinished(application.name):
                if is_alone and record.state == "queued":
                    ended = Cancelled("The process that asked for it ended before its turn came.")
                    settled.append(self._ended(record, ended))
            return settled

    def _ended(self, record: DeploymentRecord, error: DeploycoreError) -> DeploymentRecord:
        with (
            self.logs.open(record.application, record.id) as log,
            Lifecycle(self._observers) as lifecycle,
        ):
            recorder = Recorder(record, self._store, lifecycle, (log.write,))
            recorder.end(error)
            return recorder.record

    def _settle(
        self, application: ApplicationRecord, *, but: int | None = None
    ) -> list[DeploymentRecord]:
        """Settle what dead processes left; for who holds the target's lock."""
        releases = Releases(application.definition.target)
        settled = []
        for record in self._store.deployments.unfinished(application.name):
            if record.id == but or record.state == "queued":
                continue
            with (
                self.logs.open(application.name, record.id) as log,
                Lifecycle(self._observers) as lifecycle,
            ):
                recorder = Recorder(record, self._store, lifecycle, (log.write,))
                environment: Environment = {}
                try:
                    environment = self._environment(application)
                except DeploycoreError as error:
                    recorder.note(f"steps get no environment: {error.message}")
                run = self._run(application, environment, recorder, lifecycle, Cancellation())
                settle(application.definition, releases, recorder, run.activation)
                settled.append(recorder.record)
        releases.clear()
        return settled

    def _environment(self, application: ApplicationRecord) -> Environment:
        """The application's variables, secrets revealed.

        Raises:
            ConfigurationError: A secret is not where it should be.
            StoreError: The key of stored ones can't be used.
        """
        found: dict[str, str | SecretStr] = {}
        for name, value in application.definition.environment.items():
            if not isinstance(value, SecretSource):
                found[name] = value
                continue
            stored = value.secret
            if stored == _STORED:
                stored = application.secrets.get(name, "")
            else:
                stored = self._secrets.keep_reference(stored)
            if not stored:
                raise ConfigurationError(
                    f"The variable {name} of {application.name} is to be stored here, but is not.",
                    hint=f"Store it: deploycore app secret {application.name} {name}",
                    application=application.name,
                )
            found[name] = self._secrets.reveal(stored)
        return found

    def _releases(self, application: ApplicationRecord) -> list[Release]:
        on_disk = Releases(application.definition.target)
        names, current = on_disk.names(), on_disk.current
        known = self._store.deployments.of_releases(application.name, names)
        found = [
            Release(name, path, path == current, known.get(name))
            for name, path in ((name, on_disk.directory / name) for name in names)
        ]
        return sorted(found, key=lambda each: (_order(each), each.name), reverse=True)

    def _former(self, application: ApplicationRecord, to: str | None) -> Release:
        """The release to go back to.

        Raises:
            ConfigurationError: There is none.
        """
        found = self._releases(application)
        live = next((each for each in found if each.is_live), None)
        if to is None:
            before = (each for each in found if each.deployment and _order(each) < _order(live))
            former = next(before, None)
        else:
            former = next((each for each in found if _is_named(each, to)), None)
        if former is None or former == live:
            wanted = f"release {to!r}" if to else "release before the live one"
            problem = "is live already" if former else "is not there"
            raise ConfigurationError(
                f"The {wanted} of {application.name} {problem}.",
                hint=f"See which there are: deploycore releases {application.name}",
                application=application.name,
            )
        return former

    def _forget_old(self, application: ApplicationRecord) -> None:
        """What is known of deployments of long ago; that this fails fails no deployment."""
        try:
            gone = self._store.deployments.forget(
                application.name,
                days=application.definition.history_days,
                but=Releases(application.definition.target).names(),
            )
        except StoreError as error:
            logger.warning("old deployments of %s are not forgotten: %s", application.name, error)
        else:
            self.logs.remove(application.name, gone)


def _order(release: Release | None) -> int:
    """In which order releases were made; one of which nothing is known is the oldest."""
    if release is None:
        return sys.maxsize
    return release.deployment.id if release.deployment else 0


def _is_named(release: Release, text: str) -> bool:
    commit = (release.deployment and release.deployment.commit) or ""
    return release.name == text or (len(text) >= _SHORT and commit.startswith(text))
