"""Find the commit of a branch or a tag, with one request for refs and no fetch."""

from __future__ import annotations

from deploycore.git.operation import Operation
from deploycore.git.wire.fetch import fetch
from deploycore.git.wire.request import Fetched, Wanted
from deploycore.models import CloneUrl

__all__ = ["Nothing", "ask"]


class Nothing:
    """Receives no pack, as if every commit were there already."""

    def __init__(self, capabilities: frozenset[bytes]) -> None:
        self.capabilities = capabilities

    def holds(self, commit: str) -> bool:
        """Every commit counts as there."""
        return True

    def haves(self) -> list[str]:
        """No commits are announced."""
        return []

    def begin(self, commit: str) -> None:
        """Not called, since nothing is requested."""
        raise AssertionError("no pack was requested")

    def feed(self, data: bytes) -> None:
        """Not called, since nothing is requested."""
        raise AssertionError("no pack was requested")


def ask(
    source: CloneUrl, wanted: Wanted, operation: Operation, capabilities: frozenset[bytes]
) -> Fetched:
    """Find a commit; errors as in ``fetch``.

    Args:
        capabilities: The server's capabilities, if they are known; else empty.
    """
    return fetch(source, wanted, Nothing(capabilities), operation)
