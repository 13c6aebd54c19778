"""How listings read the database: without SQLAlchemy where that gives the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from deploycore.store.listing import Listing

__all__ = ["read_listing"]

T = TypeVar("T")


def read_listing(read: Callable[[Listing], T]) -> T | None:
    """What a function reads of the database; ``None`` where the store has to be asked.

    Imports :mod:`deploycore.store.listing`, which help does not need.
    """
    from deploycore.store import listing

    return listing.read_listing(read)
