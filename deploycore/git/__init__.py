"""Git over HTTP(S): write a commit of a server's repository to the disk, all of it or nothing.

This is the only package that uses dulwich, as a library for the protocol and for objects.
Connections, checkout and everything that touches the disk are implemented here, since neither a
server nor a repository is trusted.
"""

from __future__ import annotations

from deploycore.lazy import lazy_exports

TYPE_CHECKING = False  # type checkers treat this as true; importing typing would cost 10 ms
if TYPE_CHECKING:
    from deploycore.git.checkout.target import find_leftovers, remove_leftovers
    from deploycore.git.granted import FindSource, GrantedSource
    from deploycore.git.operations import (
        clone,
        export,
        list_refs,
        refuse_malformed_patterns,
        resolve,
    )
    from deploycore.git.progress import (
        Cancellation,
        CheckedOut,
        Progress,
        ProgressListener,
        no_progress,
    )
    from deploycore.git.repositories.cache import CacheEntry, RepositoryCache
    from deploycore.git.settings import EscapingLinks, GitSettings, Reuse
    from deploycore.git.watched import NothingWatchedChanged, Watched
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "deploycore.git.repositories.cache": ("CacheEntry", "RepositoryCache"),
            "deploycore.git.operations": (
                "clone",
                "export",
                "list_refs",
                "refuse_malformed_patterns",
                "resolve",
            ),
            "deploycore.git.progress": (
                "Cancellation",
                "CheckedOut",
                "Progress",
                "ProgressListener",
                "no_progress",
            ),
            "deploycore.git.granted": ("FindSource", "GrantedSource"),
            "deploycore.git.settings": ("EscapingLinks", "GitSettings", "Reuse"),
            "deploycore.git.watched": ("NothingWatchedChanged", "Watched"),
            "deploycore.git.checkout.target": ("find_leftovers", "remove_leftovers"),
        },
    )

__all__ = [
    "CacheEntry",
    "Cancellation",
    "CheckedOut",
    "EscapingLinks",
    "FindSource",
    "GitSettings",
    "GrantedSource",
    "NothingWatchedChanged",
    "Progress",
    "ProgressListener",
    "RepositoryCache",
    "Reuse",
    "Watched",
    "clone",
    "export",
    "find_leftovers",
    "list_refs",
    "no_progress",
    "refuse_malformed_patterns",
    "remove_leftovers",
    "resolve",
]
