"""The Python API: the providers and applications that are configured on this machine.

An :class:`Installation` joins the store, the secrets, the providers and the deploy engine, for the
command line, the server, workers, and programs that ``import deploycore``. Calls import the
database, HTTP and git only when they need them, so that ``--help`` is fast.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

from deploycore.installation.patterns import refuse_unusable_patterns
from deploycore.installation.repository_names import read_repository_of
from deploycore.once import made_once
from deploycore.records import record
from deploycore.secrets import SecretBox
from deploycore.settings import Settings

if TYPE_CHECKING:
    from pydantic import SecretStr

    from deploycore.applications.application import Application
    from deploycore.applications.files import Change
    from deploycore.deploy import DeployListener, Engine, Release
    from deploycore.deployment_records import DeploymentCause
    from deploycore.git import Cancellation, GitSettings, RepositoryCache, Reuse
    from deploycore.http import HttpSettings
    from deploycore.installation.application_removal import Removals
    from deploycore.installation.connections import Connections
    from deploycore.installation.deploy_keys import DeployKeys
    from deploycore.installation.provider_changes import ProviderChanges
    from deploycore.installation.webhooks import Webhooks
    from deploycore.models import RepositoryId
    from deploycore.provider import Provider
    from deploycore.store import ApplicationRecord, DeploymentRecord, ProviderRecord, Store

__all__ = ["Installation", "SecretReference"]


@record
class SecretReference:
    """A place from which a secret is read each time: ``env:NAME`` or ``file:PATH``."""

    text: str


class Installation:
    """The providers and applications of one machine.

    Use it as a context manager, or ``close`` it. Its methods are operations that need several
    parts. What is only read or written in the database is called on ``store`` directly.

    Args:
        settings: The data directory and the database (default: from environment variables).
        http_settings: Timeouts, retries and limits of the providers' HTTP clients.
        git_settings: Timeouts and limits of git.

    Attributes:
        store: The database: providers, applications, deployments, the queue, webhooks, tokens.
        secrets: Encrypts secrets and reads them.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        http_settings: HttpSettings | None = None,
        git_settings: GitSettings | None = None,
    ) -> None:
        settings = settings or Settings.from_environment()
        self.secrets = SecretBox(
            settings, sealed_secrets_exist=lambda: self.store.holds_sealed_secrets()
        )
        self._settings = settings
        self._store: Store | None = None
        self._store_lock = Lock()
        self._http_settings = http_settings
        self._git_settings = git_settings

    @property
    def store(self) -> Store:
        """The database."""
        from deploycore.store import Store

        with self._store_lock:
            self._store = self._store or Store(self._settings)
            return self._store

    @property
    def settings(self) -> Settings:
        """The data directory and the database."""
        return self._settings

    @property
    def git_settings(self) -> GitSettings:
        """Timeouts and limits of git."""
        from deploycore.git import GitSettings

        return self._git_settings or GitSettings()

    @property
    def git_cache(self) -> RepositoryCache:
        """The cache of repositories that were fetched."""
        from deploycore.git import RepositoryCache

        return RepositoryCache(self._settings.git_cache)

    def add_provider(
        self,
        name: str,
        kind: str,
        settings: Mapping[str, str],
        secrets: Mapping[str, SecretStr | SecretReference],
        *,
        verify: Callable[[Provider], object] | None = None,
    ) -> ProviderRecord:
        """Validate a provider's configuration and store it. No request is sent without ``verify``.

        Args:
            name: The provider's name in this installation.
            kind: The plugin's kind.
            settings: The fields of the plugin's ``Config`` that are not secret.
            secrets: The secret fields: values, which are stored encrypted, or references.
            verify: Called with the opened provider, for example ``Provider.authenticate``. If it
                raises, nothing is stored.

        Raises:
            ConfigurationError: A value is missing or invalid, the name is already used, or a
                reference cannot be read.
            PluginError: The plugin is faulty.
            StoreError: The database cannot be written.
        """
        return self.provider_changes.add(name, kind, settings, secrets, verify=verify)

    def open_provider(self, name: str) -> Provider:
        """Open a configured provider, to use as a context manager.

        Raises:
            ConfigurationError: The provider does not exist, its plugin is not installed, or a
                reference to one of its secrets cannot be read.
            PluginError: The plugin is faulty.
            StoreError: The database or the key cannot be used.
        """
        return self._connections.open(name)

    def open_application_provider(self, definition: Application) -> Provider:
        """Open the provider of an application. Git uses the application's own SSH key, if it has
        one, in place of the provider's credentials.

        Raises:
            ConfigurationError, PluginError, StoreError: As for ``open_provider``.
        """
        from deploycore.deploy.own_key import open_with_own_key

        return open_with_own_key(definition, self.open_provider, self.store, self.secrets)

    @made_once
    def _connections(self) -> Connections:
        from deploycore.installation.connections import Connections

        home = self._settings.home
        return Connections(
            lambda: self.store, self._provider_record, self.secrets, self._http_settings, home
        )

    @property
    def provider_changes(self) -> ProviderChanges:
        """Changes settings and replaces secrets of configured providers."""
        from deploycore.installation.provider_changes import ProviderChanges

        return ProviderChanges(self.store, self.secrets, self._http_settings)

    def _provider_record(self, name: str) -> ProviderRecord:
        if self._store is None:  # if nothing else has needed the store, it need not be imported
            from deploycore.store.listing import read_listing

            found = read_listing(lambda listing: listing.provider(name), self._settings)
            if found is not None:
                return found
        return self.store.get_provider(name)

    def add_application(
        self,
        name: str,
        *,
        provider: str,
        repository: RepositoryId | str,
        target: Path | str,
        ref: str | None = None,
        branch: str | None = None,
        verify: bool = False,
        **more: Any,
    ) -> ApplicationRecord:
        """Create an application. Nothing is fetched or written to the target.

        Args:
            name: The application's name.
            provider: The name of a configured provider.
            repository: ``owner/slug``, or an address of it on the provider's host.
            target: The directory for releases; a relative path is made absolute.
            ref: A branch, a tag, or the full hash of a commit.
            branch: Another name for ``ref``.
            verify: Whether to check first that the repository and the ref exist at the git host.
            more: Any other field of :class:`deploycore.applications.application.Application`.

        Raises:
            ConfigurationError: A value is invalid, the provider does not exist, the name is
                already used, another application has the target, or the target has other files.
            NotFound: With ``verify``: the repository or the ref does not exist.
            ProviderError, GitError, PluginError: With ``verify``: the check failed.
            StoreError: The database cannot be written.
        """
        values = {
            "name": name,
            "provider": provider,
            "repository": str(repository),
            "ref": branch if ref is None else ref,
            "target": Path(target).expanduser().absolute(),
        }
        from deploycore.applications.application import parse_application
        from deploycore.installation.targets import refuse_foreign_targets, refuse_taken_targets

        application = self._understood(parse_application({**values, **more}))
        refuse_unusable_patterns(application)
        refuse_taken_targets([application], self.store, self._settings.home)
        may_store = partial(self.store.add_application, application, dry_run=True)
        refuse_foreign_targets([application], may_store)
        if verify:
            may_store()
            self._verify([application])
        return self.store.add_application(application)

    def apply(
        self,
        applications: Iterable[Application],
        *,
        dry_run: bool = False,
        verify: bool = False,
        revisions: Mapping[str, int] | None = None,
    ) -> list[Change]:
        """Create or update applications: all of them, or none if one is invalid.

        Other applications stay as they are. Applying the same again changes nothing.

        Args:
            applications: For example from ``deploycore.applications.files.read_declaration``.
            dry_run: Whether only to return what would change.
            verify: Whether to check first, also with ``dry_run``, that each new or changed
                repository and ref exists at the git host.
            revisions: The revision that an application must still have, by its name; 0 if it must
                not exist.

        Returns:
            The changes of each application.

        Raises:
            ConfigurationError: A provider does not exist, two applications have the same target, a
                target has other files, or an application has another revision.
            NotFound: With ``verify``: a repository or a ref does not exist.
            ProviderError, GitError, PluginError: With ``verify``: the check failed.
            StoreError: The database cannot be written.
        """
        from deploycore.applications.files import compare
        from deploycore.installation.targets import refuse_foreign_targets, refuse_taken_targets

        wanted = list(map(self._understood, applications))
        for each in wanted:
            refuse_unusable_patterns(each)
        stored = self.store.find_applications({each.name for each in wanted})
        known = {name: record.definition for name, record in stored.items()}
        changes = [compare(known.get(each.name), each) for each in wanted]
        differing = {each.application for each in changes if each.kind != "unchanged"}
        changed = [each for each in wanted if each.name in differing]
        if changed:
            refuse_taken_targets(changed, self.store, self._settings.home)
            may_store = partial(self.store.put_applications, changed, dry_run=True)
            refuse_foreign_targets(changed, may_store)
            if verify:
                may_store()
                self._verify([each for each in changed if _asks_anew(known.get(each.name), each)])
            self.store.put_applications(changed, dry_run=dry_run, revisions=revisions)
        return changes

    def read_repository(self, provider: str, text: str) -> RepositoryId:
        """Parse a repository that a user has entered: ``owner/slug``, or an address at a git host.

        Args:
            provider: The name of the provider for that host.
            text: The text that the user has entered.

        Raises:
            ConfigurationError: The text does not name a repository, or names one on another host.
                Or it is an address, and the provider does not exist.
        """

        return read_repository_of(partial(self.open_provider, provider), text)

    def keep_application_secret(self, name: str, variable: str, secret: SecretStr | None) -> None:
        """Store the value of an application's variable, encrypted.

        Args:
            variable: The name of a variable whose source is ``stored``.
            secret: The value; ``None`` to delete it.

        Raises:
            ConfigurationError: The application does not exist.
            StoreError: The database cannot be written.
        """
        stored = None if secret is None else self.secrets.seal(secret)
        self.store.keep_application_secret(name, variable, stored)

    def remove_application(self, name: str, *, purge: bool = False) -> Path:
        """Remove an application and its webhook at the git host. Its files stay.

        ``removals`` has more options, and returns what could not be removed.

        Args:
            name: The name of the application.
            purge: Whether to delete its history and its logs too.

        Returns:
            The application's target.

        Raises:
            ConfigurationError: The application does not exist, or it is being deployed.
        """
        target = self.store.get_application(name).definition.target
        self.removals.remove(name, purge=purge)
        return target

    @cached_property
    def removals(self) -> Removals:
        """Removes applications with their webhooks, files and previews."""
        from deploycore.installation.application_removal import Removals

        return Removals(self.store, self.webhooks, self.deploy_keys, self.engine.logs)

    @cached_property
    def deploy_keys(self) -> DeployKeys:
        """Manages the SSH keys of applications and providers, which deploycore creates and
        registers at the host."""
        from deploycore.installation.deploy_keys import DeployKeys

        return DeployKeys(
            self.store,
            self.secrets,
            self.open_provider,
            self.provider_changes,
            self.git_settings,
        )

    @cached_property
    def engine(self) -> Engine:
        """The deploy engine: deployments, rollbacks, recovery and logs."""
        from deploycore.deploy import Engine

        return Engine(
            self.store,
            self.secrets,
            self.open_provider,
            home=self._settings.home,
            git_cache=lambda: self.git_cache,
            git_settings=self.git_settings,
        )

    @cached_property
    def webhooks(self) -> Webhooks:
        """Manages applications' webhooks: their secrets, and registration at the git host."""
        from deploycore.installation.webhooks import Webhooks

        return Webhooks(self.store, self.secrets, self.open_provider, self._settings.public_url)

    def deploy(
        self,
        application: str,
        *,
        requested_by: str = "",
        cause: DeploymentCause = "",
        force: bool = False,
        automatic: bool = False,
        only_if_changed: bool | None = None,
        reuse: Reuse | None = None,
        wait: bool = True,
        claimed: bool = False,
        listener: DeployListener | None = None,
        cancellation: Cancellation | None = None,
    ) -> DeploymentRecord:
        """Deploy an application's newest commit; see :meth:`deploycore.deploy.Engine.deploy`.

        Args:
            cause: Why it is requested, for observers.
            only_if_changed: Deprecated and ignored. A commit that is already live is skipped
                unless ``force`` is set.
        """
        from deploycore.deploy import DeployRequest, no_listener

        if only_if_changed is not None:
            warnings.warn(
                "only_if_changed is deprecated: a live commit is skipped unless force=True.",
                DeprecationWarning,
                stacklevel=2,
            )
        request = DeployRequest(
            requested_by=requested_by,
            cause=cause,
            force=force,
            automatic=automatic,
            reuse=reuse,
            wait=wait,
            claimed=claimed,
            listener=listener or no_listener,
            cancellation=cancellation,
        )
        return self.engine.deploy(application, request)

    def roll_back(
        self,
        application: str,
        *,
        to: str | None = None,
        requested_by: str = "",
        wait: bool = True,
        listener: DeployListener | None = None,
        cancellation: Cancellation | None = None,
    ) -> DeploymentRecord:
        """Roll back to a previous release; see :meth:`deploycore.deploy.Engine.roll_back`."""
        from deploycore.deploy import DeployRequest, no_listener

        request = DeployRequest(
            requested_by=requested_by,
            wait=wait,
            listener=listener or no_listener,
            cancellation=cancellation,
        )
        return self.engine.roll_back(application, request, to=to)

    def releases(self, application: str) -> list[Release]:
        """List the releases of an application that are on disk, the newest first."""
        return self.engine.releases(application)

    def recover(
        self, application: str | None = None, *, listener: DeployListener | None = None
    ) -> list[DeploymentRecord]:
        """Finish deployments that a crash left unfinished. Call it when a service starts."""
        from deploycore.deploy import no_listener

        return self.engine.recover(application, listener=listener or no_listener)

    def close(self) -> None:
        """Close the database."""
        if self._store is not None:
            self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _understood(self, application: Application) -> Application:
        """Return the application with ``owner/slug`` instead of an address of its repository."""
        repository = str(self.read_repository(application.provider, application.repository))
        return application.model_copy(update={"repository": repository})

    def _verify(self, applications: Sequence[Application]) -> None:
        from deploycore.installation.verification import verify_applications

        verify_applications(applications, self.open_application_provider, self.git_settings)


def _asks_anew(before: Application | None, after: Application) -> bool:
    """Whether the repository or the ref of an application is new or changed."""
    fields = ("provider", "repository", "ref")
    return any(getattr(before, field, None) != getattr(after, field) for field in fields)
