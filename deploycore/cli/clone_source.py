"""Find out where to clone a repository from; if possible, in a second process.

Opening a provider takes as long as importing what git needs. So ``clone`` forks a process that
opens the provider and calls ``clone_url``, while the command imports git. If the process fails, it
answers nothing. Then the command does the same itself, and reports the error.
"""

from __future__ import annotations

import os
import select
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from deploycore.forking import Forked, detach

if TYPE_CHECKING:
    import mmap
    import socket

    from deploycore.git import Cancellation, GitSettings
    from deploycore.installation import Installation
    from deploycore.models import CloneUrl, GitCredential, RepositoryId, SshCredential
    from deploycore.provider import Provider

    Credential = GitCredential | SshCredential

__all__ = ["CloneSource", "OpenedProvider", "SourceProcess", "source_process"]

_LENGTH = struct.Struct("=I")
_MAX_BYTES = 256 * 1024
_LOOK_MILLISECONDS = 50


class CloneSource(NamedTuple):
    """Where to clone a repository from.

    Attributes:
        source: The URL and the credential.
        owner: The repository's owner.
        slug: The repository's name.
        settings: The settings of git for its provider.
    """

    source: CloneUrl
    owner: str
    slug: str
    settings: GitSettings

    def __str__(self) -> str:
        return f"{self.owner}/{self.slug}"

    @property
    def repository(self) -> RepositoryId:
        """The repository, as hooks take it."""
        from deploycore.models import RepositoryId

        return RepositoryId(owner=self.owner, slug=self.slug)


class OpenedProvider:
    """A provider that is opened when it is first used, and closed with the context.

    Args:
        name: The provider's name.
        cancellation: Ends the wait for the plugin.
    """

    def __init__(self, name: str, cancellation: Cancellation) -> None:
        self.name = name
        self._cancellation = cancellation
        self._lock = threading.Lock()
        self._open = ExitStack()
        self._opened: tuple[Installation, Provider] | None = None

    def __enter__(self) -> OpenedProvider:
        return self

    def __exit__(self, *raised: object) -> None:
        self._open.close()

    @property
    def provider(self) -> Provider:
        """The provider."""
        return self._both()[1]

    def find(self, repository: str) -> CloneSource:
        """Return where to clone a repository from.

        Args:
            repository: Its name, or its address.

        Raises:
            DeploycoreError: The provider cannot be opened, or does not know it.
        """
        installation, provider = self._both()
        wanted = installation.read_repository(self.name, repository)
        settings = provider.git_settings(installation.git_settings)
        return CloneSource(provider.clone_url(wanted), wanted.owner, wanted.slug, settings)

    def renew(self, found: CloneSource, rejected: Credential) -> Credential | None:
        """Return another credential, as ``git.clone`` asks for it."""
        from deploycore.git.plain_source import credential_as_model

        return self.provider.renew_credential(found.repository)(credential_as_model(rejected))

    def _both(self) -> tuple[Installation, Provider]:
        with self._lock:
            if self._opened is None:
                from deploycore.deploy import InterruptibleProvider
                from deploycore.installation import Installation

                installation = self._open.enter_context(Installation())
                provider = InterruptibleProvider(
                    self.name,
                    lambda: installation.open_provider(self.name),
                    look=self._cancellation.raise_if_cancelled,
                )
                self._opened = installation, self._open.enter_context(provider)
            return self._opened


@contextmanager
def source_process(provider: str, repository: str) -> Iterator[SourceProcess | None]:
    """Start the process, if it can run at the same time as this one."""
    forked = None
    if _has_several_processors():
        forked = Forked.start(partial(_serve, provider, repository), _MAX_BYTES)
    if forked is None:
        yield None
        return
    process = SourceProcess(forked)
    try:
        yield process
    finally:
        process.end()


class SourceProcess:
    """The process that finds out where to clone from."""

    def __init__(self, forked: Forked) -> None:
        self._forked = forked
        self._is_over = False

    def wait(self, cancellation: Cancellation) -> CloneSource | None:
        """Wait for the answer; ``None`` if the process failed.

        Raises:
            Cancelled: The wait was cancelled.
        """
        control, shared = self._forked.control, self._forked.shared
        poll = select.poll()
        poll.register(control, select.POLLIN)
        while not poll.poll(_LOOK_MILLISECONDS):
            cancellation.raise_if_cancelled()
        self._is_over = True
        try:
            said = control.recv(_LENGTH.size)
        except ConnectionError:
            return None
        if len(said) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack(said)
        packed = shared[:length]
        shared[:length] = bytes(length)
        return _unpacked(packed)

    def end(self) -> None:
        """Let the process close the provider, or end it if it has not answered."""
        if self._is_over:
            self._forked.join()
        else:
            self._forked.end()


def _has_several_processors() -> bool:
    return sys.platform == "linux" and len(os.sched_getaffinity(0)) > 1


def _serve(provider: str, repository: str, control: socket.socket, shared: mmap.mmap) -> None:
    """Answer in the process."""
    from deploycore.cli.waiting import telling_of_waits
    from deploycore.git.progress import Cancellation

    detach(control, output=2)
    with telling_of_waits(interruptible=False), OpenedProvider(provider, Cancellation()) as opened:
        packed = _packed(opened.find(repository))
        if len(packed) <= _MAX_BYTES:
            shared[: len(packed)] = packed
            control.sendall(_LENGTH.pack(len(packed)))


def _packed(found: CloneSource) -> bytes:
    import marshal
    from dataclasses import fields

    from deploycore.git.plain_source import pack_source, pack_value

    settings = found.settings
    values = {each.name: pack_value(getattr(settings, each.name)) for each in fields(settings)}
    return marshal.dumps((pack_source(found.source), found.owner, found.slug, values))


def _unpacked(packed: bytes) -> CloneSource:
    import marshal

    from deploycore.git.plain_source import unpack_source, unpack_value
    from deploycore.git.settings import GitSettings

    # The data always comes from the process that this one has forked.
    source, owner, slug, values = marshal.loads(packed)  # noqa: S302
    settings = GitSettings(**{name: unpack_value(value) for name, value in values.items()})
    return CloneSource(unpack_source(source), owner, slug, settings)
