"""The addresses to clone from over SSH, and the keys that github.com publishes.

The keys are in ``known_hosts``. Source: https://api.github.com/meta
"""

from __future__ import annotations

from deploycore.models import RepositoryId, SshAddress
from deploycore.plugin_parts import published_host_keys, ssh_address_of

__all__ = ["published", "ssh_address"]


def ssh_address(url: str, repository: RepositoryId) -> SshAddress:
    """The address of a repository.

    Other hosts are expected to have their SSH server at the same name and at the usual port.

    Args:
        url: The server's address.
    """
    return ssh_address_of(
        repository,
        url=url,
        known_host="github.com",
        host_keys=published(),
    )


def published() -> tuple[str, ...]:
    """The lines of ``known_hosts``."""
    return published_host_keys(__package__)
