"""What the commands ``sandbox`` and ``demo`` need of a provider's sandbox, without any vendor.

A sandbox is a real server on loopback that speaks a git host's API and serves repositories, so
that everything can be tried without an account and without a network. A plugin that ships one
names its class by an entry point in the group ``deploycore.sandboxes``, under the provider's
kind.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol, Self

from pydantic import SecretStr

__all__ = ["ProviderSandbox", "SandboxConnection", "SecretSource", "secret_source", "seeded"]


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


class SecretSource:
    """Where a sandbox takes its made-up secrets from. They open nothing but the sandbox.

    Args:
        seed: The same seed gives the same secrets in the same order; ``None`` for random ones.
    """

    def __init__(self, seed: str | None = None) -> None:
        self._seed = seed
        self._drawn = 0
        self._made: list[str] = []

    @property
    def is_seeded(self) -> bool:
        """Whether the same secrets come again for the same seed."""
        return self._seed is not None

    def token_bytes(self, length: int) -> bytes:
        """So many bytes."""
        if self._seed is None:
            return secrets.token_bytes(length)
        self._drawn += 1
        blocks = (self._block(self._seed, number) for number in range(-(-length // 32)))
        return b"".join(blocks)[:length]

    def token_hex(self, length: int) -> str:
        """So many bytes in hexadecimal."""
        return self.noted(self.token_bytes(length).hex())

    def token_urlsafe(self, length: int) -> str:
        """So many bytes in the Base64 of addresses, without padding."""
        encoded = base64.urlsafe_b64encode(self.token_bytes(length))
        return self.noted(encoded.rstrip(b"=").decode())

    def text(self, length: int, alphabet: str) -> str:
        """So many characters of an alphabet."""
        numbers = (int.from_bytes(self.token_bytes(8)) for _ in range(length))
        return self.noted("".join(alphabet[number % len(alphabet)] for number in numbers))

    def noted(self, text: str) -> str:
        """Remember a secret that was made of bytes from here, and give it back."""
        self._made.append(text)
        return text

    def has_made(self, secret: SecretStr) -> bool:
        """Whether a secret is, or holds, one that was made here."""
        return any(text in secret.get_secret_value() for text in self._made)

    def _block(self, seed: str, number: int) -> bytes:
        message = f"deploycore sandbox {self._drawn} {number}".encode()
        return hmac.digest(seed.encode(), message, hashlib.sha256)


_source: ContextVar[SecretSource | None] = ContextVar("deploycore_sandbox_source", default=None)


def secret_source() -> SecretSource:
    """The source for the sandbox that is being made: a seeded one within :func:`seeded`."""
    return _source.get() or SecretSource()


@contextmanager
def seeded(seed: str) -> Iterator[SecretSource]:
    """Within this, a sandbox gets the credentials that belong to a seed."""
    source = SecretSource(seed)
    former = _source.set(source)
    try:
        yield source
    finally:
        _source.reset(former)


class ProviderSandbox(Protocol):
    """A running sandbox. Its credentials are made up at each start and open nothing else.

    One that makes them by :func:`secret_source` can be given the same ones again
    (``deploycore sandbox --seed``).
    """

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
