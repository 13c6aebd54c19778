"""The provider contract: what a git host's plugin implements, and what observers may watch.

A provider is a class with a ``Config`` (its pydantic model), an ``API_VERSION`` and methods
marked ``@hookimpl``; an entry point in the group ``deploycore.providers`` names it. The core
makes one instance for each configured provider, ``cls(config, http)``, and calls its hooks
through a plugin manager that holds that instance alone: neither a call nor a secret can reach
another plugin.

Rules for every provider hook:

* Parameters are named exactly as here and have no defaults (pluggy never passes a defaulted
  one). They grow through new fields of the query models, never through new parameters.
* Errors are those of :mod:`deploycore.errors`; anything else counts as a fault of the plugin.
  The ``http`` client raises the right ones by itself for what it can tell from an answer.
* One instance may be called from several threads at once. A call that takes too long is left
  behind in its thread: its client is closed, and what it gives after all is dropped.
* An optional hook that a host has nothing for is left out, never written to raise.
* No secret in a result, a log line or an error; ``CloneUrl.credential`` is the one exception.
  None in a file, the environment or the arguments of a child process either.
* The process is shared. A plugin does not print, does not change the working directory, the root
  logger or another setting of the process, and leaves no thread behind once its client is closed.
  It connects to the configured host alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

import pluggy
from pydantic import SecretStr

from deploycore.events import (
    CommitStatus,
    Delivered,
    DeployKey,
    DeploymentRecord,
    DeploymentStatus,
    ProviderCall,
    RegisteredKey,
    Webhook,
    WebhookDelivery,
)
from deploycore.models import (
    Account,
    Branch,
    BranchQuery,
    CloneUrl,
    Owner,
    OwnerQuery,
    PullRequest,
    PullRequestQuery,
    Repository,
    RepositoryId,
    RepositoryQuery,
    SshAddress,
    Tag,
    TagQuery,
)

if TYPE_CHECKING:
    from deploycore.errors import DeploycoreError

__all__ = ["API_VERSION", "REQUIRED_HOOKS", "ObserverSpec", "ProviderSpec", "hookimpl", "hookspec"]

API_VERSION = 1
"""The contract's major version. A plugin names the one it was written for."""

REQUIRED_HOOKS = ("authenticate", "list_repos", "list_branches", "clone_url")
"""What a provider must implement; all other hooks are optional."""

hookspec = pluggy.HookspecMarker("deploycore")
"""Marks the hooks that are specified here; nothing that a plugin needs."""

hookimpl = pluggy.HookimplMarker("deploycore")
"""Marks a method, or an observer's function, that implements a hook."""


class ProviderSpec:
    """What a provider implements: the four hooks of ``REQUIRED_HOOKS``, and what else it can."""

    @hookspec(firstresult=True)
    def authenticate(self) -> Account:
        """Prove with one cheap request that the credentials work, and say whose they are.

        Must succeed for the least privileged credentials that can list repositories and
        clone: where the host has no 'who am I' for them, fall back to what they may see.

        Raises:
            AuthenticationFailed: They are wrong, expired or revoked; the hint says which
                value to look at.
            PermissionDenied: They are right but may not even list repositories; the hint
                names the missing scope.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def list_repos(self, query: RepositoryQuery) -> Iterable[Repository]:
        """The repositories that the credentials may read, in the host's order.

        Return a lazy iterable: the first item is there after the first page, and no page is
        asked for before an item of it is wanted (bounded read-ahead is fine). Give the query's
        filters and limit to the host as far as it can take them. The core applies them too, and
        drops what comes again because something was added while the pages were read.

        Raises:
            NotFound: ``query.owner``, or the configured one, does not exist.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def list_branches(self, repository: RepositoryId, query: BranchQuery) -> Iterable[Branch]:
        """The branches of one repository, in the host's order; lazy as above.

        Raises:
            NotFound: The repository does not exist or is hidden from these credentials. A
                branch that does not exist is no error but an empty answer.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def find_repository(self, repository: RepositoryId) -> Repository:
        """Optional: the repository that the host has under a name now, described as in
        ``list_repos``.

        Where the host redirects from a former name within its own origin, follow it: owner and
        slug of the result are the present ones. ``host_id`` tells the core whether it is the
        repository that was deployed before. Its form must stay the same in later versions of the
        plugin.

        Raises:
            NotFound: The repository does not exist or is hidden from these credentials.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def clone_url(self, repository: RepositoryId) -> CloneUrl:
        """Where to clone from, and with what; without a request where that is possible.

        The URL and the credential stay apart, and the credential is the one for git, which
        often wants another username than the REST API.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def ssh_clone_url(self, repository: RepositoryId) -> SshAddress:
        """Optional: where to clone from over SSH; without a request where that is possible.

        Called instead of ``clone_url`` if the user has given the provider an SSH key or asked for
        the agent. The core has these fields for every kind: the plugin neither sees the key nor
        needs a field for it. Return the keys that the host publishes, if it does.

        Raises:
            NotFound: The host was asked, and the repository does not exist or is hidden from these
                credentials.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def list_owners(self, query: OwnerQuery) -> Iterable[Owner]:
        """Optional: the owners whose repositories the credentials may be able to list (workspaces,
        groups, organizations, the account itself), in the host's order; lazy as ``list_repos``.

        ``username`` is what ``RepositoryQuery.owner`` takes.

        Raises:
            PermissionDenied: The credentials may not; the hint names the missing scope.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def list_tags(self, repository: RepositoryId, query: TagQuery) -> Iterable[Tag]:
        """Optional: the tags of one repository, in the host's order; lazy as ``list_branches``.

        Raises:
            NotFound: The repository does not exist or is hidden from these credentials. A tag that
                does not exist is no error but an empty answer.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def list_pull_requests(
        self, repository: RepositoryId, query: PullRequestQuery
    ) -> Iterable[PullRequest]:
        """Optional: the open pull requests into one repository, from its forks too, in the host's
        order; lazy as ``list_branches``.

        With ``query.number``, the one of that number, open or not; nothing if there is none. A
        preview is removed on this answer alone, so ``state`` must be what the host says now.

        Raises:
            PermissionDenied: The credentials may not; the hint names the missing scope.
            NotFound: The repository does not exist or is hidden from these credentials.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def explain_git_refusal(self, status: int | None, message: str) -> str | None:
        """Optional: what the user should do if the host's git server rejects a request.

        Args:
            status: The HTTP status, where there was one.
            message: What the server said, masked.

        Returns:
            One or two sentences that become the error's hint; ``None`` to add nothing.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def verify_webhook(self, delivery: WebhookDelivery, secrets: tuple[SecretStr, ...]) -> bool:
        """Optional: verify that a delivery was signed with one of the secrets.

        Decided by the raw body and in constant time, such as by
        :func:`~deploycore.events.hmac_sha256_matches`; without a request. A delivery without a
        signature, or with one in another form, is ``False`` and no error.

        Args:
            secrets: The webhook's secret, and the former one while it is being replaced.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def parse_webhook(self, delivery: WebhookDelivery) -> Delivered:
        """Optional: parse a verified delivery, without a request.

        Raises:
            UnexpectedAnswer: It is not what the host documents.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def register_webhook(self, repository: RepositoryId, url: str, secret: SecretStr) -> Webhook:
        """Optional: register a webhook at the host for pushes and pull requests. An existing
        webhook with this address is updated, or replaced if the host cannot change its secret, so
        that there is never a second one.

        Raises:
            PermissionDenied: The credentials may not; the hint names the missing scope.
            NotFound: The repository does not exist or is hidden.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def list_webhooks(self, repository: RepositoryId) -> Iterable[Webhook]:
        """Optional: the webhooks of a repository; lazy as other listings.

        Raises:
            PermissionDenied, NotFound: As for ``register_webhook``.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def remove_webhook(self, repository: RepositoryId, webhook: str) -> bool:
        """Optional: remove a webhook by the host's identifier.

        Returns:
            Whether there was one; that there is none is no error.

        Raises:
            PermissionDenied: As for ``register_webhook``.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def add_deploy_key(self, repository: RepositoryId, key: DeployKey) -> RegisteredKey:
        """Optional: register a key that may read one repository over SSH, and do nothing else.

        If the repository has this key already, return that one: a call that was cut off is
        repeated. A key that may write is never registered.

        Raises:
            PermissionDenied: The credentials may not; the hint names the missing scope. A person
                then adds the key on the host's pages.
            NotFound: The repository does not exist or is hidden.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def list_deploy_keys(self, repository: RepositoryId) -> Iterable[RegisteredKey]:
        """Optional: the deploy keys of a repository; lazy as other listings.

        Raises:
            PermissionDenied, NotFound: As for ``add_deploy_key``.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def remove_deploy_key(self, repository: RepositoryId, key_id: str) -> bool:
        """Optional: remove a deploy key by the host's identifier.

        Returns:
            Whether there was one; that there is none is no error.

        Raises:
            PermissionDenied: As for ``add_deploy_key``.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def deploy_keys_page(self, repository: RepositoryId) -> str:
        """Optional: the address of the host's page where a person adds and removes the deploy keys
        of a repository; without a request."""
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def report_status(self, repository: RepositoryId, status: CommitStatus) -> bool:
        """Optional: show the status of a commit's deployment on the host's pages.

        Returns:
            ``True``; a hook's result can't be nothing.

        Raises:
            PermissionDenied: The credentials may not; the hint names the missing scope.
            NotFound: The repository or the commit does not exist or is hidden.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def report_deployment(self, repository: RepositoryId, status: DeploymentStatus) -> bool:
        """Optional: update the host's list of deployments to an environment, if it has one.

        The first report of a deployment adds it, later ones change it. Nothing is kept here
        about what the host has: look for the environment's deployment of this number, or of
        this commit that has not ended.

        Returns:
            ``True``; a hook's result can't be nothing.

        Raises:
            PermissionDenied, NotFound: As for ``report_status``.
        """
        raise AssertionError  # pragma: no cover


class ObserverSpec:
    """What observers (audit, metrics) may watch: every call, item and result, never a secret.

    Observers are named by entry points in the group ``deploycore.observers``: a class, a module or
    an object with ``@hookimpl`` functions. A class with a ``Config``, a subclass of
    ``ObserverConfig``, is created as ``cls(config)``, another class without arguments. They live
    apart from providers; an observer that fails is logged and ignored.
    """

    @hookspec
    def provider_call_started(self, call: ProviderCall) -> None:
        """A hook of a provider is about to be called."""

    @hookspec
    def provider_call_yielded(
        self,
        call: ProviderCall,
        item: Repository | Branch | Owner | PullRequest | RegisteredKey | Tag | Webhook,
    ) -> None:
        """A lazy listing gave one item."""

    @hookspec
    def provider_call_finished(
        self,
        call: ProviderCall,
        result: Account
        | CloneUrl
        | Delivered
        | RegisteredKey
        | Repository
        | SshAddress
        | Webhook
        | bool
        | int
        | str
        | None,
        error: DeploycoreError | None,
    ) -> None:
        """A call ended: with its result (for listings the number of items given, for
        ``clone_url`` the URL without its credential), or with an error."""

    @hookspec
    def deploy_started(self, deployment: DeploymentRecord) -> None:
        """A deployment has started.

        This hook and the following two are called in order, in a thread of this observer's own, so
        that neither the deployment nor other observers wait for it. Once the deployment has ended,
        deploycore waits up to ten seconds for its observers. Then it logs a warning that names each
        observer that is still busy, and the process may end before they are done.
        """

    @hookspec
    def deploy_state_changed(self, deployment: DeploymentRecord) -> None:
        """A deployment has entered another state: ``deployment.state``."""

    @hookspec
    def deploy_finished(self, deployment: DeploymentRecord, error: DeploycoreError | None) -> None:
        """A deployment has ended: ``deployment.state`` says how. See ``deploy_started`` for how
        long the process waits for this hook."""

    @hookspec
    def credential_expiring(self, provider: str, expires_at: datetime, days: int) -> None:
        """The credentials of a provider are about to expire, or have expired.

        A worker tells each of these warnings once, whichever worker of the installation does it.
        It is told again after the credentials were replaced by others that expire.

        Args:
            provider: The provider's name.
            expires_at: When the credentials expire, as the host or the user says.
            days: The warning: 30, 7 or 1 days before that; 0 once they have expired.
        """

    @hookspec
    def veto_deploy(self, deployment: DeploymentRecord) -> str | None:
        """Return why this commit must not be deployed, or ``None`` if it may be.

        Called when the commit is known and before anything is fetched; ``deployment.commit`` is
        its full hash. The returned text becomes the error that ends the deployment. A plugin that
        raises, or takes longer than ten seconds, is ignored. Not called for rollbacks.
        """
