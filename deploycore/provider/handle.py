"""The class that calls the hooks of one configured provider. Nothing else calls provider hooks.

It is the boundary between the core and plugin code: it validates what a plugin returns, so the rest
of the core gets only models and typed errors.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pydantic import SecretStr

from deploycore import models
from deploycore.configuration import ProviderConfig, addresses_in
from deploycore.credentials.keeper import TokenSource
from deploycore.errors import (
    AuthenticationFailed,
    ConfigurationError,
    DeploycoreError,
    GitError,
    KeyRefused,
    NotFound,
)
from deploycore.http import HttpSettings
from deploycore.http.tally import ItemTally
from deploycore.models import CloneUrl, GitCredential, SshCredential
from deploycore.provider.arguments import SECRET_ARGUMENTS, secrets_among, type_of
from deploycore.provider.connection import Connection, OtherCredentials
from deploycore.provider.core_fields import NO_CORE_FIELDS, CoreFields
from deploycore.provider.guard import Guard
from deploycore.provider.limits import CallLimit, limited
from deploycore.provider.listings import MOST_REPEATS, ModelT, Query, Repeats
from deploycore.provider.observers import Observers, installed_observers
from deploycore.provider.optional_calls import OptionalCalls
from deploycore.provider.optional_listings import OptionalListings
from deploycore.provider.registry import Plugin
from deploycore.provider.stored_credentials import StoredCredentials
from deploycore.provider.suggesting import SUGGESTED_FROM, first_items
from deploycore.provider.unsupported import instead_of
from deploycore.redaction import Redactor, secrets_in
from deploycore.text.sentences import sentences
from deploycore.text.suggestions import did_you_mean

if TYPE_CHECKING:
    from deploycore.events import ProviderCall
    from deploycore.git import GitSettings
    from deploycore.http.deprecation import Deprecation
    from deploycore.models import (
        Account,
        Branch,
        BranchQuery,
        Repository,
        RepositoryId,
        RepositoryQuery,
    )

__all__ = ["Provider"]

T = TypeVar("T")

Credential = GitCredential | SshCredential


class Provider(OptionalListings, OptionalCalls):
    """One configured provider.

    Args:
        plugin: The loaded plugin.
        config: An instance of the plugin's ``Config``.
        core: The core's fields, with the network settings of the provider.
        http_settings: Settings of the HTTP client that the plugin gets.
        observers: The observers to call (default: the installed ones).
        tokens: Stores tokens that are obtained and renewed (default: in memory).
        other_credentials: Reports changes of the provider, and returns other credentials if the
            host rejects those of ``config``.
        stored: What is known about the credentials, if they are stored.
        note_expiry: Called after each ``authenticate`` with the expiry of the credentials.

    Attributes:
        addresses: The URLs in its configuration, including that of the API.
        limit: The limit of each call; ``None`` for none.
        unlimited: The same provider without a limit.

    Raises:
        PluginError: The plugin's constructor fails.
    """

    def __init__(
        self,
        plugin: Plugin,
        config: ProviderConfig,
        *,
        core: CoreFields = NO_CORE_FIELDS,
        http_settings: HttpSettings | None = None,
        observers: Observers | None = None,
        tokens: TokenSource | None = None,
        other_credentials: OtherCredentials | None = None,
        stored: StoredCredentials | None = None,
        note_expiry: Callable[[datetime | None], None] | None = None,
    ) -> None:
        self.name = config.name
        self.plugin = plugin.for_config(config)
        self.limit: CallLimit | None = None
        self.unlimited: Provider = self
        self._ssh_key: SecretStr | None = None
        self._key_command = ""
        self._redactor = Redactor()
        self._guard = Guard(config.name, plugin.label, self._redactor, stored)
        self._note_expiry = note_expiry
        self._observers = installed_observers() if observers is None else observers
        self._connection = self._guard(
            "__init__",
            lambda: Connection(
                plugin,
                config,
                core,
                tokens or TokenSource(provider=config.name),
                redactor=self._redactor,
                settings=http_settings,
                others=other_credentials,
            ),
        )
        self.addresses = self._guard("__init__", lambda: addresses_in(config))

    @limited
    def authenticate(self) -> Account:
        """Check the credentials; return their account, and when they expire.

        The expiry is the one that the host reports, or else the one that the user has set.

        Raises:
            ProviderError: The host is unreachable, or rejects the credentials.
            PluginError: The plugin violates the contract.
        """
        account = self._call("authenticate", models.Account)
        if account.expires_at is None and self._connection.core.expires_at is not None:
            account = account.model_copy(update={"expires_at": self._connection.core.expires_at})
        # After a replacement, the credentials may be the previous ones.
        if self._note_expiry is not None and not self._connection.replaced:
            self._note_expiry(account.expires_at)
        return account

    @limited
    def list_repos(self, query: RepositoryQuery | None = None) -> Iterator[Repository]:
        """List the repositories that the credentials can read, lazily, in the host's order.

        Each repository is returned once. The first request is sent when the first item is needed.

        Raises:
            ProviderError, PluginError: As for ``authenticate``, also during the iteration.
        """
        query = query or models.RepositoryQuery()
        return self._listing("list_repos", models.Repository, query, query=query)

    @limited
    def list_branches(
        self, repository: RepositoryId, query: BranchQuery | None = None
    ) -> Iterator[Branch]:
        """List the branches of a repository, lazily, in the host's order.

        Raises:
            NotFound: The repository does not exist, or these credentials cannot read it.
            ProviderError, PluginError: As for ``authenticate``, also during the iteration.
        """
        query = query or models.BranchQuery()
        wanted = {"repository": repository, "query": query}
        return self._listing("list_branches", models.Branch, query, **wanted)

    @limited
    def find_branch(self, repository: RepositoryId, name: str) -> Branch:
        """Find the branch with exactly this name.

        Raises:
            NotFound: The repository or the branch does not exist.
            UnexpectedAnswer: Some branches could not be parsed, and this one may be among them.
        """
        tally, query = self._tally("list_branches", is_listing=True), models.BranchQuery(name=name)
        arguments = {"repository": repository, "query": query}
        for branch in self._listing("list_branches", models.Branch, query, tally, **arguments):
            if branch.name == name:
                return branch
        if tally.has_unread:
            raise self._guard.unread(repository, name)
        raise NotFound(
            f"Repository {repository} has no branch {name!r}.",
            hint=f"{self._like_ref(repository, name)}List the branches:"
            f" deploycore branches {self.name} {repository}",
            provider=self.name,
            repository=str(repository),
            branch=name,
        )

    def _like_ref(self, repository: RepositoryId, name: str) -> str:
        """Return a suggestion from the first branches and tags that the host lists."""
        branches = models.BranchQuery(limit=SUGGESTED_FROM)
        tags = models.TagQuery(limit=SUGGESTED_FROM)
        known = [
            each.name for each in first_items(lambda: self.list_branches(repository, branches))
        ]
        if self.supports("list_tags"):
            known += [each.name for each in first_items(lambda: self.list_tags(repository, tags))]
        return did_you_mean(name, known)

    @limited
    def find_repository(self, repository: RepositoryId) -> Repository:
        """Find the repository that has a name now. The result may have another, current name.

        Raises:
            ConfigurationError: The plugin does not have this hook.
            NotFound: The repository does not exist, or these credentials cannot read it.
        """
        self._demand("find_repository")
        return self._call("find_repository", models.Repository, repository=repository)

    @limited
    def clone_url(
        self, repository: RepositoryId, *, rejected: Credential | None = None
    ) -> CloneUrl:
        """Return the URL to clone a repository from, and the credential for it.

        The URL is for SSH if the provider has an SSH key or uses the agent.

        Args:
            repository: The repository.
            rejected: A credential from an earlier call, if the git server has rejected it. Then a
                token is renewed, and a replaced secret is read again.
        """
        is_of_provider = self._ssh_key is None  # otherwise an application's key was rejected
        if rejected is not None and is_of_provider and not self._is_renewed(rejected):
            self._connection.use_others(self._connection.replaced)
        core = self._core
        if core.uses_ssh:
            return core.ssh_source(self.ssh_clone_url(repository))
        found = self._call("clone_url", CloneUrl, repository=repository)
        if found.credential is not None:
            for secret in secrets_in(found.credential):
                self._redactor.learn(secret)
        return found

    def _is_renewed(self, rejected: Credential) -> bool:
        """Whether a rejected credential was a token, which is now renewed."""
        if not isinstance(rejected, GitCredential):
            return False
        return self._connection.tokens.refused(rejected.password)

    def renew_credential(
        self, repository: RepositoryId
    ) -> Callable[[Credential], Credential | None]:
        """Return a function that git calls for another credential if a server rejects one."""
        return lambda rejected: self.clone_url(repository, rejected=rejected).credential

    @limited
    def explain_git_refusal(self, status: int | None, message: str) -> str | None:
        """Return what the user should do if the host's git server rejects a request, if the plugin
        knows."""
        if not self.supports("explain_git_refusal"):
            return None
        said: object = self._guard(
            "explain_git_refusal",
            lambda: self._connection.hooks.explain_git_refusal(status=status, message=message),
        )
        return self._redactor.mask(said) if isinstance(said, str) and said else None

    def explain_rejection(self, error: GitError) -> None:
        """Add to the error of a git server how to replace the rejected credentials."""
        if self._ssh_key is None:
            self._guard.explain(error)
        elif isinstance(error, KeyRefused) and self._key_command:
            error.hint = sentences(error.hint, f"Or replace the key: {self._key_command}")

    @property
    def secrets(self) -> tuple[SecretStr, ...]:
        """The secrets to mask: those of the configuration, and those that were sent or returned so
        far."""
        return self._redactor.secrets

    @property
    def uses_ssh(self) -> bool:
        """Whether git clones over SSH."""
        return self._core.uses_ssh

    def use_ssh_key(self, key: SecretStr, *, replace_with: str = "") -> None:
        """Clone over SSH with this key, in place of the provider's own credentials for git.

        Args:
            replace_with: The command that replaces the key, for hints.
        """
        self._redactor.learn(key)
        self._ssh_key = key
        self._key_command = replace_with

    @property
    def _core(self) -> CoreFields:
        core = self._connection.core
        return core if self._ssh_key is None else core.with_ssh_key(self._ssh_key)

    @property
    def no_repositories_hint(self) -> str:
        """The plugin's hint for an empty list of repositories."""
        return str(getattr(self.plugin.provider_class, "NO_REPOSITORIES_HINT", ""))

    def git_settings(self, settings: GitSettings) -> GitSettings:
        """Return git settings with the provider's own certificates, proxy and timeouts."""
        return self._connection.core.git_settings(settings)

    def supports(self, hook: str) -> bool:
        """Whether the plugin implements a hook."""
        return hook in self.plugin.hooks

    def _demand(self, hook: str) -> None:
        if not self.supports(hook):
            raise ConfigurationError(
                f"Providers of kind {self.plugin.kind_and_mode} do not support {hook}.",
                hint=instead_of(hook, self.plugin),
                provider=self.name,
                plugin=self.plugin.label,
            )

    def within(self, limit: CallLimit) -> Provider:
        """Return the same provider with a limit for each call."""
        found = copy.copy(self)
        found.limit = limit
        return found

    def close(self) -> None:
        """Close the connections. Listings that are being read end with an error."""
        self._connection.close()

    @property
    def clock_offset(self) -> float | None:
        """The seconds that the host's clock is ahead; ``None`` before its first response."""
        return self._connection.http.clock_offset

    @property
    def deprecations(self) -> tuple[Deprecation, ...]:
        """The endpoints that the host has reported as deprecated so far."""
        return self._connection.http.deprecations

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Provider {self.name!r} of kind {self.plugin.kind!r}>"

    def _call(self, hook: str, expected: type[T], **arguments: object) -> T:
        call = self._started(hook, arguments)
        secrets = secrets_among(arguments)
        redactor = self._redactor.extended(secrets) if secrets else None
        tally = self._tally(hook)
        try:
            with tally.counting():
                result = self._connection.authorised(
                    lambda: self._guard(hook, self._made(hook, arguments), redactor)
                )
            if not isinstance(result, expected):
                raise self._guard.broken(
                    hook, f"returned {type_of(result)}, not {expected.__name__}"
                )
        except DeploycoreError as error:
            self._finished(call, None, error)
            raise
        finally:
            tally.tell()
        self._finished(call, result, None)
        return result

    def _listing(
        self,
        hook: str,
        expected: type[ModelT],
        wanted: Query[ModelT],
        tally: ItemTally | None = None,
        /,
        **arguments: object,
    ) -> Iterator[ModelT]:
        call = self._started(hook, arguments)
        tally = tally or self._tally(hook, is_listing=True)
        items = f"an iterable of {expected.__name__}"

        def open_source() -> Iterator[object]:
            result = self._guard(hook, self._made(hook, arguments))
            if not isinstance(result, Iterable) or isinstance(result, str | bytes | Mapping):
                raise self._guard.broken(hook, f"returned {type_of(result)}, not {items}")
            return self._guard(hook, lambda: iter(result))

        replaced = self._connection.replaced

        def open_again() -> Iterator[object] | None:
            nonlocal replaced
            if not self._connection.use_others(replaced):
                return None
            replaced = self._connection.replaced
            return self._connection.authorised(open_source)

        try:
            with tally.counting():
                source = self._connection.authorised(open_source)
        except DeploycoreError as error:
            self._finished(call, None, error)
            raise
        return self._items(hook, call, source, expected, wanted, tally, open_again)

    def _made(self, hook: str, arguments: Mapping[str, object]) -> Callable[[], Any]:
        return lambda: getattr(self._connection.hooks, hook)(**arguments)

    def _items(
        self,
        hook: str,
        call: ProviderCall | None,
        source: Iterator[object],
        expected: type[ModelT],
        query: Query[ModelT],
        tally: ItemTally,
        open_again: Callable[[], Iterator[object] | None],
    ) -> Iterator[ModelT]:
        given = 0
        end = object()
        repeats = Repeats()
        failure: DeploycoreError | None = None
        try:
            while query.limit is None or given < query.limit:
                try:
                    with tally.counting():
                        item = self._guard(hook, partial(next, source, end))
                except AuthenticationFailed:
                    another = None if given else open_again()
                    if another is None:
                        raise
                    source = another
                    continue
                if item is end:
                    self._guard(hook, tally.check)
                    break
                if not isinstance(item, expected):
                    what = f"gave {type_of(item)} as item {given + 1}, not {expected.__name__}"
                    raise self._guard.broken(hook, what)
                if not self._is_new_and_wanted(hook, item, repeats, query, tally):
                    continue
                given += 1
                self._observers.tell("provider_call_yielded", call=call, item=item)
                yield item
        except DeploycoreError as error:
            failure = error
            raise
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                self._guard(hook, close)
            tally.tell()
            self._finished(call, given, failure)

    def _is_new_and_wanted(
        self,
        hook: str,
        item: ModelT,
        repeats: Repeats,
        query: Query[ModelT],
        tally: ItemTally,
    ) -> bool:
        try:
            is_new = not repeats.has(item)
            self._guard(hook, partial(tally.given, repeats.in_a_row))
            if is_new:
                return query.wants(item)
        except (AttributeError, TypeError) as error:
            # Models can be created without validation, and can then contain anything.
            raise self._guard.broken(hook, f"gave an item that is not valid ({error})") from None
        if repeats.in_a_row > MOST_REPEATS:
            raise self._guard.endless(hook)
        return False

    def _started(self, hook: str, arguments: Mapping[str, object]) -> ProviderCall | None:
        if not self._observers:
            return None
        from deploycore.events import ProviderCall

        shown = {name: value for name, value in arguments.items() if name not in SECRET_ARGUMENTS}
        call = ProviderCall(self.name, self.plugin.kind, hook, shown)
        self._observers.tell("provider_call_started", call=call)
        return call

    def _finished(
        self, call: ProviderCall | None, result: object, error: DeploycoreError | None
    ) -> None:
        if call is None:
            return
        shown = result.without_credential() if isinstance(result, CloneUrl) else result
        self._observers.tell("provider_call_finished", call=call, result=shown, error=error)

    def _tally(self, hook: str, *, is_listing: bool = False) -> ItemTally:
        return ItemTally(f"provider {self.name}: {hook}", is_listing=is_listing)
