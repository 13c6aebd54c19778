"""What is configured on this machine, as one object: the Python API behind every door.

An :class:`Installation` joins the store, the secrets and the providers, so that the command
line, and programs that ``import deploycore``, say what they want in one call each. The
database, HTTP and git are imported by the calls that need them: help waits for none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import SecretStr

from deploycore.configuration import parse_config
from deploycore.models import RepositoryId
from deploycore.registry import load_plugin
from deploycore.secrets import SecretBox
from deploycore.settings import Settings

if TYPE_CHECKING:
    from deploycore.deploy import DeployListener
    from deploycore.git import Cancellation, GitSettings, RepositoryCache, Reuse
    from deploycore.http import HttpSettings
    from deploycore.provider import Provider
    from deploycore.store import ApplicationRecord, DeploymentRecord, ProviderRecord

__all__ = ["Installation", "SecretReference"]


@dataclass(frozen=True)
class SecretReference:
    """Where a secret is to be found each time it is needed: ``env:NAME`` or ``file:PATH``."""

    text: str


class Installation:
    """The providers and applications of one machine.

    Use it as a context manager, or ``close`` it.

    Args:
        settings: Where everything is kept; by default what the environment says.
        http_settings: Timeouts, retries and limits of the providers' HTTP clients.
        git_settings: Timeouts and limits of git.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        http_settings: HttpSettings | None = None,
        git_settings: GitSettings | None = None,
    ) -> None:
        from deploycore.store import Store

        settings = settings or Settings.from_environment()
        self.store = Store(settings)
        self.secrets = SecretBox(settings, sealed_secrets_exist=self.store.holds_sealed_secrets)
        self._settings = settings
        self._http_settings = http_settings
        self._git_settings = git_settings

    @property
    def git_cache(self) -> RepositoryCache:
        """The repositories that deployments have fetched."""
        from deploycore.git import RepositoryCache

        return RepositoryCache(self._settings.git_cache)

    def add_provider(
        self,
        name: str,
        kind: str,
        settings: Mapping[str, str],
        secrets: Mapping[str, SecretStr | SecretReference],
    ) -> ProviderRecord:
        """Validate a provider's configuration and keep it. No request is sent.

        Args:
            name: The user's name for it.
            kind: The plugin's kind.
            settings: The fields of the plugin's ``Config`` that are no secrets.
            secrets: The fields that are: values, which are stored encrypted, or references.

        Raises:
            ConfigurationError: A value is missing or wrong, the name is taken, or a
                reference leads nowhere.
            PluginError: The plugin is broken.
            StoreError: It can't be written.
        """
        from deploycore.store import ProviderRecord

        plugin = load_plugin(kind)
        revealed: dict[str, SecretStr] = {}
        for field, secret in secrets.items():
            if isinstance(secret, SecretReference):
                stored = self.secrets.keep_reference(secret.text)
                revealed[field] = self.secrets.reveal(stored)
            else:
                revealed[field] = secret
        parse_config(plugin.config_type, {"name": name, **settings, **revealed}, kind=plugin.kind)
        record = ProviderRecord(
            name=name,
            kind=plugin.kind,
            settings=dict(settings),
            secrets={field: self._stored(secret) for field, secret in secrets.items()},
            created_at=datetime.now(UTC),
        )
        self.store.add_provider(record)
        return record

    def open_provider(self, name: str) -> Provider:
        """The handle on a configured provider, to use as a context manager.

        Raises:
            ConfigurationError: There is no provider of this name, its plugin is not
                installed, or a reference of its secrets leads nowhere.
            PluginError: The plugin is broken.
            StoreError: The database or the key can't be used.
        """
        from deploycore.provider import Provider

        record = self.store.get_provider(name)
        secrets = {field: self.secrets.reveal(stored) for field, stored in record.secrets.items()}
        plugin = load_plugin(record.kind)
        values = {"name": name, **record.settings, **secrets}
        config = parse_config(plugin.config_type, values, kind=plugin.kind)
        return Provider(plugin, config, http_settings=self._http_settings)

    def add_application(
        self,
        name: str,
        *,
        provider: str,
        repository: RepositoryId,
        branch: str,
        target: Path,
        submodules: bool = False,
    ) -> ApplicationRecord:
        """Say what to deploy where. Nothing is fetched or written to the target.

        Args:
            name: The user's name for it.
            provider: The name of a configured provider.
            target: The directory for releases; made absolute.

        Raises:
            ConfigurationError: The provider is unknown, the name is taken, or another
                application has the target.
            StoreError: It can't be written.
        """
        from deploycore.store import ApplicationRecord

        record = ApplicationRecord(
            name=name,
            provider=provider,
            owner=repository.owner,
            slug=repository.slug,
            branch=branch,
            target=target.expanduser().absolute(),
            submodules=submodules,
            created_at=datetime.now(UTC),
        )
        self.store.add_application(record)
        return record

    def deploy(
        self,
        application: str,
        *,
        requested_by: str = "",
        reuse: Reuse = "copy",
        progress: DeployListener | None = None,
        cancellation: Cancellation | None = None,
    ) -> DeploymentRecord:
        """Deploy an application's newest commit; see :func:`deploycore.deploy.deploy`."""
        from deploycore.deploy import deploy, no_deploy_progress
        from deploycore.git import Cancellation

        record = self.store.get_application(application)
        return deploy(
            record,
            self.store,
            lambda: self.open_provider(record.provider),
            requested_by=requested_by,
            git_cache=self.git_cache,
            reuse=reuse,
            progress=progress or no_deploy_progress,
            cancellation=cancellation or Cancellation(),
            git_settings=self._git_settings,
        )

    def close(self) -> None:
        """Close the database."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _stored(self, secret: SecretStr | SecretReference) -> str:
        if isinstance(secret, SecretReference):
            return self.secrets.keep_reference(secret.text)
        return self.secrets.seal(secret)
