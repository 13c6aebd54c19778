"""Where to clone from over SSH, and the keys that github.com publishes.

The keys are in ``known_hosts``. Source: https://api.github.com/meta
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from urllib.parse import urlsplit

from deploycore.models import RepositoryId, SshAddress

__all__ = ["published", "ssh_address"]

_HOST = "github.com"


def ssh_address(url: str, repository: RepositoryId) -> SshAddress:
    """The address of a repository: the host's, with user ``git``.

    Args:
        url: The host's address.
    """
    host = urlsplit(url).hostname or _HOST
    return SshAddress(
        url=f"ssh://git@{f'[{host}]' if ':' in host else host}/{repository.path}.git",
        host_keys=published() if host == _HOST else (),
    )


@cache
def published() -> tuple[str, ...]:
    """The lines of ``known_hosts``."""
    text = files(__package__).joinpath("known_hosts").read_text(encoding="ascii")
    return tuple(text.splitlines())
