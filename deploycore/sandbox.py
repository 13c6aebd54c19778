"""What the commands ``sandbox`` and ``demo`` need of a provider's sandbox, without any vendor.

A sandbox is a real server on loopback that speaks a git host's API and serves repositories, so
that everything can be tried without an account and without a network. A plugin that ships one
names its class by an entry point in the group ``deploycore.sandboxes``, under the provider's
kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from pydantic import SecretStr

__all__ = ["ProviderSandbox", "SandboxConnection"]


@dataclass(frozen=True)
class SandboxConnection:
    """One way to connect to a running sandbox.

    Attributes:
        title: For people, and short: ``API token``.
        settings: The fields of the provider's ``Config`` and their values, without ``name``.
        owner: Whose repositories there are to browse with it.
    """

    title: str
    settings: Mapping[str, str | SecretStr]
    owner: str


class ProviderSandbox(Protocol):
    """A running sandbox. Its credentials are made up at each start and open nothing else."""

    @classmethod
    def demo(cls, port: int = 0) -> Self:
        """Start a sandbox with something to look at in it.

        Args:
            port: Where to listen on loopback; 0 for any free port.

        Raises:
            OSError: The port can't be listened on.
        """

    @property
    def url(self) -> str:
        """Where it listens, without a trailing slash."""

    @property
    def connections(self) -> Sequence[SandboxConnection]:
        """The ways to connect to it, at least one for each way that the provider signs in."""

    def publish(
        self, owner: str, slug: str, branch: str, files: Mapping[str, bytes], message: str
    ) -> str:
        """Commit files to a branch, on top of what it holds; the repository and the branch are
        made where they don't exist.

        Args:
            files: Paths with forward slashes, and contents.

        Returns:
            The hash of the new commit.

        Raises:
            NotFound: There is no such owner.
        """

    def stop(self) -> None:
        """End the server and remove what it kept on disk; harmless when done already."""
