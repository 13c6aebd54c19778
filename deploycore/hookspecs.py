"""The hooks that provider plugins and observers implement.

A provider is a class with a ``Config`` (its pydantic model), an ``API_VERSION`` and methods marked
``@hookimpl``. An entry point in the group ``deploycore.providers`` names the class. The core
creates one instance for each configured provider, as ``cls(config, http)``, or as ``cls(config,
http, git)`` if the class has this third parameter (see :mod:`deploycore.git_reader`). It calls the
hooks of this instance through a plugin manager of its own, so a call or a secret cannot reach
another plugin.

If one mode has other hooks than the rest, such as a mode without an API, give it a class of its
own: ``CLASSES_OF_MODES`` of the provider class is a tuple of such classes, each of them a whole
provider class. Its ``Config`` is one member of the ``Config`` union. See
:mod:`deploycore.refs_only` for a mode that has only an SSH key.

Optional: ``DISPLAY_NAME`` of the provider class is the name of the host for people, such as
``GitHub`` (default: made from the kind). ``SUMMARY`` is one sentence that says which hosts the
plugin is for.

Rules for every provider hook:

* Name parameters exactly as here, and give them no defaults: pluggy does not pass an argument
  that has a default. The parameters never change; new filters become fields of the query models.
* Raise only errors of :mod:`deploycore.errors`. Any other exception is reported as a fault of the
  plugin. The ``http`` client raises the right error for most responses.
* Expect calls of one instance from several threads at once. If a call takes too long, deploycore
  closes its client, stops waiting for it, and ignores its result.
* Do not implement an optional hook that your host does not support. A hook must not raise
  ``NotImplementedError``.
* Do not put a secret into a result, a log line or an error. The only exception is
  ``CloneUrl.credential``. Do not write a secret to a file, to the environment, or into the
  arguments of a child process.
* Remember that the process is shared. Do not print. Do not change the working directory, the root
  logger or another setting of the process. Leave no thread running when the client is closed.
  Connect only to the configured host.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

import pluggy
from pydantic import SecretStr

if TYPE_CHECKING:
    from deploycore.errors import DeploycoreError
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

__all__ = ["API_VERSION", "REQUIRED_HOOKS", "ObserverSpec", "ProviderSpec", "hookimpl", "hookspec"]

API_VERSION = 1
"""The version of the contract. A plugin states the version that it was written for."""

REQUIRED_HOOKS = ("authenticate", "list_repos", "list_branches", "clone_url")
"""The hooks that a provider must implement. All other hooks are optional."""

hookspec = pluggy.HookspecMarker("deploycore")
"""Marks the specifications of hooks in this module. Plugins do not need it."""

hookimpl = pluggy.HookimplMarker("deploycore")
"""Marks a method or function of a plugin that implements a hook."""


class ProviderSpec:
    """The hooks of a provider. It must implement those of ``REQUIRED_HOOKS``."""

    @hookspec(firstresult=True)
    def authenticate(self) -> Account:
        """Check with one cheap request that the credentials are valid, and return their account.

        This hook must succeed for the least privileged credentials that can list repositories and
        clone. If the host does not tell such credentials who they belong to, send another request
        that they are allowed to send, such as one for a repository.

        Returns:
            The account that the credentials belong to.

        Raises:
            AuthenticationFailed: The credentials are wrong, expired or revoked. The hint says
                which value to check.
            PermissionDenied: The credentials are valid, but cannot list repositories. The hint
                names the missing scope.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def list_repos(self, query: RepositoryQuery) -> Iterable[Repository]:
        """List the repositories that the credentials can read, in the host's order.

        Return a lazy iterable, such as a generator: the first item is available after the first
        page, and a page is requested only when an item of it is needed. You may request a limited
        number of pages in advance.

        Pass the filters and the limit of the query to the host if it supports them. The core
        applies them again. It also removes duplicates, which occur if a repository is added while
        the pages are read.

        Raises:
            NotFound: The owner in ``query.owner``, or the configured owner, does not exist.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def list_branches(self, repository: RepositoryId, query: BranchQuery) -> Iterable[Branch]:
        """List the branches of a repository, in the host's order, lazily like ``list_repos``.

        If ``query.name`` is a branch that does not exist, the result is empty.

        Raises:
            NotFound: The repository does not exist, or these credentials cannot read it.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def find_repository(self, repository: RepositoryId) -> Repository:
        """Optional: find the repository that has a name now, with the fields as in ``list_repos``.

        If the host redirects a previous name within its own origin, follow the redirect: the
        result has the current owner and slug. By ``host_id``, the core recognizes the repository
        that it deployed before, so the form of this identifier must not change in later versions
        of the plugin.

        Raises:
            NotFound: The repository does not exist, or these credentials cannot read it.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def clone_url(self, repository: RepositoryId) -> CloneUrl:
        """Return the URL to clone from, and the credential for it.

        Do this without a request if that is possible. The URL must not contain the credential.
        Return the credential for git: git often needs another username than the REST API.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def ssh_clone_url(self, repository: RepositoryId) -> SshAddress:
        """Optional: return the URL to clone from over SSH, and the host keys of the server.

        The core calls this hook instead of ``clone_url`` if the provider has an SSH key or uses an
        agent. The core has the fields for both: a plugin needs no field for the key, and never
        receives it. Do this without a request if that is possible. Return the host keys if the host
        publishes them.

        Raises:
            NotFound: The repository does not exist, or these credentials cannot read it. Only a
                hook that sends a request can raise this.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def list_owners(self, query: OwnerQuery) -> Iterable[Owner]:
        """Optional: list the owners whose repositories the credentials may be able to list.

        These are workspaces, groups, organizations, and the account itself, in the host's order.
        The listing is lazy like ``list_repos``. The ``username`` of an owner must be a valid
        ``RepositoryQuery.owner``.

        Raises:
            PermissionDenied: The credentials cannot list owners. The hint names the missing scope.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def list_tags(self, repository: RepositoryId, query: TagQuery) -> Iterable[Tag]:
        """Optional: list the tags of a repository, in the host's order, lazily like ``list_repos``.

        If ``query.name`` is a tag that does not exist, the result is empty.

        Raises:
            NotFound: The repository does not exist, or these credentials cannot read it.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def list_pull_requests(
        self, repository: RepositoryId, query: PullRequestQuery
    ) -> Iterable[PullRequest]:
        """Optional: list the open pull requests into a repository, in the host's order.

        Include those from forks. The listing is lazy like ``list_repos``. With ``query.number``,
        return only the pull request with that number, in any state; the result is empty if it
        does not exist. The core removes a preview because of this result, so ``state`` must be the
        host's current state.

        Raises:
            PermissionDenied: The credentials cannot list pull requests. The hint names the
                missing scope.
            NotFound: The repository does not exist, or these credentials cannot read it.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def explain_git_refusal(self, status: int | None, message: str) -> str | None:
        """Optional: return what the user should do if the host's git server rejects a request.

        Args:
            status: The HTTP status of the response; ``None`` if there was none.
            message: The server's message, with secrets masked.

        Returns:
            One or two sentences that become the error's hint; ``None`` for no hint.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def verify_webhook(self, delivery: WebhookDelivery, secrets: tuple[SecretStr, ...]) -> bool:
        """Optional: verify that a delivery was signed with one of the secrets.

        Verify the raw body, in constant time, and without a request.
        :func:`~deploycore.events.hmac_sha256_matches` does this for the usual signature. If the
        signature is missing or has another form, return ``False``; do not raise.

        Args:
            secrets: The webhook's secret. While the secret is being replaced, also the previous
                one.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def parse_webhook(self, delivery: WebhookDelivery) -> Delivered:
        """Optional: parse a verified delivery, without a request.

        Raises:
            UnexpectedAnswer: The content is not what the host documents.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def register_webhook(self, repository: RepositoryId, url: str, secret: SecretStr) -> Webhook:
        """Optional: register a webhook for pushes and pull requests at the host.

        If the repository already has a webhook with this address, update it. If the host cannot
        change its secret, replace it. There must never be two webhooks with the same address.

        Raises:
            PermissionDenied: The credentials cannot manage webhooks. The hint names the missing
                scope.
            NotFound: The repository does not exist, or these credentials cannot read it.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def list_webhooks(self, repository: RepositoryId) -> Iterable[Webhook]:
        """Optional: list the webhooks of a repository, lazily like ``list_repos``.

        Raises:
            PermissionDenied, NotFound: As for ``register_webhook``.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def remove_webhook(self, repository: RepositoryId, webhook: str) -> bool:
        """Optional: remove a webhook from the host.

        Args:
            webhook: The host's identifier of the webhook.

        Returns:
            Whether the webhook existed. It is not an error if it did not.

        Raises:
            PermissionDenied: As for ``register_webhook``.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def add_deploy_key(self, repository: RepositoryId, key: DeployKey) -> RegisteredKey:
        """Optional: register an SSH key that can read one repository and do nothing else.

        If the repository already has this key, return it: the core repeats a call that was
        interrupted. Never register a key that can write.

        Raises:
            PermissionDenied: The credentials cannot manage deploy keys. The hint names the missing
                scope. The core then asks the user to add the key on the host's page.
            NotFound: The repository does not exist, or these credentials cannot read it.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def list_deploy_keys(self, repository: RepositoryId) -> Iterable[RegisteredKey]:
        """Optional: list the deploy keys of a repository, lazily like ``list_repos``.

        Raises:
            PermissionDenied, NotFound: As for ``add_deploy_key``.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def remove_deploy_key(self, repository: RepositoryId, key_id: str) -> bool:
        """Optional: remove a deploy key from the host.

        Args:
            key_id: The host's identifier of the key.

        Returns:
            Whether the key existed. It is not an error if it did not.

        Raises:
            PermissionDenied: As for ``add_deploy_key``.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def deploy_keys_page(self, repository: RepositoryId) -> str:
        """Optional: return the address of the host's page for the deploy keys of a repository.

        Do this without a request. Users open the page to add and remove keys.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def report_status(self, repository: RepositoryId, status: CommitStatus) -> bool:
        """Optional: show the status of a commit's deployment on the host's pages.

        Returns:
            ``True``, because pluggy ignores a result of ``None``.

        Raises:
            PermissionDenied: The credentials cannot report statuses. The hint names the missing
                scope.
            NotFound: The repository or the commit does not exist, or these credentials cannot
                read it.
        """
        raise AssertionError  # pragma: no cover

    @hookspec(firstresult=True)
    def report_deployment(self, repository: RepositoryId, status: DeploymentStatus) -> bool:
        """Optional: update the host's list of deployments to an environment, if it has one.

        The first report of a deployment adds it to the list; later reports update it. The core
        does not store which deployment the host has. So search the environment's deployments for
        the one with this number, or for the one of this commit that has not ended.

        Returns:
            ``True``, because pluggy ignores a result of ``None``.

        Raises:
            PermissionDenied, NotFound: As for ``report_status``.
        """
        raise AssertionError  # pragma: no cover


class ObserverSpec:
    """The hooks of an observer, for example for an audit log or metrics. All are optional.

    An observer is a class, a module or an object with ``@hookimpl`` functions. An entry point in
    the group ``deploycore.observers`` names it. If a class has a ``Config``, a subclass of
    ``ObserverConfig``, deploycore creates it as ``cls(config)``; otherwise without arguments.

    Observers receive calls, items and results of all providers, but never a secret. Each observer
    has a plugin manager of its own. If a hook fails, deploycore logs the error and ignores it.
    """

    @hookspec
    def provider_call_started(self, call: ProviderCall) -> None:
        """A provider's hook is about to be called."""

    @hookspec
    def provider_call_yielded(
        self,
        call: ProviderCall,
        item: Repository | Branch | Owner | PullRequest | RegisteredKey | Tag | Webhook,
    ) -> None:
        """A listing of a provider has returned one item."""

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
        """A call of a provider's hook has ended.

        Args:
            result: The result; ``None`` if the call failed. For a listing, it is the number of
                items. For ``clone_url``, it has no credential.
            error: The error; ``None`` if the call succeeded.
        """

    @hookspec
    def deploy_started(self, deployment: DeploymentRecord) -> None:
        """A deployment has started.

        deploycore calls this hook and the following two in order, in a separate thread for each
        observer, so the deployment and other observers do not wait for it. When the deployment has
        ended, deploycore waits up to ten seconds for the observers. Then it logs a warning with
        the name of each observer that is still busy, and the process may end before they finish.
        """

    @hookspec
    def deploy_state_changed(self, deployment: DeploymentRecord) -> None:
        """A deployment has entered another state. It is in ``deployment.state``."""

    @hookspec
    def deploy_finished(self, deployment: DeploymentRecord, error: DeploycoreError | None) -> None:
        """A deployment has ended. Its final state is in ``deployment.state``.

        The process waits for this hook for a limited time; see ``deploy_started``.
        """

    @hookspec
    def credential_expiring(self, provider: str, expires_at: datetime, days: int) -> None:
        """The credentials of a provider are about to expire, or have expired.

        For each credential and each value of ``days``, one worker of the installation calls this
        hook once. For new credentials, it is called again.

        Args:
            provider: The provider's name.
            expires_at: When the credentials expire, according to the host or the user.
            days: 30, 7 or 1 if the credentials expire within this number of days; 0 if they have
                expired.
        """

    @hookspec
    def veto_deploy(self, deployment: DeploymentRecord) -> str | None:
        """Return why this commit must not be deployed, or ``None`` if it may be.

        deploycore calls this hook when it knows the commit (``deployment.commit`` is its full
        hash) and before it fetches anything. It does not call it for rollbacks. The returned text
        becomes the error that ends the deployment. An observer that raises, or takes longer than
        ten seconds, is ignored.
        """
