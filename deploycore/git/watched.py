"""Paths that are watched: an export is made only if one of them changed."""

from __future__ import annotations

from deploycore.records import record

__all__ = ["NothingWatchedChanged", "Watched"]


@record
class Watched:
    """Watched paths: an export is made only if at least one of them has changed.

    Attributes:
        since: Full hash of the commit to compare with. If the cache does not have it, the export
            is made.
        patterns: As those of a ``.gitignore`` at the top of the repository.
    """

    since: str
    patterns: tuple[str, ...]


class NothingWatchedChanged(Exception):
    """No watched path differs between the two commits, so nothing was written.

    The commit was fetched, and is in the cache.
    """
