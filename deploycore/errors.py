"""Every error that deploycore raises on purpose, and what to do next about each.

The tree::

    DeploycoreError
    ├── ConfigurationError          a value the user gave is missing or wrong
    ├── PluginError                 a plugin is broken, or broke the contract
    ├── ProviderError               the git host, or the way to it
    │   ├── AuthenticationFailed
    │   ├── PermissionDenied
    │   ├── NotFound
    │   ├── RateLimited             carries ``retry_at``
    │   ├── ProviderUnavailable
    │   └── UnexpectedAnswer
    ├── GitError                    the git protocol, or what a repository holds
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

Each carries one sentence for a person, a ``hint`` with the next step, ``details`` for
machines and an exit code. None may ever carry a secret. Foreign exceptions are translated
once, at the edge where they appear.
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
        message: One sentence for a person: what happened, and to what.
        hint: The next step, as an instruction. Empty where there is none to give.
        details: Fields for machines, such as ``provider`` or ``repository``; the values
            must be JSON scalars or lists of them, and free of secrets.
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
        """Add fields that the raiser could not know; fields it did give are kept."""
        for key, value in details.items():
            if value is not None:
                self.details.setdefault(key, value)

    def __str__(self) -> str:
        context = ", ".join(
            f"{field} {self.details[field]}" for field in CONTEXT_FIELDS if field in self.details
        )
        return f"{self.message} [{context}]" if context else self.message

    def as_dict(self) -> dict[str, Any]:
        """The error as machines read it: ``code``, ``message``, ``hint``, ``details``."""
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
    """A value that the user gave is missing, malformed or contradicts another."""

    code = "configuration"
    exit_code = 3


class PluginError(DeploycoreError):
    """A plugin can't be loaded, or broke the provider contract."""

    code = "plugin"
    exit_code = 10


class ProviderError(DeploycoreError):
    """The git host refused or failed, or could not be reached."""

    code = "provider"
    exit_code = 6


class AuthenticationFailed(ProviderError):
    """The host does not accept the credentials."""

    code = "authentication_failed"
    exit_code = 4


class PermissionDenied(ProviderError):
    """The credentials are right, but may not do this."""

    code = "permission_denied"
    exit_code = 4


class NotFound(ProviderError):
    """The workspace, repository or branch does not exist, or is hidden from these credentials."""

    code = "not_found"
    exit_code = 5


class RateLimited(ProviderError):
    """The host asks for fewer requests.

    Args:
        retry_at: When the host says to try again, timezone-aware; ``None`` when it did not say.
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
    """The host can't be reached, or answers that it can't serve now."""

    code = "provider_unavailable"


class UnexpectedAnswer(ProviderError):
    """The host answered something that its published API does not describe."""

    code = "unexpected_answer"


class GitError(DeploycoreError):
    """A git operation failed."""

    code = "git"
    exit_code = 7


class RemoteRefused(GitError):
    """The git server refused: credentials, an unknown repository, or an unknown ref.

    The exit code is that of :class:`PermissionDenied` or :class:`NotFound` where that is why, so
    that it does not depend on whether git or the host's API was asked.
    """

    code = "remote_refused"

    def __init__(self, message: str, *, hint: str = "", **details: Any) -> None:
        super().__init__(message, hint=hint, **details)
        status = self.details.get("status")
        if "oid" in self.details:
            return  # a file of Git LFS is neither a repository nor a branch
        if status in _DENIED:
            self.exit_code = PermissionDenied.exit_code
        elif status in _ABSENT or ("ref" in self.details and status is None):
            self.exit_code = NotFound.exit_code


class KeyRefused(RemoteRefused):
    """The git server accepts none of the SSH keys that it was shown."""

    code = "key_refused"
    exit_code = 4


class HostKeyRefused(GitError):
    """The key of the SSH server is not known, or is not the one that is known.

    ``details`` has the ``host``, the server's ``algorithm`` and ``fingerprint``, the ``line`` of a
    known_hosts file for it, and as ``known`` the fingerprints that were expected.
    """

    code = "host_key_refused"
    exit_code = 4


class CorruptPack(GitError):
    """What the git server sent is not what its hashes promise."""

    code = "corrupt_pack"


class UnsafeRepository(GitError):
    """The repository holds something that must not be written to this machine."""

    code = "unsafe_repository"


class LimitExceeded(GitError):
    """A configured limit of size, count or time was reached."""

    code = "limit_exceeded"


class DeployError(DeploycoreError):
    """A deployment failed for a reason of its own."""

    code = "deploy"
    exit_code = 8


class Cancelled(DeployError):
    """The operation was asked to stop, and stopped; nothing was left half-written."""

    code = "cancelled"
    exit_code = 130


class Locked(DeployError):
    """Another process works on the same application or target."""

    code = "locked"


class RepositoryReplaced(DeployError):
    """The git host has another repository under the name than was deployed before."""

    code = "repository_replaced"


class StepFailed(DeployError):
    """A step of the application ended badly, took too long, or could not be started."""

    code = "step_failed"


class HealthCheckFailed(DeployError):
    """The release is live, but does not work."""

    code = "health_check_failed"


class Superseded(DeployError):
    """A newer deployment of the same application was asked for while this one waited."""

    code = "superseded"


class StoreError(DeploycoreError):
    """The database or the key of its secrets can't be used."""

    code = "store"
    exit_code = 9
