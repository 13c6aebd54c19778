"""Where to clone from over SSH, and the keys that gitlab.com publishes.

The keys are in ``known_hosts``. Source: https://docs.gitlab.com/user/gitlab_com/#ssh-known_hosts-entries
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.resources import files
from urllib.parse import urlsplit

from deploycore.models import Repository, RepositoryId, SshAddress

__all__ = ["published", "ssh_address"]

_HOST = "gitlab.com"


def ssh_address(
    url: str, repository: RepositoryId, describe: Callable[[RepositoryId], Repository]
) -> SshAddress:
    """The address of a repository.

    Only gitlab.com is known to have its SSH server at the same name and at the usual port. Other
    servers are asked.

    Args:
        url: The server's address.
        describe: Asks the server for a repository.
    """
    host = urlsplit(url).hostname or _HOST
    if host == _HOST:
        return SshAddress(url=f"ssh://git@{host}/{repository.path}.git", host_keys=published())
    links = [each.href for each in describe(repository).clone_links if each.name == "ssh"]
    for link in links:
        try:
            return SshAddress.parse(link)
        except ValueError:
            continue
    shown = f"[{host}]" if ":" in host else host
    return SshAddress(url=f"ssh://git@{shown}/{repository.path}.git")


@cache
def published() -> tuple[str, ...]:
    """The lines of ``known_hosts``."""
    text = files(__package__).joinpath("known_hosts").read_text(encoding="ascii")
    return tuple(text.splitlines())
