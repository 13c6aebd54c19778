"""The addresses to clone from over SSH, and the keys that codeberg.org publishes.

The keys are in ``known_hosts``. Source: https://docs.codeberg.org/security/ssh-fingerprint/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from deploycore.models import RepositoryId, SshAddress
from deploycore.plugin_parts import published_host_keys, ssh_address_of

if TYPE_CHECKING:
    from deploycore.models import Repository

__all__ = ["published", "ssh_address"]


def ssh_address(
    url: str, repository: RepositoryId, describe: Callable[[RepositoryId], Repository]
) -> SshAddress:
    """The address of a repository.

    Only codeberg.org is known to have its SSH server at the same name and at the usual port. Other
    servers return the address in their API.

    Args:
        url: The server's address.
        describe: Requests the description of a repository from the server.
    """
    return ssh_address_of(
        repository,
        url=url,
        known_host="codeberg.org",
        host_keys=published(),
        describe=describe,
    )


def published() -> tuple[str, ...]:
    """The lines of ``known_hosts``."""
    return published_host_keys(__package__)
