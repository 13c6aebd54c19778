"""Calls of a provider that a deployment can cancel and time out.

A hook is plugin code that sends requests to a host that may be slow. Each call runs in a thread of
its own, while the caller checks for a cancellation and for the time limit. A call that does not
return in time is abandoned, and the provider's connections are closed so that it soon ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self, TypeVar

from deploycore.applications import PROVIDER_SECONDS
from deploycore.errors import GitError, PluginError
from deploycore.provider.background import Unanswered, call_within

if TYPE_CHECKING:
    from pydantic import SecretStr

    from deploycore.events import CommitStatus, DeploymentStatus
    from deploycore.models import (
        Account,
        Branch,
        BranchQuery,
        CloneUrl,
        Repository,
        RepositoryId,
        RepositoryQuery,
    )
    from deploycore.provider import Provider

__all__ = ["InterruptibleProvider", "fetch_hint"]

T = TypeVar("T")

_OPENING = "opening the provider"


class InterruptibleProvider:
    """A configured provider, opened and closed as a context manager.

    Every method raises what ``look`` raises, and ``PluginError`` if a hook times out.

    Args:
        name: The provider's name.
        open_provider: Opens the provider.
        seconds: Time limit of one call.
        look: Called about 20 times a second during a call; raises to abandon the call.
    """

    def __init__(
        self,
        name: str,
        open_provider: Callable[[], Provider],
        *,
        seconds: float = PROVIDER_SECONDS,
        look: Callable[[], None],
    ) -> None:
        self._name = name
        self._open = open_provider
        self._seconds = seconds
        self._look = look
        self._opened: Provider | None = None

    @property
    def secrets(self) -> Sequence[SecretStr]:
        """The secrets of the provider's configuration."""
        return self._provider.secrets

    def authenticate(self) -> Account:
        """See ``Provider.authenticate``."""
        return self._call("authenticate", self._provider.authenticate)

    def find_branch(self, repository: RepositoryId, name: str) -> Branch:
        """See ``Provider.find_branch``."""
        return self._call("list_branches", lambda: self._provider.find_branch(repository, name))

    def find_repository(self, repository: RepositoryId) -> Repository | None:
        """See ``Provider.find_repository``; ``None`` if the plugin does not support it."""
        if not self._provider.supports("find_repository"):
            return None
        return self._call("find_repository", lambda: self._provider.find_repository(repository))

    def list_repos(self, query: RepositoryQuery) -> list[Repository]:
        """See ``Provider.list_repos``; all of them, so the query should have a limit."""
        return self._call("list_repos", lambda: list(self._provider.list_repos(query)))

    def list_branches(self, repository: RepositoryId, query: BranchQuery) -> list[Branch]:
        """See ``Provider.list_branches``; all of them, so the query should have a limit."""
        return self._call(
            "list_branches", lambda: list(self._provider.list_branches(repository, query))
        )

    def clone_url(self, repository: RepositoryId) -> CloneUrl:
        """See ``Provider.clone_url``."""
        return self._call("clone_url", lambda: self._provider.clone_url(repository))

    def explain_git_refusal(self, status: int | None, message: str) -> str | None:
        """See ``Provider.explain_git_refusal``."""
        return self._call(
            "explain_git_refusal", lambda: self._provider.explain_git_refusal(status, message)
        )

    def report_status(self, repository: RepositoryId, status: CommitStatus) -> bool:
        """See ``Provider.report_status``; returns whether the plugin supports it."""
        if not self._provider.supports("report_status"):
            return False
        self._call("report_status", lambda: self._provider.report_status(repository, status))
        return True

    def report_deployment(self, repository: RepositoryId, status: DeploymentStatus) -> bool:
        """See ``Provider.report_deployment``; returns whether the plugin supports it."""
        if not self._provider.supports("report_deployment"):
            return False
        self._call(
            "report_deployment", lambda: self._provider.report_deployment(repository, status)
        )
        return True

    def __enter__(self) -> Self:
        try:
            self._opened = self._call(_OPENING, self._open, late=lambda opened: opened.close())
        except PluginError as error:
            error.add_context(provider=self._name)
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._provider.close()

    @property
    def _provider(self) -> Provider:
        assert self._opened is not None, "it is used as a context manager"  # noqa: S101
        return self._opened

    def _call(
        self,
        hook: str,
        action: Callable[[], T],
        *,
        late: Callable[[T], object] = lambda result: None,
    ) -> T:
        try:
            return call_within(action, self._seconds, look=self._look, late=late)
        except Unanswered as error:
            under_way = error.under_way
        plugin = under_way.plugin if under_way else ""
        if not plugin and self._opened is not None:
            plugin = self._opened.plugin.label
        raise PluginError(
            f"The plugin did not answer within {self._seconds:g} s, and the call was abandoned.",
            hint="Try again. For a slow host, raise the application's timeouts:"
            " {provider: SECONDS}. If it happens again, report it to the plugin's author.",
            provider=self._name,
            plugin=plugin or None,
            hook=under_way.hook if under_way else hook,
        )


def fetch_hint(provider: InterruptibleProvider, error: GitError) -> None:
    """Replace the hint of a git error by the provider's own explanation, if it has one.

    Errors of Git LFS and of submodules, which may be on another server, are left unchanged.

    Raises:
        PluginError: The plugin failed; the hint repeats the error that it was to explain.
    """
    if error.details.keys() & {"oid", "service", "submodule"}:
        return
    try:
        hint = provider.explain_git_refusal(error.details.get("status"), error.message)
    except PluginError as failure:
        failure.hint = f"{failure.hint} The plugin was to explain this error: {error.message}"
        raise
    if hint:
        error.hint = hint
