"""The errors that deploycore and its plugins raise.

The tree::

    DeploycoreError
    ├── ConfigurationError          a value from the user is missing or invalid
    ├── PluginError                 a plugin is broken, or violates the contract
    ├── ProviderError               the git host or the network failed
    │   ├── AuthenticationFailed
    │   ├── PermissionDenied
    │   ├── NotFound
    │   ├── RateLimited             has ``retry_at``
    │   ├── ProviderUnavailable
    │   └── UnexpectedAnswer
    ├── GitError                    a git server or the content of a repository
    │   ├── RemoteRefused
    │   │   └── KeyRefused
    │   ├── HostKeyRefused
    │   ├── CorruptPack
    │   ├── UnsafeRepository
    │   └── LimitExceeded
    ├── DeployError
    │   ├── Cancelled
    │   ├── HealthCheckFailed
    │   ├── Locked
    │   ├── RepositoryReplaced
    │   ├── StepFailed
    │   └── Superseded
    └── StoreError                  the database, or the key of its secrets

Each error has a message of one sentence, a ``hint`` with the next step, ``details`` for programs,
and an exit code. No error may contain a secret. Exceptions of other libraries are converted to
these errors where they occur.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from deploycore.times import for_machines

__all__ = [
    "AuthenticationFailed",
    "Cancelled",
    "ConfigurationError",
    "CorruptPack",
    "DeployError",
    "DeploycoreError",
    "GitError",
    "HealthCheckFailed",
    "HostKeyRefused",
    "KeyRefused",
    "LimitExceeded",
    "Locked",
    "NotFound",
    "PermissionDenied",
    "PluginError",
    "ProviderError",
    "ProviderUnavailable",
    "RateLimited",
    "RemoteRefused",
    "RepositoryReplaced",
    "StepFailed",
    "StoreError",
    "Superseded",
    "UnexpectedAnswer",
    "UnsafeRepository",
]

CONTEXT_FIELDS = ("provider", "plugin", "hook")
_DENIED, _ABSENT = (401, 403), (404, 410)  # statuses of HTTP


class DeploycoreError(Exception):
    """The base of all errors that deploycore raises on purpose.

    Args:
        message: One sentence for people: what failed, for what, and why.
        hint: The next step, as an instruction; empty if there is none.
        details: Fields for programs, such as ``provider`` or ``repository``. The values must be
            JSON scalars or lists of them, and must not contain secrets.
    """

    code: ClassVar[str] = "error"
    exit_code: int = 1

    def __init__(self, message: str, *, hint: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: dict[str, Any] = {
            key: value for key, value in details.items() if value is not None
        }

    def add_context(self, **details: str | int | None) -> None:
        """Add details that are not set yet, such as the name of the provider."""
        for key, value in details.items():
            if value is not None:
                self.details.setdefault(key, value)

    def __str__(self) -> str:
        context = ", ".join(
            f"{field} {self.details[field]}" for field in CONTEXT_FIELDS if field in self.details
        )
        return f"{self.message} [{context}]" if context else self.message

    def as_dict(self) -> dict[str, Any]:
        """Return the error for programs: ``code``, ``message``, ``hint`` and ``details``."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "details": dict(self.details),
        }


def with_next_step(error: DeploycoreError) -> str:
    """The sentence of an error and its hint, for a log."""
    return f"{error} Next: {error.hint}" if error.hint else str(error)


class ConfigurationError(DeploycoreError):
    """A value from the user is missing or invalid, or contradicts another value."""

    code = "configuration"
    exit_code = 3


class PluginError(DeploycoreError):
    """A plugin cannot be loaded, or violates the provider contract."""

    code = "plugin"
    exit_code = 10


class ProviderError(DeploycoreError):
    """A request to the git host failed."""

    code = "provider"
    exit_code = 6


class AuthenticationFailed(ProviderError):
    """The host does not accept the credentials."""

    code = "authentication_failed"
    exit_code = 4


class PermissionDenied(ProviderError):
    """The credentials are valid, but lack a permission."""

    code = "permission_denied"
    exit_code = 4


class NotFound(ProviderError):
    """The owner, repository or branch was not found, or these credentials cannot read it."""

    code = "not_found"
    exit_code = 5


class RateLimited(ProviderError):
    """The host's rate limit is exceeded.

    Args:
        retry_at: When the host allows the next request, with a time zone; ``None`` if it does not
            say.
    """

    code = "rate_limited"

    def __init__(
        self, message: str, *, retry_at: datetime | None = None, hint: str = "", **details: Any
    ) -> None:
        super().__init__(
            message, hint=hint, retry_at=retry_at and for_machines(retry_at), **details
        )
        self.retry_at = retry_at


class ProviderUnavailable(ProviderError):
    """The host is unreachable, or responds that it is unavailable."""

    code = "provider_unavailable"


class UnexpectedAnswer(ProviderError):
    """The host's response does not match the documentation of its API."""

    code = "unexpected_answer"


class GitError(DeploycoreError):
    """A git operation failed."""

    code = "git"
    exit_code = 7


class RemoteRefused(GitError):
    """The git server rejected the request: the credentials, the repository or the ref is wrong.

    If the reason is a missing permission or an unknown repository or ref, the exit code is that of
    :class:`PermissionDenied` or :class:`NotFound`, as for requests to the host's API.
    """

    code = "remote_refused"

    def __init__(self, message: str, *, hint: str = "", **details: Any) -> None:
        super().__init__(message, hint=hint, **details)
        status = self.details.get("status")
        if "oid" in self.details:
            return  # a Git LFS file was rejected, not a repository or branch
        if status in _DENIED:
            self.exit_code = PermissionDenied.exit_code
        elif status in _ABSENT or ("ref" in self.details and status is None):
            self.exit_code = NotFound.exit_code


class KeyRefused(RemoteRefused):
    """The git server accepts none of the SSH keys that were tried."""

    code = "key_refused"
    exit_code = 4


class HostKeyRefused(GitError):
    """The key of the SSH server is unknown, or differs from the known one.

    ``details`` has the ``host``, the server's ``algorithm`` and ``fingerprint``, the ``line`` of a
    known_hosts file for it, the expected fingerprints as ``known``, and whether the key is
    ``revoked``.
    """

    code = "host_key_refused"
    exit_code = 4


class CorruptPack(GitError):
    """The git server sent data that is damaged or does not match its hashes."""

    code = "corrupt_pack"


class UnsafeRepository(GitError):
    """The repository contains something unsafe, such as a path outside the release."""

    code = "unsafe_repository"


class LimitExceeded(GitError):
    """A configured limit of size, number or time was exceeded."""

    code = "limit_exceeded"


class DeployError(DeploycoreError):
    """A deployment failed, for a reason other than the git host, git or the database."""

    code = "deploy"
    exit_code = 8


class Cancelled(DeployError):
    """The operation was canceled. It left nothing incomplete behind."""

    code = "cancelled"
    exit_code = 130


class Locked(DeployError):
    """Another process is deploying the same application or target."""

    code = "locked"


class RepositoryReplaced(DeployError):
    """Another repository now has the name of the application's repository."""

    code = "repository_replaced"


class StepFailed(DeployError):
    """A step of the application failed, timed out, or could not be started."""

    code = "step_failed"


class HealthCheckFailed(DeployError):
    """The release failed its health check."""

    code = "health_check_failed"


class Superseded(DeployError):
    """While this deployment waited, a newer one of the same application was requested."""

    code = "superseded"


class StoreError(DeploycoreError):
    """The database, or the key of its secrets, cannot be used."""

    code = "store"
    exit_code = 9
