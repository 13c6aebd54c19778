"""Paths that are watched: an export is made only if one of them changed."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NothingWatchedChanged", "Watched"]


@dataclass(frozen=True)
class Watched:
    """Paths of which at least one must have changed for an export to be made.

    Attributes:
        since: Full hash of the commit to compare with. If it is not in the cache, the export is
            made.
        patterns: As those of a ``.gitignore`` at the top of the repository.
    """

    since: str
    patterns: tuple[str, ...]


class NothingWatchedChanged(Exception):
    """No watched path differs between the two commits, so nothing was written.

    The commit was fetched, and is in the cache.
    """
