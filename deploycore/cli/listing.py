"""Read lists from the database, without SQLAlchemy if the result is the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from deploycore.store.listing import Listing

__all__ = ["read_listing"]

T = TypeVar("T")


def read_listing(read: Callable[[Listing], T]) -> T | None:
    """Return what a function reads from the database; ``None`` if the store must be used.

    This imports :mod:`deploycore.store.listing`, which is not needed to print help.
    """
    from deploycore.store import listing

    return listing.read_listing(read)
