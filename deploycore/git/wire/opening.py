"""Choose the git client for a repository's URL: HTTP or SSH. Only its modules are imported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from deploycore.git.operation import Operation
from deploycore.git.wire.client import GitClient
from deploycore.git.wire.request import FetchReceiver, Wanted
from deploycore.models import CloneUrl
from deploycore.ssh.server import is_ssh

__all__ = ["open_client"]


@contextmanager
def open_client(
    source: CloneUrl, operation: Operation, wanted: Wanted, receiver: FetchReceiver
) -> Iterator[GitClient]:
    """Open a client for one fetch.

    Raises:
        ConfigurationError: The URL is for SSH, and the extra ``ssh`` is not installed.
    """
    if is_ssh(source.url):
        from deploycore.git.wire.ssh_client import open_ssh_client

        with open_ssh_client(source, operation, wanted, receiver) as client:
            yield client
    else:
        from deploycore.git.wire.http_client import open_http_client

        with open_http_client(source, operation, wanted, receiver) as client:
            yield client
