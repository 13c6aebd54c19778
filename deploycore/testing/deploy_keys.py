"""The deploy keys of a fake host's repositories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

__all__ = ["DeployKeys", "StoredKey"]


@dataclass(frozen=True)
class StoredKey:
    """A key that a repository has.

    Attributes:
        repository: As ``owner/slug``.
        text: Its type and its data, without a comment.
    """

    id: int
    repository: str
    text: str
    label: str
    read_only: bool = True


class DeployKeys:
    """The deploy keys of all repositories of a fake host."""

    def __init__(self) -> None:
        self._keys: dict[int, StoredKey] = {}
        self._numbers = count(1)

    def of(self, repository: str) -> Sequence[StoredKey]:
        """The keys of a repository, in the order of adding."""
        return [key for key in list(self._keys.values()) if key.repository == repository]

    def all(self) -> Sequence[StoredKey]:
        """The keys of all repositories, in the order of adding."""
        return list(self._keys.values())

    def add(
        self, repository: str, text: str, label: str, *, read_only: bool = True
    ) -> StoredKey | None:
        """Keep a key; ``None`` if it is not one, or the repository has it already."""
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
        """The key of a number, if it is the repository's."""
        return next((key for key in self.of(repository) if str(key.id) == number), None)

    def remove(self, key: StoredKey) -> None:
        """Forget a key."""
        self._keys.pop(key.id, None)
