"""Requests of plugins to git servers, through the core; see ``deploycore.git_reader``.

A hook must raise the errors of git hosts, so errors of git are translated here. Providers whose
classes take no git reader never load this module.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from deploycore.errors import (
    AuthenticationFailed,
    DeploycoreError,
    GitError,
    HostKeyRefused,
    KeyRefused,
    LimitExceeded,
    NotFound,
    PermissionDenied,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    RemoteRefused,
    UnexpectedAnswer,
)
from deploycore.git import GitSettings, list_refs
from deploycore.git_reader import GitRef, GitSource
from deploycore.http import HttpSettings
from deploycore.models import CloneUrl, SshAddress, is_commit_hash
from deploycore.provider.core_fields import CoreFields
from deploycore.redaction import Redactor, secrets_in

if TYPE_CHECKING:
    from deploycore.git.wire.listing import ListedRefs

__all__ = ["ProviderGitReader"]

_KINDS: dict[int, type[ProviderError]] = {
    401: AuthenticationFailed,
    403: PermissionDenied,
    404: NotFound,
    410: NotFound,
}


class ProviderGitReader:
    """The ``GitReader`` of one provider.

    Args:
        core: The provider's own network and its SSH key.
        settings: Timeouts and retries of its HTTP client, which hold here too.
        redactor: Learns the secrets that are sent to git servers.
    """

    def __init__(self, core: CoreFields, settings: HttpSettings | None, redactor: Redactor) -> None:
        self._core = core
        self._redactor = redactor
        http = core.http_settings(settings)
        self._settings = core.git_settings(
            replace(
                GitSettings(),
                connect_timeout=http.connect_timeout,
                read_timeout=http.read_timeout,
                total_timeout=http.total_timeout,
                retries=http.retries,
                retry_wait=http.backoff_first,
            )
        )

    def refs(self, source: GitSource, *, prefix: str = "refs/heads/") -> Iterator[GitRef]:
        """List refs; see ``GitReader``."""
        for name, commit in self._ask(source, prefix).refs.items():
            if is_commit_hash(commit) and commit.strip("0"):
                yield GitRef(name=name, commit=commit)

    def default_branch(self, source: GitSource) -> str | None:
        """Find the default branch; see ``GitReader``."""
        return self._ask(source, "HEAD").head

    def _ask(self, source: GitSource, prefix: str) -> ListedRefs:
        if isinstance(source, SshAddress) and self._core.uses_ssh:
            source = self._core.ssh_source(source)
        elif isinstance(source, SshAddress):
            source = CloneUrl(url=source.url)  # git reports that there is no key
        for secret in secrets_in(source):
            self._redactor.learn(secret)
        try:
            return list_refs(source, [prefix], settings=self._settings)
        except (HostKeyRefused, ProviderError):
            raise
        except GitError as error:
            failure = _translated(error)
        # Raise here, so that git's own error with its frames does not become the context of this
        # one.
        raise failure


def _translated(error: GitError) -> DeploycoreError:
    kind = _kind_of(error)
    details = {key: value for key, value in error.details.items() if key != "reason"}
    if kind is RateLimited:
        seconds = details.get("retry_after")
        at = None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)
        return RateLimited(error.message, retry_at=at, hint=error.hint, **details)
    return kind(error.message, hint=error.hint, **details)


def _kind_of(error: GitError) -> type[ProviderError]:
    status = error.details.get("status")
    if isinstance(error, KeyRefused):
        return AuthenticationFailed
    if status == 429:
        return RateLimited
    if status in _KINDS:
        return _KINDS[status]
    if isinstance(error, LimitExceeded):
        is_late = error.details.get("limit") == "total_timeout"
        return ProviderUnavailable if is_late else UnexpectedAnswer
    if error.details.get("reason") == "not_git" or (status is not None and status < 500):
        return UnexpectedAnswer
    if isinstance(error, RemoteRefused):
        # A refusal in the protocol has no status. Usually, the repository does not exist.
        return NotFound
    return ProviderUnavailable
