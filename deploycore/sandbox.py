"""The interface of a provider's sandbox, which ``deploycore sandbox`` and ``deploycore demo`` use.

A sandbox is a server on the loopback address that imitates a git host's API and serves
repositories. With it, you can try everything without an account and without a network. An entry
point in the group ``deploycore.sandboxes``, with the kind of the provider, names its class.
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
        title: A short name for people, such as ``API token``.
        settings: The values of the provider's ``Config`` by field, without ``name``.
        owner: An owner whose repositories can be listed with it.
    """

    title: str
    settings: Mapping[str, str | SecretStr]
    owner: str


class SecretSource:
    """Creates the secrets of a sandbox. They are valid only for the sandbox.

    Args:
        seed: The same seed gives the same secrets in the same order; ``None`` for random ones.
    """

    def __init__(self, seed: str | None = None) -> None:
        self._seed = seed
        self._drawn = 0
        self._made: list[str] = []

    @property
    def is_seeded(self) -> bool:
        """Whether the secrets depend on a seed."""
        return self._seed is not None

    def token_bytes(self, length: int) -> bytes:
        """Return a number of bytes."""
        if self._seed is None:
            return secrets.token_bytes(length)
        self._drawn += 1
        blocks = (self._block(self._seed, number) for number in range(-(-length // 32)))
        return b"".join(blocks)[:length]

    def token_hex(self, length: int) -> str:
        """Return a number of bytes in hexadecimal."""
        return self.noted(self.token_bytes(length).hex())

    def token_urlsafe(self, length: int) -> str:
        """Return a number of bytes in URL-safe Base64, without padding."""
        encoded = base64.urlsafe_b64encode(self.token_bytes(length))
        return self.noted(encoded.rstrip(b"=").decode())

    def text(self, length: int, alphabet: str) -> str:
        """Return a number of characters of an alphabet."""
        numbers = (int.from_bytes(self.token_bytes(8)) for _ in range(length))
        return self.noted("".join(alphabet[number % len(alphabet)] for number in numbers))

    def noted(self, text: str) -> str:
        """Record a secret that was created from bytes of this source, and return it."""
        self._made.append(text)
        return text

    def has_made(self, secret: SecretStr) -> bool:
        """Whether a secret is, or contains, one that was created here."""
        return any(text in secret.get_secret_value() for text in self._made)

    def _block(self, seed: str, number: int) -> bytes:
        message = f"deploycore sandbox {self._drawn} {number}".encode()
        return hmac.digest(seed.encode(), message, hashlib.sha256)


_source: ContextVar[SecretSource | None] = ContextVar("deploycore_sandbox_source", default=None)


def secret_source() -> SecretSource:
    """Return the source for a sandbox that is being created: a seeded one within :func:`seeded`."""
    return _source.get() or SecretSource()


@contextmanager
def seeded(seed: str) -> Iterator[SecretSource]:
    """A context in which a new sandbox gets the credentials of a seed."""
    source = SecretSource(seed)
    former = _source.set(source)
    try:
        yield source
    finally:
        _source.reset(former)


class ProviderSandbox(Protocol):
    """A running sandbox. Its credentials are created at each start, and are valid only for it.

    If it creates them with :func:`secret_source`, it can have the same ones again (``deploycore
    sandbox --seed``).
    """

    @classmethod
    def demo(cls, port: int = 0) -> Self:
        """Start a sandbox with content to try.

        Args:
            port: The port to listen on; 0 for any free port.

        Raises:
            OSError: The port cannot be used.
        """

    @property
    def url(self) -> str:
        """The address that it listens on, without a slash at its end."""

    @property
    def connections(self) -> Sequence[SandboxConnection]:
        """Return the ways to connect to it, at least one for each way to sign in."""

    def publish(
        self, owner: str, slug: str, branch: str, files: Mapping[str, bytes], message: str
    ) -> str:
        """Commit files to a branch. The repository and the branch are created if they do not exist.

        Args:
            files: The content by path, with forward slashes.

        Returns:
            The hash of the new commit.

        Raises:
            NotFound: The owner does not exist.
        """

    def stop(self) -> None:
        """Stop the server and remove its files. You can call this twice."""
