"""Which commit a branch or a tag is now: one advertisement of refs, and nothing fetched."""

from __future__ import annotations

from deploycore.git.operation import Operation
from deploycore.git.wire.fetch import fetch
from deploycore.git.wire.request import Fetched, Wanted
from deploycore.models import CloneUrl

__all__ = ["ask"]


class _Nothing:
    """Takes no pack: as if everything were there already."""

    def __init__(self, capabilities: frozenset[bytes]) -> None:
        self.capabilities = capabilities

    def holds(self, commit: str) -> bool:
        """All of them."""
        return True

    def haves(self) -> list[str]:
        """None that would have to be told."""
        return []

    def begin(self, commit: str) -> None:
        """Nothing begins."""
        raise AssertionError("nothing was asked for")

    def feed(self, data: bytes) -> None:
        """Nothing comes."""
        raise AssertionError("nothing was asked for")


def ask(
    source: CloneUrl, wanted: Wanted, operation: Operation, capabilities: frozenset[bytes]
) -> Fetched:
    """Find a commit; errors as those of ``fetch``.

    Args:
        capabilities: What the server said formerly; may be empty.
    """
    return fetch(source, wanted, _Nothing(capabilities), operation)
