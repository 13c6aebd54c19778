"""Parts that plugins of several hosts need in the same form.

A plugin may use them or have its own: no hook requires them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from deploycore.errors import NotFound
from deploycore.models import SshAddress

if TYPE_CHECKING:
    from deploycore.events import DeployKey, RegisteredKey
    from deploycore.models import Repository, RepositoryId

__all__ = [
    "Action",
    "add_deploy_key_once",
    "published_host_keys",
    "remove_by_number",
    "ssh_address_of",
]


Action = Literal[
    "read",
    "list webhooks",
    "register webhook",
    "remove webhook",
    "list deploy keys",
    "add deploy key",
    "remove deploy key",
    "report status",
]
"""The purpose of a request, to explain an error response. A plugin may have further purposes."""


@cache
def published_host_keys(package: str) -> tuple[str, ...]:
    """Read the host keys that a host publishes, from the file ``known_hosts`` of a plugin.

    Args:
        package: The name of the plugin's package.

    Returns:
        The lines of the file.
    """
    text = files(package).joinpath("known_hosts").read_text(encoding="ascii")
    return tuple(text.splitlines())


def ssh_address_of(
    repository: RepositoryId,
    *,
    url: str,
    known_host: str,
    host_keys: tuple[str, ...],
    describe: Callable[[RepositoryId], Repository] | None = None,
) -> SshAddress:
    """Return the SSH address of a repository: the host's, with user ``git``.

    Args:
        url: The address of the host.
        known_host: The host whose SSH server has the same name and the usual port.
        host_keys: The keys that ``known_host`` publishes.
        describe: Requests the description of a repository from another host, whose SSH link is used
            if it is valid. Without this, other hosts are expected to be like ``known_host``.
    """
    host = urlsplit(url).hostname or known_host
    if host != known_host and describe is not None:
        for link in describe(repository).clone_links:
            if link.name == "ssh":
                try:
                    return SshAddress.parse(link.href)
                except ValueError:
                    continue
    return SshAddress(
        url=f"ssh://git@{f'[{host}]' if ':' in host else host}/{repository.path}.git",
        host_keys=host_keys if host == known_host else (),
    )


def add_deploy_key_once(
    known: Iterable[RegisteredKey], key: DeployKey, send: Callable[[], RegisteredKey]
) -> RegisteredKey:
    """Register a deploy key, unless the host has it already.

    Args:
        known: The keys of the repository.
        send: Registers the key.
    """
    for each in known:
        if each.is_of(key) and each.read_only:
            return each
    return send()


def remove_by_number(number: str, send: Callable[[], object]) -> bool:
    """Remove an object whose identifier at the host is a number.

    Args:
        send: Sends the request. It raises ``NotFound`` if there is nothing to remove.

    Returns:
        Whether there was something to remove.
    """
    if not (number.isascii() and number.isdecimal()):
        return False
    try:
        send()
    except NotFound:
        return False
    return True
