"""The refs of a repository, which a provider reads from a git server through the core.

For hosts without an API. A provider class whose ``__init__`` takes ``(config, http, git)`` gets a
:class:`GitReader`; one that takes ``(config, http)`` gets none.
"""

from collections.abc import Iterator
from typing import Protocol

from deploycore.models import CloneUrl, CommitHash, Model, NonEmpty, SshAddress

__all__ = ["GitReader", "GitRef", "GitSource"]

GitSource = CloneUrl | SshAddress
"""The address of a repository, as ``clone_url`` or ``ssh_clone_url`` returns it. To an
``SshAddress``, the core adds the provider's SSH key, which the plugin does not see."""


class GitRef(Model):
    """A branch, a tag or another ref of a repository.

    Attributes:
        name: The full name, such as ``refs/heads/main``.
        commit: The full hash that it points to; for an annotated tag, that of the tagged commit.
    """

    name: NonEmpty
    commit: CommitHash


class GitReader(Protocol):
    """Reads refs from git servers, over HTTP(S) and SSH, as ``git ls-remote`` does.

    It uses the provider's own network settings (CA certificates, client certificate, proxy,
    timeouts), retries after temporary failures, and has the limits of a fetch. It raises the same
    errors as the provider's ``http`` client. It is safe to use from several threads at once.
    """

    def refs(self, source: GitSource, *, prefix: str = "refs/heads/") -> Iterator[GitRef]:
        """List the refs of a repository, sorted by name. The request is sent for the first item.

        Refs are left out if git does not allow their names, if their names are not UTF-8, or if
        they have no valid commit hash.

        Args:
            prefix: List only refs whose full names begin with this.

        Raises:
            AuthenticationFailed: The server rejects the credential or the SSH key.
            PermissionDenied: It does not allow this credential to read the repository.
            NotFound: The repository does not exist, or is hidden from this credential.
            RateLimited: The server asks for fewer requests.
            ProviderUnavailable: The server cannot be reached, is too slow, or fails.
            UnexpectedAnswer: The answer is not the git protocol, or is too large.
            HostKeyRefused: The SSH server's key is unknown, or differs from the known one.
            ConfigurationError: The address is not valid, or there is no SSH key for it.
        """

    def default_branch(self, source: GitSource) -> str | None:
        """Find the branch that ``HEAD`` names, without ``refs/heads/``.

        Returns:
            ``None`` for an empty repository, and if the server does not say.

        Raises:
            ProviderError: As for ``refs``.
        """
