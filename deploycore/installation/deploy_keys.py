"""Deploy keys: SSH keys that deploycore creates, registers at the git host, replaces and removes.

Each change at the host is recorded before and after it. So after a crash at any point, there is a
key that works, and each key that the host may have is listed. A key is used as soon as the host
accepts it, and removed at the host as soon as another one is in use. Each step can be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Literal, NoReturn

from deploycore.errors import (
    ConfigurationError,
    DeploycoreError,
    KeyRefused,
    PermissionDenied,
    ProviderUnavailable,
    RemoteRefused,
)
from deploycore.events import DeployKey
from deploycore.installation.deploy_key_results import (
    KeyOutcome,
    KeyOwner,
    KeyUse,
    ListedKey,
    RemainingKey,
)
from deploycore.installation.repository_names import read_repository_of
from deploycore.models import RepositoryId
from deploycore.provider.background import Unanswered, call_within
from deploycore.secrets import SecretBox, is_sealed
from deploycore.ssh.library import require_extra
from deploycore.ssh.making import KeyType, fingerprint_of, is_pair, make_key_pair, type_of
from deploycore.store import DeployKeyRecord, Store

if TYPE_CHECKING:
    from deploycore.applications.application import Application
    from deploycore.git import GitSettings
    from deploycore.installation.provider_changes import ProviderChanges
    from deploycore.provider import Provider

__all__ = ["DeployKeys", "KeyOutcome", "KeyOwner", "ListedKey", "RemainingKey"]

_SECONDS = 60.0


class DeployKeys:
    """The deploy keys of an installation.

    Args:
        open_provider: Opens a configured provider, by its name.
        changes: Changes the secrets of providers.
        git_settings: Timeouts and limits of git.
    """

    def __init__(
        self,
        store: Store,
        secrets: SecretBox,
        open_provider: Callable[[str], Provider],
        changes: ProviderChanges,
        git_settings: GitSettings,
    ) -> None:
        self._store = store
        self._secrets = secrets
        self._open_provider = open_provider
        self._changes = changes
        self._git_settings = git_settings

    def owner(self, name: str, noun: Literal["application", "provider"] | None = None) -> KeyOwner:
        """Find the owner of a key by name.

        Args:
            noun: Whether the name is an application or a provider, if both have this name.

        Raises:
            ConfigurationError: Neither an application nor a provider has this name, or both have
                it.
        """
        if noun is None:
            is_application, is_provider = self._store.deploy_keys.owner_of(name)
            if is_application and is_provider:
                raise ConfigurationError(
                    f"Both an application and a provider are named {name!r}.",
                    hint="Add --of application or --of provider.",
                    name=name,
                )
            noun = "application" if is_application else "provider"
        if noun == "provider":
            return KeyOwner(None, self._store.get_provider(name).name)
        return KeyOwner(name, self._store.get_application(name).definition.provider)

    def create(
        self, owner: KeyOwner, *, kind: KeyType | None = None, repositories: Sequence[str] = ()
    ) -> KeyOutcome:
        """Create a key, register it, test it, and use it. To try again, call it again.

        Args:
            kind: The type of the key (default: the type of a key that waits for the host to accept
                it, or else Ed25519). A waiting key of another type is replaced.
            repositories: The repositories to register a provider's key for (default: those of the
                provider's applications).

        Returns:
            The key. It is in use as soon as the git host accepts it.

        Raises:
            ConfigurationError: There is already a key, or no repository to test it with.
            ProviderError: The host cannot be reached, or rejects the key.
            GitError: The key is registered, but the SSH server does not accept it.
        """
        keys = self._of(owner)
        # A process that ended early may have given the provider a key that is recorded as waiting.
        has_new = any(each.state == "new" and self._is_of_provider(each) for each in keys)
        is_live = any(each.state == "live" for each in keys)
        if not has_new and (is_live or self._has_own_key(owner)):
            raise ConfigurationError(
                f"The {owner.noun} {owner.name!r} has an SSH key already.",
                hint=f"Replace it: deploycore key rotate {owner.name}",
                name=owner.name,
            )
        return self._bring(owner, kind, repositories)

    def rotate(
        self, owner: KeyOwner, *, kind: KeyType | None = None, repositories: Sequence[str] = ()
    ) -> KeyOutcome:
        """Replace the key. The previous key is removed at the host when the new one is in use.

        Raises:
            ConfigurationError: There is no key, or no repository to test it with.
            ProviderError, GitError: As for ``create``; the previous key stays in use.
        """
        is_live = any(each.state == "live" for each in self._of(owner))
        if not (is_live or self._has_own_key(owner)):
            _raise_missing(owner)
        return self._bring(owner, kind, repositories)

    def listed(self, owner: KeyOwner | None = None) -> Sequence[ListedKey]:
        """List keys, and whether git uses them.

        Args:
            owner: Whose keys (default: all keys, those of providers first).
        """
        found = self._store.deploy_keys.list() if owner is None else self._of(owner)
        return [ListedKey(each, self._use_of(each)) for each in found]

    def remove(
        self, owner: KeyOwner, *, left_over: bool = False, at_host: bool = True
    ) -> tuple[RemainingKey, ...]:
        """Remove the keys of an application or a provider, here and at the host.

        Git then uses the provider's other credentials.

        Args:
            left_over: Whether to remove only keys that git does not use any more.
            at_host: Whether to remove them at the host too.

        Returns:
            The keys that a person has to remove at the host.

        Raises:
            ConfigurationError: There is no such key.
            ProviderError: The host rejects the request, or cannot be reached. The key is then kept.
        """
        keys = [each for each in self._of(owner) if not left_over or self._is_left_over(each)]
        if not keys:
            _raise_missing(owner, left_over=left_over)
        remains: list[RemainingKey] = []
        for key in keys:
            found = self.remove_at_host(key, ask=at_host)
            for each in found:
                if each.error is not None:
                    raise each.error
            remains += found
            if self._is_of_provider(key):
                change = self._changes.plan(key.provider, {}, {"ssh_private_key": None})
                self._changes.store(change)
            self._store.deploy_keys.remove(key)
        return tuple(remains)

    def remove_at_host_in_time(self, key: DeployKeyRecord) -> list[RemainingKey]:
        """Remove a key from the host, but wait for the host at most a minute.

        Returns:
            The places where the key may still be.
        """
        try:
            return call_within(partial(self.remove_at_host, key), _SECONDS)
        except Unanswered:
            error = ProviderUnavailable(f"The git host did not answer within {_SECONDS:g} s.")
            return [RemainingKey(key, each, error=error) for each in key.registered or [""]]

    def remove_at_host(self, key: DeployKeyRecord, *, ask: bool = True) -> list[RemainingKey]:
        """Remove a key from the host, for each repository; return the places where it may still
        be."""
        if not key.registered:
            return [RemainingKey(key, page=self._page(key))]
        remains = []
        left = dict(key.registered)
        for repository, number in key.registered.items():
            try:
                if ask:
                    self._remove_registered(key, repository, number)
                    del left[repository]
                    self._store.deploy_keys.note_registered(key, left or {repository: ""})
                    continue
                error = None
            except DeploycoreError as raised:
                error = raised
            remains.append(RemainingKey(key, repository, self._page(key, repository), error))
        return remains

    def _bring(self, owner: KeyOwner, kind: KeyType | None, given: Sequence[str]) -> KeyOutcome:
        require_extra()
        self._refuse_preview(owner)
        repositories = self._repositories(owner, given)
        with self._open_provider(owner.provider) as provider:
            _refuse_without_ssh(provider)
            key = self._new_key(owner, kind)
            secret = self._secrets.reveal(str(key.secret))
            key, by_hand = self._register(provider, key, repositories)
            # A key that cannot read all repositories would replace one that can.
            added_by_hand = [each for each in repositories if not key.registered.get(each)]
            pages = [provider.deploy_keys_page(RepositoryId.parse(each)) for each in added_by_hand]
            provider.use_ssh_key(secret)
            try:
                for each in added_by_hand or repositories[:1]:
                    self._prove(provider, each)
            except (KeyRefused, RemoteRefused):
                if not by_hand:
                    raise
                return KeyOutcome(key, by_hand, tuple(filter(None, pages)))
        if owner.application is None:
            new = {"ssh_private_key": secret, "ssh_passphrase": None}
            change = self._changes.plan(owner.provider, {}, new)
            # a later change is checked against this one
            self._store.deploy_keys.refuse_replaced(key)
            self._changes.store(change)
        self._store.deploy_keys.activate(key)
        return KeyOutcome(replace(key, state="live"), remains=tuple(self._remove_former(owner)))

    def _refuse_preview(self, owner: KeyOwner) -> None:
        """Refuse to create a key for a preview, because it would stay at the host when the preview
        is removed."""
        for preview in self._store.previews.list():
            if preview.name == owner.application:
                raise ConfigurationError(
                    f"The application {owner.name!r} is a preview, and is removed with its pull"
                    " request.",
                    hint="Make a key for the application that it is a preview of: deploycore key"
                    f" create {preview.parent}",
                    name=owner.name,
                )

    def _new_key(self, owner: KeyOwner, kind: KeyType | None) -> DeployKeyRecord:
        repository = None
        if owner.application is not None:
            repository = self._store.get_application(owner.application).definition.repository
        wanted = (owner.provider, repository)
        for known in self._of(owner):
            if known.state != "new":
                continue
            is_wanted_type = kind in (None, type_of(known.public_key))
            if is_wanted_type and (known.provider, known.repository) == wanted:
                return known
            self._store.deploy_keys.give_up(known)
        private, public = make_key_pair(kind or "ed25519")
        return self._store.deploy_keys.add(
            application=owner.application,
            provider=owner.provider,
            repository=repository,
            public_key=public,
            secret=self._secrets.seal(private),
        )

    def _register(
        self, provider: Provider, key: DeployKeyRecord, repositories: Sequence[str]
    ) -> tuple[DeployKeyRecord, str]:
        """Register a key for repositories; return why a person has to do it if these credentials
        may not."""
        if not provider.supports("add_deploy_key"):
            return (
                key,
                f"Providers of kind {provider.plugin.kind_and_mode} cannot register deploy keys.",
            )
        wanted = DeployKey(public_key=key.public_key, label=_label(key))
        for repository in repositories:
            known = dict(key.registered)
            if known.get(repository):
                continue
            key = self._noted(key, {**known, repository: ""})
            try:
                made = provider.add_deploy_key(RepositoryId.parse(repository), wanted)
            except PermissionDenied as error:
                return self._noted(key, known), f"{error.message} {error.hint}".strip()
            key = self._noted(key, {**known, repository: made.id})
        return key, ""

    def _noted(self, key: DeployKeyRecord, registered: dict[str, str]) -> DeployKeyRecord:
        self._store.deploy_keys.note_registered(key, registered)
        return replace(key, registered=registered)

    def _prove(self, provider: Provider, repository: str) -> None:
        """Read the refs of a repository over SSH, with the key that the provider was given."""
        from deploycore.git import resolve  # needs dulwich

        settings = replace(provider.git_settings(self._git_settings), total_timeout=_SECONDS)
        try:
            resolve(provider.clone_url(RepositoryId.parse(repository)), None, settings=settings)
        except RemoteRefused as error:
            if not error.details.get("ref"):  # otherwise the repository was read, and is empty
                raise

    def _remove_former(self, owner: KeyOwner) -> list[RemainingKey]:
        remains: list[RemainingKey] = []
        for key in self._of(owner):
            if key.state == "former":
                found = self.remove_at_host(key)
                remains += found
                if not found:
                    self._store.deploy_keys.remove(key)
        return remains

    def _remove_registered(self, key: DeployKeyRecord, repository: str, number: str) -> None:
        where = RepositoryId.parse(repository)
        wanted = DeployKey(public_key=key.public_key, label=_label(key))
        with self._open_provider(key.provider) as provider:
            if number and provider.remove_deploy_key(where, number):
                return
            # Either an earlier call was interrupted, and the host may have the key. Or the key was
            # not found: a person may have added it again, and hosts hide repositories from some
            # credentials.
            found = [each.id for each in provider.list_deploy_keys(where) if each.is_of(wanted)]
            for each in found:
                provider.remove_deploy_key(where, each)

    def _page(self, key: DeployKeyRecord, repository: str = "") -> str:
        name = repository or key.repository
        if not name:
            return ""
        try:
            with self._open_provider(key.provider) as provider:
                return provider.deploy_keys_page(RepositoryId.parse(name)) or ""
        except DeploycoreError:
            return ""  # the remaining keys are reported without the page

    def _repositories(self, owner: KeyOwner, given: Sequence[str]) -> list[str]:
        """Return the repositories that the key is for. The key is tested with the first one."""
        if owner.application is not None:
            return [self._store.get_application(owner.application).definition.repository]
        open_provider = partial(self._open_provider, owner.provider)
        found = [str(read_repository_of(open_provider, each)) for each in given]
        for key in self._of(owner):
            found += key.registered
        found += [each.repository for each in self._applications_of(owner.provider)]
        if not found:
            raise ConfigurationError(
                f"Provider {owner.provider} has no repository to test the key with.",
                hint="Name one: --repository OWNER/SLUG",
                provider=owner.provider,
            )
        return list(dict.fromkeys(found))

    def _applications_of(self, provider: str) -> list[Application]:
        found = (each.definition for each in self._store.list_applications())
        return [each for each in found if each.provider == provider]

    def _of(self, owner: KeyOwner) -> list[DeployKeyRecord]:
        return self._store.deploy_keys.of(owner.application, owner.provider)

    def _is_of_provider(self, key: DeployKeyRecord) -> bool:
        """Whether a provider has this key. A person may have given it another one since."""
        if key.application is not None:
            return False
        stored = self._store.get_provider(key.provider).secrets.get("ssh_private_key", "")
        return is_sealed(stored) and is_pair(self._secrets.reveal(stored), key.public_key)

    def _use_of(self, key: DeployKeyRecord) -> KeyUse:
        try:
            is_used = self._is_used(key)
        except DeploycoreError:  # a damaged record, or a secret that cannot be read
            is_used = key.state == "live"
        if is_used:
            return "in use"
        others: dict[str, KeyUse] = {"new": "waiting", "live": "not used", "former": "left over"}
        return others[key.state]

    def _is_left_over(self, key: DeployKeyRecord) -> bool:
        return self._use_of(key) in ("left over", "not used")

    def _is_used(self, key: DeployKeyRecord) -> bool:
        """Whether git clones with a key.

        The recorded state alone is not enough. A process may have ended after it gave the key to a
        provider and before it recorded that. And since then, a person may have changed the
        provider's key, or the application's provider or repository.
        """
        if key.application is None:
            return self._is_of_provider(key)
        if key.state != "live":
            return False
        definition = self._store.get_application(key.application).definition
        return (definition.provider, definition.repository) == (key.provider, key.repository)

    def _has_own_key(self, owner: KeyOwner) -> bool:
        """Whether a person has given a provider an SSH key."""
        is_provider = owner.application is None
        return is_provider and "ssh_private_key" in self._store.get_provider(owner.name).secrets


def _label(key: DeployKeyRecord) -> str:
    """Return the key's name at the host. Some hosts accept each name only once, and two keys exist
    at the same time during a replacement."""
    return f"deploycore {key.owner} {fingerprint_of(key.public_key)[7:15]}"


def _refuse_without_ssh(provider: Provider) -> None:
    """Refuse to register a key that could not be used."""
    if not provider.supports("ssh_clone_url"):
        raise ConfigurationError(
            f"Providers of kind {provider.plugin.kind} cannot clone over SSH, so they cannot use"
            " deploy keys.",
            hint="Upgrade the plugin, or use the provider's other credentials.",
            provider=provider.name,
            plugin=provider.plugin.label,
        )


def _raise_missing(owner: KeyOwner, *, left_over: bool = False) -> NoReturn:
    raise ConfigurationError(
        f"The {owner.noun} {owner.name!r} has no deploy key"
        f"{' that git no longer uses' if left_over else ''}.",
        hint="List the keys: deploycore key list"
        if left_over
        else f"Make one: deploycore key create {owner.name}",
        name=owner.name,
    )
