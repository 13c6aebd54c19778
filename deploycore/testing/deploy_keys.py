"""The deploy keys of a sandbox's repositories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

__all__ = ["DeployKeys", "StoredKey"]


@dataclass(frozen=True)
class StoredKey:
    """A deploy key of a repository.

    Attributes:
        repository: The repository, as ``owner/slug``.
        text: The key's type and data, without a comment.
    """

    id: int
    repository: str
    text: str
    label: str
    read_only: bool = True


class DeployKeys:
    """The deploy keys of all repositories of a sandbox."""

    def __init__(self) -> None:
        self._keys: dict[int, StoredKey] = {}
        self._numbers = count(1)

    def of(self, repository: str) -> Sequence[StoredKey]:
        """Return the keys of a repository, in the order in which they were added."""
        return [key for key in list(self._keys.values()) if key.repository == repository]

    def all(self) -> Sequence[StoredKey]:
        """Return the keys of all repositories, in the order in which they were added."""
        return list(self._keys.values())

    def add(
        self, repository: str, text: str, label: str, *, read_only: bool = True
    ) -> StoredKey | None:
        """Add a key; return ``None`` if the text is not a key, or the repository already has it."""
        words = text.split()
        if len(words) < 2 or not words[0].startswith("ssh-") or not words[1].startswith("AAAA"):
            return None
        plain = " ".join(words[:2])
        if any(key.text == plain for key in self.of(repository)):
            return None
        key = StoredKey(next(self._numbers), repository, plain, label, read_only)
        self._keys[key.id] = key
        return key

    def find(self, repository: str, number: str) -> StoredKey | None:
        """Return the key with a number, if it belongs to the repository."""
        return next((key for key in self.of(repository) if str(key.id) == number), None)

    def remove(self, key: StoredKey) -> None:
        """Remove a key."""
        self._keys.pop(key.id, None)
